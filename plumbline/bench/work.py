"""The work that both sides get: two random models on disk and rows of token ids, all from one seed."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from plumbline.bench.rows import Pairs, Prompts, Row, Shape
from plumbline.models.fresh import SPECIALS, fresh

BOS = SPECIALS.index("<s>")


def write(folder: Path, shape: Shape, context: int = 512, names: tuple[str, ...] = ("policy", "reference")) -> None:
    """Models of the shape by name, each with weights of its own, so that no loss is log 2 by construction."""
    words = [f"w{i}" for i in range(shape.words - len(SPECIALS))]
    sizes = {"hidden": shape.hidden, "layers": shape.layers, "heads": shape.heads, "ffn": shape.ffn}
    for seed, name in enumerate(names, 1):
        fresh(folder / name, words, **sizes, context=context, seed=seed)


def job(row: Row, shape: Shape, seed: int = 7) -> dict[str, Any]:
    """The row's token ids: `groups` of prompt and completions, or `prompts` with their text."""
    rng = random.Random(seed)

    def ids(count: int) -> list[int]:
        return [rng.randrange(len(SPECIALS), shape.words) for _ in range(count)]

    def about(length: int) -> int:
        return rng.randint(round(0.9 * length), round(1.1 * length))

    work = row.work
    if isinstance(work, Pairs):
        groups = [[[BOS, *ids(about(work.prompt) - 1)], [ids(about(work.completion)) for _ in range(2)]] for _ in range(work.count)]
        return {"groups": groups, "reference": row.reference}
    assert isinstance(work, Prompts)
    prompts = [[BOS, *ids(work.prompt - 1)] for _ in range(work.count)]
    texts = [" ".join(f"w{i - len(SPECIALS)}" for i in prompt[1:]) for prompt in prompts]
    return {"prompts": prompts, "texts": texts, "samples": work.samples, "new": work.new}


def save(folder: Path, row: Row, shape: Shape) -> Path:
    """The job as a file beside the models."""
    path = folder / f"{row.id.replace('/', '_')}.json"
    path.write_text(json.dumps(job(row, shape)), encoding="utf-8")
    return path
