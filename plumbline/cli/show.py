"""`plumbline list`: the methods, the protocols and the claims, read from their decorators without importing them."""

from __future__ import annotations

from dataclasses import asdict

from plumbline.cli.signature import Answer
from plumbline.core.registry import entries


def show() -> Answer:
    """The methods that `plumbline train` knows and the protocols that `plumbline play` does, with data and paper; the claims."""
    found = entries("method")
    width = max((len(e.name) for e in found), default=0)
    lines = [f"{e.name:{width}}  {e.data:10}  {e.summary}  {e.paper}".rstrip() for e in found]
    protocols = entries("protocol")
    width = max((len(e.name) for e in protocols), default=0)
    lines += ["", "protocols", *(f"{e.name:{width}}  {e.data:10}  {e.summary}  {e.paper}" for e in protocols)] if protocols else []
    claims = entries("claim")
    width = max((len(e.name) for e in claims), default=0)
    lines += ["", "claims", *(f"{e.name:{width}}  {e.summary}  {e.paper}" for e in claims)] if claims else []
    rows = [{"id": e.name, "says": e.summary, "source": e.paper} for e in claims]
    return {"methods": [asdict(e) for e in found], "protocols": [asdict(e) for e in protocols], "claims": rows}, "\n".join(lines)
