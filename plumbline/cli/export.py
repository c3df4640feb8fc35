"""`plumbline export RUN --out DIR`: a run's model as a plain Hugging Face directory."""

from __future__ import annotations

from pathlib import Path

from plumbline.cli.signature import Answer, need
from plumbline.core.errors import UserError


def export(run: str, *, out: str = "", which: str = "best") -> Answer:
    """Write the policy of a run, adapter merged, so that transformers loads it without plumbline.

    `run`: a run folder, a model directory, or town, town-s, town-m, town-l.   `out`: the directory to write.
    `which`: best (by validation; the last where there was none) or last.
    """
    need("export", out=out)
    if which not in ("best", "last"):
        raise UserError(f"--which is {which!r}", "Choose best or last.")
    if Path(out).is_dir() and any(Path(out).iterdir()):
        raise UserError(f"{out} is not empty", "Give another --out.")
    from plumbline.models.lm import LM
    from plumbline.pipelines import sources

    LM.load(sources.model_path(run, which=which)).merge().save(out)
    return {"model": out}, f"{out} is a Hugging Face directory"
