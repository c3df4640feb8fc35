"""The bench: plumbline against the field's tools on the same work, equal results checked.   `make bench-setup` installs the peers."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from plumbline.bench.rows import ROWS, Row, Shape
from plumbline.core.errors import UserError

GROWTH_SLACK = 0.1  # two fitted slopes differ by this much from noise alone
FLAT = 0.1


def run(
    only: str = "", growth: bool = False, *, threads: int = 0, repeats: int = 7, shape: Shape | None = None, largest: int = 10**9
) -> list[dict[str, Any]]:
    """The rows whose id contains `only`, or one of several joined by commas, measured; with `growth`, the growth curves instead.

    `threads`: 0 for all cores.   `largest` cuts the growth axes.   Times mean something on a quiet machine only.
    """
    if threads < 0 or repeats < 1:
        raise UserError(f"--threads is {threads} and --repeats is {repeats}", "Give threads (0: all cores) and at least 1 repeat.")
    threads = threads or os.cpu_count() or 1
    if growth:
        return _growth(only, threads, largest)
    chosen = [row for row in ROWS if _named(only, row.id)]
    if not chosen:
        raise UserError(f"no bench row contains {only!r}", f"Rows: {', '.join(r.id for r in ROWS)}.")
    return _rows(chosen, threads, repeats, shape or Shape())


def _rows(chosen: Sequence[Row], threads: int, repeats: int, shape: Shape) -> list[dict[str, Any]]:
    from plumbline.bench import pair, pair_rl, work  # torch and transformers, which the command line's help does without

    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="plumbline-bench-") as name:
        bench = pair.Bench(Path(name), shape, threads, repeats)
        work.write(bench.folder, shape)
        work.write_scalars(bench.folder)
        measures = {"decode": pair.decoding, "grpo": pair_rl.online, "ppo": pair_rl.online, "rl": pair_rl.one_base}
        for case in dict.fromkeys((row.method, row.work, row.reference) for row in chosen):
            some = [row for row in chosen if (row.method, row.work, row.reference) == case]
            print(f"bench: {', '.join(row.id for row in some)}", file=sys.stderr, flush=True)
            job = work.save(bench.folder, some[0], shape)
            found += measures.get(some[0].method, pair.training)(bench, some, job)
    order = [row.id for row in ROWS]
    return sorted(found, key=lambda entry: order.index(entry["id"]))


def _named(only: str, name: str) -> bool:
    return any(part.strip() in name for part in only.split(","))


def _growth(only: str, threads: int, largest: int) -> list[dict[str, Any]]:
    from plumbline.bench.growth import AXES, curve

    found: list[dict[str, Any]] = []
    for axis in (a for a in AXES if _named(only, f"growth/{a}")):
        print(f"bench: growth/{axis}", file=sys.stderr, flush=True)
        points = curve(axis, threads, largest)
        found += [_growth_entry(axis, cost, points, threads) for cost in ("seconds", "bytes")]
    if not found:
        raise UserError(f"no growth axis contains {only!r}", f"Axes: {', '.join(AXES)}.")
    return found


def _growth_entry(axis: str, cost: str, points: dict[str, Any], threads: int) -> dict[str, Any]:
    """A growth curve as a line of the table: the numbers are slopes, and `equal` says that ours is as flat as it must be."""
    from plumbline.bench.growth import slope

    ours, plain = (slope(points[side]["sizes"], points[side][cost]) for side in ("ours", "plain"))
    costs = points["ours"][cost]
    flat = max(costs) / min(costs) - 1
    asked = axis == "vocabulary" and cost == "bytes"
    return {
        "id": f"growth/{axis}/{cost}",
        "ours": round(ours, 3),
        "theirs": round(plain, 3),
        "ratio": None,
        "equal": flat <= 2 * FLAT if asked else ours <= plain + GROWTH_SLACK,
        "peer": "a plain forward of every sequence",
        "held_equal": f"{threads} threads, float32, same weights and token ids; log–log slopes, spread of ours {flat:.0%}",
        "unit": "slope",
        "points": points,
    }


def table(found: Sequence[dict[str, Any]]) -> str:
    """The rows as text, with what was held equal below."""
    head = f"{'row':<36}{'ours':>10}{'theirs':>10}  {'unit':<6}{'ratio':>7}{'target':>8}  {'equal':<6}{'of GEMM peak':>12}"
    lines = [head]
    for row in found:
        ratio = f"{row['ratio']:.2f}" if row["ratio"] is not None else "–"
        share = f"{row['gemm_share']:.0%}" if "gemm_share" in row else ""
        numbers = f"{row['id']:<36}{row['ours']:>10.4g}{row['theirs']:>10.4g}  {row['unit']:<6}{ratio:>7}{row.get('target', '–'):>8}"
        lines.append(f"{numbers}  {'yes' if row['equal'] else 'NO':<6}{share:>12}".rstrip())
    lines += [""] + [f"{row['id']}: against {row['peer']}; {row['held_equal']}" for row in found]
    for row in found:
        if "seconds_by_cause" in row:
            parts = ", ".join(f"{cause} {value:+.3f} s" for cause, value in row["seconds_by_cause"].items())
            lines.append(f"{row['id']}, where the gain comes from: {parts}")
    return "\n".join(lines)
