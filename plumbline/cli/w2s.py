"""`plumbline w2s --weak S --strong L --via M --data F --out DIR`: what a strong model learns from the labels of a weak one."""

from __future__ import annotations

from typing import Literal

from plumbline.cli.signature import Answer, need
from plumbline.core.errors import UserError


def w2s(
    *,
    weak: str = "",
    strong: str = "",
    via: str = "",
    data: str = "",
    labels: str = "",
    test: str = "",
    out: str = "",
    alpha: float = 0.75,
    reads: Literal["head", "likelihood"] = "head",
    epochs: float = 1.0,
    batch: int = 16,
    lr: float = 1e-3,
    warmup: float = 0.1,
    seed: int = 0,
    lora: int = 0,
    max_prompt_tokens: int | None = None,
    max_completion_tokens: int | None = None,
    skip_bad: bool = False,
    device: str = "auto",
    resume: bool = False,
    threads: int = 0,
    fault: str = "",
) -> Answer:
    """Weak-to-strong: a weak supervisor learns the truth of half the rows, a strong student learns its labels of the other half.

    `weak`: the supervisor, a model directory, hub name, run folder, or town, town-s|m|l.   `strong`: the student and the ceiling.
    `via`: models of middle size joined by commas, for bootstrapping: each learns the labels of the one before it.
    `data`: comparisons: a file, town:truths?n=3000, or town:comparisons?n=3000&ties=false.   `labels`: thumbs up or down instead.
    `test`: what all are measured on, of the same kind (else town's validation split, or a fifth of the rows).   `out`: the run folder.
    `alpha`: weight of the confident student's own hardened predictions in the end (the paper: .75 for the largest students, .5 for
    others); 0 leaves that student out.   `reads`: replies are scored by a fresh linear head, or by their likelihood (pairs only).
    `epochs`, `batch`, `lr`, `warmup`: of every training.   `seed`: of the halves, new heads and orders.   `lora`: rank
    of new adapters, 0 trains all weights.   `max_prompt_tokens`, `max_completion_tokens`: longer ones are cut.   `skip_bad`: leave bad
    rows out.   `device`: cpu, cuda, or auto.   `resume`: go on with the run that is in --out.   `threads`: CPU threads, 0 leaves them
    as they are.   `fault`: kill the process at a fault point, to test resuming (docs/resume.md).
    """
    need("w2s", weak=weak, strong=strong, out=out)
    if bool(data) == bool(labels):
        raise UserError("w2s wants one of --data and --labels", "Give comparisons as --data, or thumbs up and down as --labels.")
    from plumbline.engine.recipe import Recipe
    from plumbline.pipelines import w2s_run
    from plumbline.pipelines.feed import Feed
    from plumbline.pipelines.w2s import Study

    recipe = Recipe(epochs=epochs, batch=batch, lr=lr, warmup=warmup, seed=seed)
    feed = Feed(max_prompt_tokens=max_prompt_tokens, max_completion_tokens=max_completion_tokens, skip_bad=skip_bad)
    given, load = w2s_run.Given(weak, strong, via, data, labels, test), {"lora": lora, "device": device}
    return w2s_run.run(given, Study(recipe, alpha, reads), out=out, feed=feed, load=load, resume=resume, threads=threads, fault=fault)
