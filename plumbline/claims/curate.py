"""A quarter of a noisy file, chosen by `data curate`, teaches more than a random quarter, at equal steps.

The file is 2,000 demonstrations of which half show a mistake.   The choice sees text alone: no truth, no model, no reward; so it can tell
an evasion or an answer to something else, and cannot tell a false fact.   Beside the result: how many of the chosen are right.
"""

from __future__ import annotations

from collections.abc import Sequence

from plumbline.claims.common import Lab, same_arms
from plumbline.claims.lima import NOISE, taught
from plumbline.core.claims import Found, claim, superior
from plumbline.core.nouns import Demo, Prompt
from plumbline.data.curate import KEPT, Wish, choose, judged
from plumbline.world import sources as world
from plumbline.world.draw import rng
from plumbline.world.utility import gold

RIGHT = 0.9


@claim(
    "curate",
    says="demonstrations chosen by quality and diversity beat as many random ones, at equal steps",
    source="Zhou et al. 2023, arXiv 2305.11206, §5; Chen et al. 2023, arXiv 2307.08701",
    test=superior(0.01),
    seeds=3,
    control=same_arms,
    control_seeds=1,
    equal="the unaligned model, a file of 2,000 demonstrations half of them wrong, 500 kept, 64 optimiser steps of 32; default settings",
)
def curate(lab: Lab) -> Found:
    """In the control both arms are random quarters."""
    rows = world.demos(lab.count(2000, 32), lab.seed, noise=NOISE)
    keep = lab.count(500, 8)
    chosen = at_random(lab, rows, keep, "also") if lab.alike else by_choice(rows, keep)
    random = at_random(lab, rows, keep, "first")
    after = taught(lab, "curated", chosen)
    before = lab.once("random", lambda: taught(lab, "random", random))
    return Found(
        pairs={"difference": (after.gold, before.gold)},
        figures={
            "gold, curated": after.gold,
            "gold, random": before.gold,
            "right among the curated": right(chosen),
            "right among the random": right(random),
        },
    )


def by_choice(rows: Sequence[Demo], keep: int) -> list[Demo]:
    """As the command chooses from a file of these rows."""
    found = [judged(i, repr(row).encode(), [row]) for i, row in enumerate(rows)]
    choose(found, Wish(keep=keep))
    return [rows[row.number] for row in found if row.fate == KEPT]


def at_random(lab: Lab, rows: Sequence[Demo], keep: int, draw: str) -> list[Demo]:
    """As many rows by lot."""
    return rng("claims curate", lab.seed, draw).sample(list(rows), keep)


def right(rows: Sequence[Demo]) -> list[float]:
    """1 for each demonstration that gold is content with."""
    return [float(gold(Prompt(row.context, row.meta), row.completion).total >= RIGHT) for row in rows]
