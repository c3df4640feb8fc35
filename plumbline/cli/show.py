"""`plumbline list`: the methods, read from their decorators without importing them."""

from __future__ import annotations

from dataclasses import asdict

from plumbline.cli.signature import Answer
from plumbline.core.registry import entries


def show() -> Answer:
    """The methods that `plumbline train` knows, what each eats and where it was published."""
    found = entries("method")
    width = max((len(e.name) for e in found), default=0)
    lines = [f"{e.name:{width}}  {e.data:10}  {e.summary}  {e.paper}".rstrip() for e in found]
    return {"methods": [asdict(e) for e in found]}, "\n".join(lines)
