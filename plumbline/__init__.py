"""plumbline: align language models with human values, and show with numbers whether it worked.

    import plumbline as pl
    model = pl.load("town", lora=16)
    run = pl.train(pl.dpo(beta=0.1), model, "pairs.jsonl", epochs=1, batch=64)
    print(pl.compare(run.model, model, on="town"))

Names are loaded when they are first used, so that `import plumbline` costs nothing and needs no torch.   Methods are names too.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "LM": "plumbline.models.lm",
    "load": "plumbline.pipelines.sources",
    "train": "plumbline.pipelines.train",
    "score": "plumbline.pipelines.score",
    "compare": "plumbline.pipelines.evaluate",
    "quickstart": "plumbline.pipelines.quickstart",
    "UserError": "plumbline.core.errors",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    from plumbline.core.registry import entries

    for entry in entries("method"):
        if entry.name == name:
            return getattr(import_module(entry.module), name)
    raise AttributeError(f"plumbline has no {name!r}")


def __dir__() -> list[str]:
    from plumbline.core.registry import entries

    return sorted([*_HOME, "__version__", *(e.name for e in entries("method"))])
