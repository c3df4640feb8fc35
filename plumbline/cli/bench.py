"""`plumbline bench`: time and memory against other libraries, on equal work."""

from __future__ import annotations

from plumbline.cli.signature import Answer


def bench(*, only: str = "", growth: bool = False, threads: int = 0, repeats: int = 7) -> Answer:
    """Measure plumbline and its peers side by side (`make bench-setup` installs the peers).

    `only`: rows whose id contains this, or one of several joined by commas.   `growth`: how time and memory grow with groups,
    completions, vocabulary and prompt length.
    `threads`: CPU threads of both sides, 0 for all cores.   `repeats`: measurements of each side, interleaved; the median counts.
    """
    from plumbline import bench as benches

    found = benches.run(only, growth, threads=threads, repeats=repeats)
    return {"bench": found}, benches.table(found)
