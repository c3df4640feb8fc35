"""The work that both sides get: random models on disk and rows of token ids, all from one seed."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from plumbline.bench.rows import Pairs, Prompts, Row, Shape, Thumbs
from plumbline.core.nouns import Tally
from plumbline.methods.kto import weights
from plumbline.models.fresh import SPECIALS, fresh
from plumbline.models.lm import LM
from plumbline.models.scalar import ScalarLM

BOS = SPECIALS.index("<s>")


def write(folder: Path, shape: Shape, context: int = 512, names: tuple[str, ...] = ("policy", "reference")) -> None:
    """Models of the shape by name, each with weights of its own, so that no loss is log 2 by construction."""
    words = [f"w{i}" for i in range(shape.words - len(SPECIALS))]
    sizes = {"hidden": shape.hidden, "layers": shape.layers, "heads": shape.heads, "ffn": shape.ffn}
    for seed, name in enumerate(names, 1):
        fresh(folder / name, words, **sizes, context=context, seed=seed)


def write_scalars(folder: Path) -> None:
    """Two sequence-classification models on the weights of the policy, each with a head of its own."""
    for seed, name in enumerate(("reward", "value"), 3):
        ScalarLM.on(LM.load(folder / "policy"), (name,), seed=seed).save(folder / name)


def job(row: Row, shape: Shape, seed: int = 7) -> dict[str, Any]:
    """The row's token ids: `groups` of prompt and completions (with `labels` and `weights` for thumbs), or `prompts` with their text.

    Online also `replies`, to compare on.
    """
    rng = random.Random(seed)

    def ids(count: int) -> list[int]:
        return [rng.randrange(len(SPECIALS), shape.words) for _ in range(count)]

    def about(length: int) -> int:
        return rng.randint(round(0.9 * length), round(1.1 * length))

    work, found = row.work, {"method": row.method}
    if isinstance(work, Pairs | Thumbs):
        each = 2 if isinstance(work, Pairs) else 1
        groups = [[[BOS, *ids(about(work.prompt) - 1)], [ids(about(work.completion)) for _ in range(each)]] for _ in range(work.count)]
        return {**found, "groups": groups, "reference": row.reference, **(_labels(work.count) if isinstance(work, Thumbs) else {})}
    prompts = [[BOS, *ids(work.prompt - 1)] for _ in range(work.count)]
    texts = [" ".join(f"w{i - len(SPECIALS)}" for i in prompt[1:]) for prompt in prompts]
    found |= {"prompts": prompts, "texts": texts, "samples": work.samples, "new": work.new}
    if isinstance(work, Prompts):
        return found
    # GRPO's loss is the mean advantage when nothing has moved yet: replies of one length would make it 0 whatever is computed.
    # PPO's are of one length, because TRL puts the reward of a shorter reply one token after its end.
    shortest = work.new if row.method == "ppo" else work.new // 2
    replies = [[ids(rng.randint(shortest, work.new)) for _ in range(work.samples)] for _ in prompts]
    return {**found, "passes": work.passes, "replies": replies}


def _labels(count: int) -> dict[str, Any]:
    """A third of the rows are desirable, so that the two weights differ."""
    labels = [i % 3 == 0 for i in range(count)]
    return {"labels": labels, "weights": weights(Tally(sum(labels), count - sum(labels)), 1.0)}


def save(folder: Path, row: Row, shape: Shape) -> Path:
    """The job as a file beside the models."""
    path = folder / f"{row.id.replace('/', '_')}.json"
    path.write_text(json.dumps(job(row, shape)), encoding="utf-8")
    return path
