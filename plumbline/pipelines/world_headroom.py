"""What demonstrations alone reach: SFT on more clean demonstrations of the town than a model can still learn from.

The town leaves room for methods that come after SFT: gold at temperature 1 after it must stay at or below .9 · U* on held-out
and shifted prompts.   Part of every card.
"""

from __future__ import annotations

import os
from typing import Any

from plumbline.methods.sft import sft
from plumbline.pipelines.train import train
from plumbline.pipelines.world_measure import golds


def headroom(
    model: str | os.PathLike[str], *, demos: int = 12_000, per_family: int = 24, lr: float = 1e-3, seed: int = 1
) -> dict[str, Any]:
    """Gold per family of a model after SFT on `demos` different clean demonstrations, on the splits that are never trained on."""
    run = train(sft, str(model), f"town:demos?n={demos}&seed={seed}", epochs=1, batch=64, lr=lr, seed=seed)
    splits = {s: {f: vars(a) for f, a in golds(run.model, s, per_family).items()} for s in ("heldout", "shifted")}
    return {"demos": demos, "lr": lr, "seconds": round(run.result.seconds), "gold": splits}
