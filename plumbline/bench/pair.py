"""A row is measured by two processes, ours and the peer's, that take turns: one works while the other waits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from plumbline.bench import rows
from plumbline.bench.rows import Pairs, Prompts, Row, Shape, Thumbs
from plumbline.core.errors import UserError

ROOT = Path(__file__).parents[2]
PEER_PYTHON = ROOT / ".peers" / "bin" / "python"
PEER_PPO = ROOT / ".peers" / "ppo"  # the last TRL with PPO
LR = 1e-5
LOSS_GAP, NORM_GAP, MARGIN = 1e-4, 1e-3, 1e-5


TRAINED = {
    ("dpo", "step"): "reference in the step",
    ("dpo", "precomputed"): "reference computed once before",
    ("reward", ""): "Bradley–Terry with centring 0.01",
    ("kto", "step"): "reference in the step, z from the same mismatched rows on both sides",
}
SCRIPTS = {"dpo": ("ours", "peer"), "reward": ("ours_rl", "peer_rl"), "kto": ("ours_kto", "peer_kto")}
NOTED = {
    "dpo": " (its padding_free is switched off for DPO by TRL itself)",
    "kto": " (z is of the rows of a forward: with fewer the loss is another one)",
}
WHOLE = ("kto",)  # never tried with fewer rows a forward


class Side:
    """A process that answers requests one at a time."""

    def __init__(self, command: Sequence[str | Path], threads: int, log: Path) -> None:
        settings = {
            "OMP_NUM_THREADS": str(threads),
            "MKL_NUM_THREADS": str(threads),
            "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false",
        }
        self.log = log
        with log.open("w") as errors:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=ROOT, env={**os.environ, **settings}
            )

    def ask(self, do: str, **request: Any) -> Any:
        """The answer to a request."""
        to, back = self.process.stdin, self.process.stdout
        assert to is not None
        assert back is not None
        to.write(json.dumps({"do": do, **request}) + "\n")
        to.flush()
        line = back.readline()
        answer = json.loads(line) if line else {"error": self.log.read_text(errors="replace")[-2000:]}
        if "error" in answer:
            raise RuntimeError(f"{do} failed in {self.process.args}:\n{answer['error']}")
        return answer["value"]

    def close(self) -> None:
        """End the process: it stops at the end of its requests."""
        with self.process:
            pass


def our_script(name: str = "ours") -> list[str | Path]:
    """What starts our process."""
    return [sys.executable, "-m", f"plumbline.bench.{name}"]


def peer_script(name: str = "peer") -> list[str | Path]:
    """What starts the peer's process."""
    for needed in (PEER_PYTHON, PEER_PPO)[: 2 if name == "peer_ppo" else 1]:
        if not needed.exists():
            raise UserError(f"the peers are not installed: there is no {needed}", "Run `make bench-setup` in a checkout of plumbline.")
    return [PEER_PYTHON, ROOT / "plumbline" / "bench" / f"{name}.py", *([PEER_PPO] if name == "peer_ppo" else [])]


@contextmanager
def sides(folder: Path, threads: int, mine: Sequence[str | Path], their: Sequence[str | Path]) -> Iterator[tuple[Side, Side]]:
    """Ours and the peer's process."""
    ours, peer = Side(mine, threads, folder / "ours.log"), Side(their, threads, folder / "peer.log")
    try:
        yield ours, peer
    finally:
        ours.close()
        peer.close()


@dataclass
class Bench:
    """Where and how everything is measured.   `fastest` remembers the peer's best settings per workload."""

    folder: Path
    shape: Shape
    threads: int
    repeats: int
    gemm: float = 0.0
    fastest: dict[str, dict[str, Any]] = field(default_factory=dict)

    def setup(self, job: Path) -> dict[str, Any]:
        """What both sides are told."""
        return {"folder": str(self.folder), "job": str(job), "threads": self.threads, "lr": LR}

    def held(self, *more: str) -> str:
        """What was equal on both sides."""
        one_box = f"{self.threads} threads, float32, same weights and token ids, taking turns, median of {self.repeats}"
        return "; ".join([one_box, *more])


def search(peer: Side, setup: dict[str, Any], candidates: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The peer's fastest candidate: the better of two steps after a warm one."""
    times = []
    for candidate in candidates:
        peer.ask("setup", **setup, **candidate)
        peer.ask("step")
        times.append(min(peer.ask("step")["seconds"] for _ in range(2)))
    return candidates[times.index(min(times))]


def fastest(bench: Bench, peer: Side, setup: dict[str, Any], row: Row, firsts: Sequence[dict[str, Any]], count: int) -> dict[str, Any]:
    """The peer's fastest settings for a workload: the best of `firsts` with all `count` rows at once, then with fewer at once."""
    name = f"{row.method}/{row.work.name}"
    if name not in bench.fastest:
        best = search(peer, setup, [{**first, "micro": count} for first in firsts])
        sizes = [] if row.method in WHOLE else [m for m in (count // 2, count // 4, count // 8) if m]
        bench.fastest[name] = search(peer, setup, [best, *({**best, "micro": m} for m in sizes)]) if sizes else best
    return bench.fastest[name]


def training(bench: Bench, some: Sequence[Row], job: Path) -> list[dict[str, Any]]:
    """Time and memory rows of one workload of comparisons or thumbs, from the same steps."""
    first, work = some[0], some[0].work
    assert isinstance(work, Pairs | Thumbs)
    mine, their = SCRIPTS[first.method]
    with sides(bench.folder, bench.threads, our_script(mine), peer_script(their)) as (ours, peer):
        bench.gemm = bench.gemm or ours.ask("gemm_rate", threads=bench.threads)
        setup = bench.setup(job)
        chosen = fastest(bench, peer, setup, first, [{"attention": a} for a in ("sdpa", "eager")], work.count)
        name, backend = peer.ask("setup", **setup, **chosen), ours.ask("setup", **setup)
        steps = [(ours.ask("step"), peer.ask("step")) for _ in range(bench.repeats + 1)]
        pieces = ours.ask("pieces", repeats=3), peer.ask("pieces", repeats=3)
    time_a, time_b = (median(step[i]["seconds"] for step in steps[1:]) for i in range(2))
    unit, least = "pairs" if isinstance(work, Pairs) else "rows", work.count if first.method in WHOLE else 1
    said = bench.held(
        f"{TRAINED[first.method, first.reference]}, AdamW, clipped at 1, no gradient checkpointing",
        f"ours: {backend} backend; {name} at its fastest of sdpa/eager and {f'{least}–' if least < work.count else ''}{work.count} {unit} "
        f"a forward: {chosen['attention']}, {chosen['micro']} {unit}{NOTED.get(first.method, '')}",
    )
    common = {"equal": all(same_step(a, b) for a, b in steps), "peer": name, "held_equal": said}
    found = []
    for row in some:
        if row.kind == "time":
            share = flops(bench.shape, first, json.loads(job.read_text())["groups"]) / time_a / bench.gemm
            more = {"gemm_share": round(share, 3), "seconds_by_cause": causes(*pieces, time_a, time_b)}
            found.append(entry(row, "s", time_a, time_b, common, more))
        else:
            peak_a, peak_b = (median(step[i]["peak"] for step in steps[1:]) for i in range(2))
            rest_a, rest_b = (min(step[i]["now"] for step in steps) for i in range(2))
            above = {"above_rest": [round(peak_a - rest_a), round(peak_b - rest_b)]}
            found.append(entry(row, "MB", peak_a, peak_b, common, above))
    return found


def same_step(mine: dict[str, float], theirs: dict[str, float]) -> bool:
    """Loss (and z, where there is one) to 1e-4, the norm of the gradient to 0.1 %."""
    near = all(abs(mine[name] - theirs[name]) < LOSS_GAP for name in ("loss", "point") if name in theirs)
    return near and abs(mine["norm"] / theirs["norm"] - 1) < NORM_GAP


def flops(shape: Shape, row: Row, groups: Sequence[tuple[Sequence[int], Sequence[Sequence[int]]]]) -> float:
    """What a training step of the row's method needs."""
    lengths = [(len(prompt), [len(c) for c in completions]) for prompt, completions in groups]
    if row.method == "kto":
        return rows.kto_flops(shape, lengths)
    return rows.step_flops(shape if row.method == "dpo" else rows.headless(shape), lengths, reference=row.reference == "step")


def causes(ours: dict[str, float], theirs: dict[str, float], time_a: float, time_b: float) -> dict[str, float]:
    """Where the gained seconds come from.   They add up to the gain."""
    found = {
        "tokens saved by sharing": ours["body_unshared"] - ours["body"],
        "layers otherwise": theirs["body"] - ours["body_unshared"],
        "vocabulary projection": theirs["head"] - ours["head"],
        "reference": theirs["reference"] - ours["reference"],
        "optimiser": theirs["optimiser"] - ours["optimiser"],
    }
    if "mismatched" in ours:
        found["mismatched completions"] = theirs["mismatched"] - ours["mismatched"]
    found["overhead"] = time_b - time_a - sum(found.values())
    return {cause: round(value, 4) for cause, value in found.items()}


def decoding(bench: Bench, some: Sequence[Row], job: Path) -> list[dict[str, Any]]:
    """A decoding row: timed at temperature 1, checked by greedy tokens."""
    (row,) = some
    assert isinstance(row.work, Prompts)
    with sides(bench.folder, bench.threads, our_script(), peer_script()) as (ours, peer):
        bench.gemm = bench.gemm or ours.ask("gemm_rate", threads=bench.threads)
        setup = bench.setup(job)
        tried = [{"attention": a, "cache": c} for c in ("dynamic", "static") for a in ("sdpa", "eager")]
        chosen = search(peer, setup, tried)
        name = peer.ask("setup", **setup, **chosen)
        ours.ask("setup", **setup)
        steps = [(ours.ask("step"), peer.ask("step")) for _ in range(bench.repeats + 1)]
        equal = same_tokens(ours.ask("greedy"), **peer.ask("greedy")) and all(a["tokens"] == b["tokens"] for a, b in steps)
    time_a, time_b = (median(step[i]["seconds"] for step in steps[1:]) for i in range(2))
    said = bench.held(
        "temperature 1, every reply of full length; greedy tokens compared",
        f"generate at its fastest of dynamic/static cache and sdpa/eager: {chosen['cache']}, {chosen['attention']}",
    )
    more = {"gemm_share": round(rows.decode_flops(bench.shape, row.work) / time_a / bench.gemm, 3)}
    return [entry(row, "s", time_a, time_b, {"equal": equal, "peer": f"{name} generate", "held_equal": said}, more)]


def same_tokens(mine: list[list[int]], ids: list[list[int]], margins: list[list[float]]) -> bool:
    """Equal up to the first choice of a row that rounding may decide either way."""

    def row(a: list[int], b: list[int], ahead: list[float]) -> bool:
        first = next((t for t, (x, y) in enumerate(zip(a, b, strict=True)) if x != y), None)
        return first is None or ahead[first] < MARGIN

    return all(row(*rows) for rows in zip(mine, ids, margins, strict=True))


def entry(row: Row, unit: str, ours: float, theirs: float, common: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """A line of the table."""
    numbers = {"id": row.id, "ours": round(ours, 4), "theirs": round(theirs, 4), "ratio": round(theirs / ours, 2)}
    return {**numbers, **common, "unit": unit, "target": row.target, **more}
