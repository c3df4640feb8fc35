"""`plumbline world build`: the town's shipped models, able but unaligned, each with a card of what it can do.

The smallest is trained from random weights, in all stages; a larger one is grown from it (`models/grow.py`: wider, deeper, and at first
the same function) and has the last two.

    facts      statements and right answers      a constant learning rate: what the town is
    town       the corpus                        a lower one: how people talk there, well and badly
    near, far  random words that return          the same: copying from the context, from a few words ago, then from any
    settle     the corpus, some random rows      the learning rate falls to 0: the town is said again
    anneal     the same, more of what is hard    once more from the beginning to 0

All stages are `sft` on whole texts, driven by the engine: so a killed build goes on with `resume`.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from plumbline.core.batches import Group
from plumbline.core.errors import UserError
from plumbline.core.methods import Stage
from plumbline.engine.faults import INERT, Faults
from plumbline.engine.loader import Loader
from plumbline.engine.recipe import Recipe, Schedule
from plumbline.engine.runs import RunFolder
from plumbline.engine.stages import run_pipeline
from plumbline.methods.sft import sft
from plumbline.models.fresh import fresh
from plumbline.models.grow import grow
from plumbline.models.lm import LM
from plumbline.pipelines import world_card
from plumbline.pipelines.sources import model_path
from plumbline.pipelines.world_text import FACTS, LAST, LONG, MIXTURE, SHORT, Sort, TownRows, random_group
from plumbline.world.vocab import VOCAB

CONTEXT = 512
GROWN_START = 1_000_000  # the number of a grown model's first row: town-s has not read these texts
BATCH = 22
COPYING_LR = 4.2e-3


@dataclass(frozen=True)
class Size:
    """A shape, and the rows of each stage (0: the stage is left out).   `grown`: from town-s, not from random weights."""

    hidden: int
    layers: int
    heads: int
    ffn: int
    facts: int
    town: int
    near: int
    far: int
    settle: int
    anneal: int
    lr: float
    grown: bool = False


SIZES = {
    "s": Size(128, 4, 4, 384, facts=10_000, town=20_000, near=13_200, far=4_400, settle=26_000, anneal=28_000, lr=6e-3),
    "m": Size(192, 4, 6, 512, facts=0, town=0, near=0, far=0, settle=18_000, anneal=24_000, lr=4e-3, grown=True),
    "l": Size(256, 5, 8, 704, facts=0, town=0, near=0, far=0, settle=12_000, anneal=22_000, lr=3e-3, grown=True),
}


@dataclass(frozen=True)
class Phase:
    """A stage: which texts, how many random rows among them (`longest`: see `TownRows`), and how fast."""

    name: str
    rows: int
    mixture: tuple[Sort, ...]
    random: float
    longest: int
    lr: float
    schedule: Schedule
    warmup: float


def phases(size: Size, scale: float = 1.0) -> tuple[Phase, ...]:
    """The stages of a size; `scale` shortens them all alike."""
    rows = [n and max(BATCH, round(n * scale)) for n in (size.facts, size.town, size.near, size.far, size.settle, size.anneal)]
    plan = (
        Phase("facts", rows[0], FACTS, 0.0, LONG, size.lr, "constant", 0.1),
        Phase("town", rows[1], MIXTURE, 0.0, LONG, size.lr * 0.6, "constant", 0.01),
        Phase("near", rows[2], MIXTURE, 1.0, SHORT, COPYING_LR, "constant", 0.07),
        Phase("far", rows[3], MIXTURE, 1.0, LONG, COPYING_LR, "constant", 0.07),
        Phase("settle", rows[4], MIXTURE, 0.15, LONG, size.lr * 0.6, "linear", 0.02),
        Phase("anneal", rows[5], LAST, 0.08, LONG, size.lr * 0.6, "linear", 0.03),
    )
    return tuple(phase for phase in plan if phase.rows)


def rows_of(policy: LM, phase: Phase, start: int, seed: int) -> TownRows:
    """A stage's rows, numbered from where the stage before it ended."""
    return TownRows(policy.tokenizer, phase.rows, phase.mixture, phase.random, phase.longest, start, seed)


def pipeline(policy: LM, plan: tuple[Phase, ...], seed: int, start: int = 0) -> Generator[Stage[Any], Any, LM]:
    """The stages of a build, as a pipeline; their rows are numbered from `start`."""
    for phase in plan:
        recipe = Recipe(
            epochs=1, batch=BATCH, micro_tokens=1200, lr=phase.lr, warmup=phase.warmup, schedule=phase.schedule, weight_decay=0.05,
            betas=(0.9, 0.95), eval_every=200, save_every=200, keep=1, best="-corpus", seed=seed,
        )  # fmt: skip
        yield Stage(phase.name, sft(policy, Loader(rows_of(policy, phase, start, seed), shuffle=False)), recipe)
        start += phase.rows
    return policy


def probe(policy: LM) -> dict[str, float]:
    """Nats per token on texts of the corpus that no build reads, and on the repeats of random words."""
    texts = list(TownRows(policy.tokenizer, 24, start=10_000_000))
    repeats = [random_group(policy.tokenizer, 10_000_000 + i, 0, shortest=SHORT, rounds=2) for i in range(24)]
    return {"corpus": _nats(policy, texts), "repeats": _nats(policy, repeats)}


def _nats(policy: LM, groups: list[Group]) -> float:
    with torch.no_grad():
        total = float(policy.token_logps(groups).sum())
    return -total / sum(len(c) for g in groups for c in g.completions)


def build(
    size: str,
    out: str | os.PathLike[str],
    *,
    resume: bool = False,
    scale: float = 1.0,
    seed: int = 0,
    prompts: int = 40,
    faults: Faults = INERT,
) -> Path:
    """Train one size into `out` and write its card; the training's records are beside it in `<out>-run`.

    `scale` shortens the stages; `prompts` is how many prompts of each family the card is measured on (0: no card).
    """
    if size not in SIZES:
        raise UserError(f"there is no size {size!r}", f"Sizes: {', '.join(SIZES)}.")
    shape, path = SIZES[size], Path(out)
    if path.is_dir() and any(path.iterdir()) and not resume:
        raise UserError(f"{path} is not empty", "Pass --resume to go on with that build, or another --out.")
    with closing(RunFolder.open(path.with_name(path.name + "-run"), resume=resume)) as run:
        _train(shape, path, run, phases(shape, scale), seed, resume, faults)
        if prompts:
            training = world_card.Training.of(run, torch.get_num_threads(), parent(shape, path))
            world_card.write(path, size, training=training, prompts=prompts)
    return path


def _train(shape: Size, path: Path, run: RunFolder, plan: tuple[Phase, ...], seed: int, resume: bool, faults: Faults) -> None:
    """From where it begins to half-precision weights in `path`."""
    start = run.path / "start"
    if not (start / "tokenizer.json").is_file():
        _begin(shape, start, parent(shape, path), seed)
    policy = LM.load(start, attn="padded")
    stages = pipeline(policy, plan, seed, GROWN_START if shape.grown else 0)
    run_pipeline(stages, run, evaluate={p.name: lambda: probe(policy) for p in plan}, resume=resume, faults=faults)
    policy.save(run.path / "final")
    LM.load(run.path / "final", dtype="float16").save(path)


def parent(shape: Size, path: Path) -> Path | None:
    """What the model in `path` grows from: the town-s beside it, else the shipped one; None: it begins at random weights."""
    beside = path.with_name("s")
    return (beside if (beside / "card.json").is_file() else Path(model_path("town-s"))) if shape.grown else None


def _begin(shape: Size, start: Path, small: Path | None, seed: int) -> None:
    """Write the weights that a build begins with."""
    widths = {"hidden": shape.hidden, "layers": shape.layers, "heads": shape.heads, "ffn": shape.ffn, "seed": seed}
    if small:
        grow(small, start, **widths)
    else:
        fresh(start, VOCAB, context=CONTEXT, **widths)
