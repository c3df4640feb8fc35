"""A hundred right demonstrations teach more than a thousand of which half are wrong, at equal optimiser steps.

Zhou et al. align a model with 1,000 chosen examples, and find that more of the same brings little where better ones bring much.   Here
the few are the first prompts of the many, answered right; the many are answered as people do of whom every other makes a mistake.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from plumbline.claims.common import USUAL, Lab, Point
from plumbline.core.claims import Control, Found, claim, superior
from plumbline.core.nouns import Demo
from plumbline.data import Plan
from plumbline.engine.loader import Loader
from plumbline.methods import sft as sft_file
from plumbline.world import sources as world

NOISE = 0.5
STEPS = 64
noisy_few = Control("noisy few", "the hundred are as noisy as the thousand", lambda lab: replace(lab, shuffled=True))


@claim(
    "lima",
    says="100 right demonstrations beat 1,000 of which half are wrong, at equal steps",
    source="Zhou et al. 2023, arXiv 2305.11206, §5",
    test=superior(0.02),
    seeds=3,
    control=noisy_few,
    control_seeds=1,
    equal="the unaligned model, 64 optimiser steps of 32, plumbline's usual rate; the hundred prompts are the first of the thousand",
)
def lima(lab: Lab) -> Found:
    """In the control the hundred are wrong as often as the thousand."""
    few, many = lab.count(100, 8), lab.count(1000, 16)
    small = taught(lab, "few", world.demos(few, lab.seed, noise=NOISE if lab.shuffled else 0.0))
    large = lab.once("many noisy", lambda: taught(lab, "many", world.demos(many, lab.seed, noise=NOISE)))
    clean = lab.once("many clean", lambda: taught(lab, "many clean", world.demos(many, lab.seed)))
    return Found(
        pairs={"difference": (small.gold, large.gold)},
        figures={
            "gold, the few": small.gold,
            "gold, the many": large.gold,
            "gold, as many without a mistake": clean.gold,
            "words of the few": small.words,
            "words of the many": large.words,
        },
    )


def taught(lab: Lab, name: str, rows: Sequence[Demo], steps: int = STEPS) -> Point:
    """The unaligned model after so many steps of SFT on these rows, on the held-out prompts."""
    policy = lab.base.copy()
    recipe = replace(USUAL.sft, epochs=None, steps=lab.count(steps, 2))
    lab.drive(name, sft_file.sft(policy, Loader(Plan(rows, policy.tokenizer))), recipe)
    return lab.measured(policy)
