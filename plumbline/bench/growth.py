"""How time and memory grow: a training step's log-probabilities, forward and backward, as one size grows and the rest stay.

The comparison is a plain forward pass of every sequence, prompt and completion, with all its logits.   Slopes are those of
log(cost) against log(size).   Bytes are the most that is allocated at once during the forward pass, which holds everything
that the backward pass needs: activations, without weights and their gradients.
"""

from __future__ import annotations

import math
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from plumbline.bench import work
from plumbline.bench.rows import Shape
from plumbline.core.batches import Group
from plumbline.models.lm import LM

AXES: dict[str, tuple[int, ...]] = {
    "groups": (1, 2, 4, 8, 16),
    "completions": (1, 2, 4, 8, 16, 32),
    "vocabulary": (1024, 4096, 16384, 65536, 131072),
    "prompt": (64, 256, 1024, 4096),
}
BASE = {"groups": 2, "completions": 2, "vocabulary": 8192, "prompt": 64}
LARGE = {"groups": 8, "completions": 2, "vocabulary": 8192, "prompt": 145}  # where the layers' activations are what memory is about
COMPLETION = 45
PLAIN_VOCABULARY = 32768  # beyond this the plain forward needs more memory than a small machine has
PATIENCE = 4.0  # seconds after which a measurement is not repeated


def slope(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Least-squares slope of log(cost) on log(size)."""
    x, y = [math.log(s) for s in sizes], [math.log(c) for c in costs]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    return sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / sum((a - mean_x) ** 2 for a in x)


def _groups(sizes: dict[str, int], seed: int = 5) -> list[Group]:
    rng = random.Random(seed)

    def ids(count: int) -> tuple[int, ...]:
        return tuple(rng.randrange(8, sizes["vocabulary"]) for _ in range(count))

    return [Group(ids(sizes["prompt"]), tuple(ids(COMPLETION) for _ in range(sizes["completions"]))) for _ in range(sizes["groups"])]


def _plain(lm: LM, groups: list[Group]) -> Tensor:
    """Sum of the completions' log-probabilities from the logits of every position."""
    ids_NL = torch.tensor([[*g.prompt, *c] for g in groups for c in g.completions])
    logits_NLV = lm.model(ids_NL, use_cache=False).logits
    from_ = len(groups[0].prompt)
    logp_NLV = logits_NLV[:, :-1].log_softmax(-1)
    return logp_NLV.gather(2, ids_NL[:, 1:, None])[:, from_ - 1 :].sum()


def _forward_bytes(forward: Callable[[], Tensor]) -> int:
    """The most bytes that a forward pass held at once."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profiler:
        kept = forward()
    held = most = 0
    events: Any = profiler.profiler.kineto_results.events()  # pyright: ignore[reportOptionalMemberAccess]
    for event in events:
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    del kept
    return most


def _cost(lm: LM, forward: Callable[[], Tensor]) -> tuple[float, int]:
    """Median seconds of forward and backward (of three, unless one is long), and bytes."""
    times: list[float] = []
    forward().backward()
    while len(times) < 3 and sum(times) < PATIENCE:
        lm.model.zero_grad()
        start = time.perf_counter()
        forward().backward()
        times.append(time.perf_counter() - start)
    return median(times), _forward_bytes(forward)


def curve(axis: str, threads: int, largest: int) -> dict[str, Any]:
    """Cost of ours and of the plain forward at every size of an axis up to `largest`: {"sizes", "seconds", "bytes"} each."""
    torch.set_num_threads(threads)
    found = {side: {"sizes": [], "seconds": [], "bytes": []} for side in ("ours", "plain")}
    for size in (s for s in AXES[axis] if s <= largest):
        sizes = {**(LARGE if axis == "vocabulary" else BASE), axis: size}
        with tempfile.TemporaryDirectory() as folder:
            work.write(Path(folder), replace(Shape(), words=sizes["vocabulary"]), context=sizes["prompt"] + COMPLETION, names=("policy",))
            lm = LM.load(Path(folder) / "policy")
        groups = _groups(sizes)
        runs: dict[str, Callable[[], Tensor]] = {"ours": lambda: lm.token_logps(groups).sum()}  # noqa: B023   called in this turn
        if sizes["vocabulary"] <= PLAIN_VOCABULARY:
            runs["plain"] = lambda: _plain(lm, groups)  # noqa: B023
        for side, forward in runs.items():
            seconds, most = _cost(lm, forward)
            for name, value in (("sizes", size), ("seconds", seconds), ("bytes", most)):
                found[side][name].append(value)
    return found
