"""Rows of online methods: a round is sampled, scored and learned from on both sides; what they compute is compared on given replies.

Two sides that sample differently do not stay equal, so they are compared once, before anything is timed: on the same replies the
losses and the norm of each parameter's gradient must agree.   What is timed is whole rounds, each side sampling for itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from plumbline.bench import rows
from plumbline.bench.pair import LOSS_GAP, NORM_GAP, Bench, Side, entry, fastest, our_script, peer_script, sides
from plumbline.bench.rows import Rounds, Row

CACHES = ("dynamic", "static")
SAID = {
    "grpo": "a rule as reward, no KL, clip 0.2, clipped at 1",
    "ppo": "reward model, value model and reference of their own, KL 0.05 in the reward, GAE 1/0.95, clip 0.2 of both",
}
LATE = " (the last version with PPO, on the same libraries; gc.freeze() before its rounds, which collect garbage twice)"


def same(mine: dict[str, Any], theirs: dict[str, Any]) -> bool:
    """Losses to 1e-4; in every update the norm of every parameter's gradient to 0.1 %, or to that share of the largest one."""

    def near(a: list[float], b: list[float]) -> bool:
        most = max(b)
        return len(a) == len(b) and all(abs(x - y) <= NORM_GAP * max(y, NORM_GAP * most) for x, y in zip(a, b, strict=True))

    losses = zip(mine["losses"], theirs["losses"], strict=True)
    if len(mine["norms"]) != len(theirs["norms"]) or not theirs["norms"]:
        return False
    return all(abs(a - b) < LOSS_GAP for a, b in losses) and all(map(near, mine["norms"], theirs["norms"]))


def online(bench: Bench, some: Sequence[Row], job: Path) -> list[dict[str, Any]]:
    """An iteration of GRPO or PPO: a round sampled, scored and learned from."""
    (row,) = some
    work, critic = row.work, row.method == "ppo"
    assert isinstance(work, Rounds)
    with sides(bench.folder, bench.threads, our_script("ours_rl"), peer_script("peer_ppo" if critic else "peer_rl")) as (ours, peer):
        bench.gemm = bench.gemm or ours.ask("gemm_rate", threads=bench.threads)
        setup = bench.setup(job)
        caches: list[dict[str, Any]] = [{}] if critic else [{"cache": c} for c in CACHES]
        firsts = [{**cache, "attention": a} for cache in caches for a in ("sdpa", "eager")]
        chosen = fastest(bench, peer, setup, row, firsts, work.count * work.samples)
        name, backend = peer.ask("setup", **setup, **chosen), ours.ask("setup", **setup)
        equal = same(ours.ask("check"), peer.ask("check"))
        steps = [(ours.ask("step"), peer.ask("step")) for _ in range(bench.repeats + 1)]
    (time_a, sampling_a), (time_b, sampling_b) = (
        [median(step[i][part] for step in steps[1:]) for part in ("seconds", "sampling")] for i in range(2)
    )
    said = bench.held(
        f"{work.count} × {work.samples} replies of {work.new} tokens to prompts of {work.prompt}, none ends early, {SAID[row.method]}, "
        f"{work.passes} update{'s' if work.passes > 1 else ''}, AdamW, no gradient checkpointing",
        "losses and the norms of all gradients compared on the same replies",
        f"ours: {backend} backend; {name}{LATE if critic else ''} at its fastest of {' and '.join(_tried(critic))}: "
        + ", ".join(f"{key} {value}" for key, value in chosen.items()),
    )
    more = {
        "gemm_share": round(rows.round_flops(bench.shape, work, critic=critic) / time_a / bench.gemm, 3),
        "seconds_by_cause": {
            "sampling": round(sampling_b - sampling_a, 4),
            "learning": round(time_b - sampling_b - (time_a - sampling_a), 4),
        },
    }
    whole = work.count * work.samples * work.new
    equal = equal and all(a["tokens"] == b["tokens"] == whole for a, b in steps)
    return [entry(row, "s", time_a, time_b, {"equal": equal, "peer": name, "held_equal": said}, more)]


def _tried(critic: bool) -> list[str]:
    return [*([] if critic else ["dynamic/static cache"]), "sdpa/eager", "1–8 completions a forward"]


def one_base(bench: Bench, some: Sequence[Row], job: Path) -> list[dict[str, Any]]:
    """Peak memory of PPO's four roles as adapters of one base, against four copies of it.   Both sides are ours."""
    (row,) = some
    work = row.work
    assert isinstance(work, Rounds)
    setup, script = bench.setup(job), our_script("ours_rl")
    with sides(bench.folder, bench.threads, script, script) as (ours, copies):
        setups = ours.ask("setup", **setup, kind="adapters"), copies.ask("setup", **setup, kind="copies")
        equal = same(ours.ask("check"), copies.ask("check")) and setups[0] == setups[1]
        steps = [(ours.ask("step"), copies.ask("step")) for _ in range(bench.repeats + 1)]
    full = Side(script, bench.threads, bench.folder / "full.log")
    try:
        full.ask("setup", **setup, kind="full")
        third = [full.ask("step") for _ in range(bench.repeats + 1)]
    finally:
        full.close()
    peaks, starts = zip(*(_peak(side) for side in (*zip(*steps, strict=True), third)), strict=True)
    said = bench.held(
        "a PPO round; policy and value are adapters of rank 16 on both sides, reference and reward frozen",
        "losses and the norms of all gradients compared on the same replies; both sides are plumbline",
    )
    more = {
        "above_start": [round(peak - start) for peak, start in zip(peaks[:2], starts, strict=False)],
        "four_trained_in_full": {"peak": round(peaks[2]), "above_start": round(peaks[2] - starts[2])},
    }
    common = {"equal": equal, "peer": "plumbline with four copies", "held_equal": said}
    return [entry(row, "MB", peaks[0], peaks[1], common, more)]


def _peak(steps: Sequence[dict[str, Any]]) -> tuple[float, float]:
    """MB: the median peak of a round, and what the process held before there was a model."""
    return median(step["peak"] for step in steps[1:]), steps[0]["start"]
