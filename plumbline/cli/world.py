"""`plumbline world build`: train the shipped models again from nothing."""

from __future__ import annotations

from pathlib import Path

from plumbline.cli.signature import Answer, need
from plumbline.core.errors import UserError

SIZES = ("s", "m", "l")


def build(*, size: str = "s", out: str = "", scale: float = 1.0, resume: bool = False, threads: int = 0) -> Answer:
    """Train the town's models from random weights, with their cards; a killed build goes on with --resume.

    `size`: s, m, l or all.   `out`: the folder that gets a model directory per size.   `scale`: share of the
    training's length, to try it out.   `resume`: go on with the build in `out`.   `threads`: CPU threads, 0 leaves them as they are.
    """
    need("world build", out=out)
    if size not in (*SIZES, "all"):
        raise UserError(f"--size is {size!r}", f"Sizes: {', '.join(SIZES)}, all.")
    from plumbline.pipelines import sources, world_build

    sources.use_threads(threads)
    made = {one: world_build.build(one, Path(out) / one, resume=resume, scale=scale) for one in (SIZES if size == "all" else (size,))}
    return {"models": {one: str(path) for one, path in made.items()}}, "\n".join(f"{one}: {path}" for one, path in made.items())
