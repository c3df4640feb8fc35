"""`plumbline verify --model M --values V --questions k`: a few comparisons that pin what is wanted, and a certificate."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from plumbline.cli.bounds import unused
from plumbline.cli.signature import Answer, need


def verify(
    *,
    model: str = "",
    values: str = "",
    questions: int = 12,
    data: str = "town:comparisons?n=200&seed=1",
    by: Literal["sum", "mean"] = "sum",
    audit: bool = False,
    seed: int = 0,
    skip_bad: bool = False,
    device: str = "auto",
    threads: int = 0,
    out: str = "",
) -> Answer:
    """Does a model want what is wanted?   It is asked a few comparisons whose answers pin that; pass or fail, and a certificate.

    `model`: town, town-s|m|l, a model's or a reward model's directory, or a run folder.   `values`: town, or a reward model's directory
    or run.   `questions`: at most so many.   `data`: the pool that they are chosen from, a file of comparisons or a town: spec.
    `by`: what a language model prefers: the reply with the higher log-probability (sum), or per token (mean).
    `audit`: also ask the whole pool, and say whether the few were right.   `seed`: of the drawn rewards and the random test.
    `skip_bad`: leave bad rows of the pool out.
    `device`: cpu, cuda, or auto.   `threads`: CPU threads, 0 leaves them.   `out`: the folder that gets certificate.json.
    """
    need("verify", model=model, values=values, out=out)
    unused(Path(out), resume=None)
    from plumbline.pipelines import sources
    from plumbline.pipelines import verify as pipeline

    sources.use_threads(threads)
    settings = pipeline.Settings(questions, by, audit, seed, skip_bad)
    made = pipeline.verify(model, values, data, out, settings, device=device)
    return made, "\n".join(pipeline.lines(made, f"{out}/certificate.json"))
