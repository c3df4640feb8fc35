"""RLHF from ratings of 1 to 5 reaches the gold of RLHF from comparisons: with as many annotations, and in as many annotation seconds.

The same people judge replies of the same model to the same prompts: either which of two is better (a tie is said), or one reply at a
time on three criteria.   A comparison takes them 6 to 15 seconds, a rating 8.
"""

from __future__ import annotations

from collections.abc import Sequence

from plumbline.claims.common import Lab, Point, shuffled_labels
from plumbline.core.claims import Found, claim, noninferior
from plumbline.core.nouns import Comparison, Rating
from plumbline.methods.ppo import ppo
from plumbline.world.annotators import annotators, seconds

PEOPLE = annotators("ada+ben+cleo")
BY_NAME = {person.name: person for person in PEOPLE}


@claim(
    "ratings",
    says="RLHF from 1–5 ratings reaches the gold of RLHF from comparisons, at equal annotations and at equal annotation seconds",
    source="Wang et al. 2024, arXiv 2410.01257 (neither kind is clearly better when matched for data)",
    test={
        "gold: as many ratings over comparisons": noninferior(0.03),
        "gold: equal seconds of ratings over comparisons": noninferior(0.03),
    },
    seeds=3,
    control=shuffled_labels,
    control_seeds=1,
    equal="model, SFT, people, prompts and judged replies, recipe of the reward, PPO with its usual settings, 24 rounds of 128",
)
def ratings(lab: Lab) -> Found:
    """In the control the ratings are shuffled; the comparisons stay as they are."""
    n = lab.count(3000, 16)
    pairs = lab.comparisons(n, PEOPLE, ties=True)
    spent = sum(seconds(BY_NAME[row.annotator], "comparisons") for row in pairs)
    rated = lab.rated(n, PEOPLE)
    affordable = round(spent / seconds(PEOPLE[0], "ratings"))
    compared = lab.once("compared", lambda: optimised(lab, "comparisons", pairs))
    as_many = optimised(lab, "ratings", lab.labelled(rated[: len(pairs)]))
    as_long = optimised(lab, "more ratings", lab.labelled(rated[:affordable]))
    return Found(
        pairs={
            "gold: as many ratings over comparisons": (as_many.gold, compared.gold),
            "gold: equal seconds of ratings over comparisons": (as_long.gold, compared.gold),
        },
        figures={
            "gold, comparisons": compared.gold,
            "gold, as many ratings": as_many.gold,
            "gold, equal seconds of ratings": as_long.gold,
            "KL, comparisons, nats": compared.kl,
            "KL, as many ratings, nats": as_many.kl,
            "KL, equal seconds of ratings, nats": as_long.kl,
            "comparisons": [len(pairs)],
            "ratings in equal seconds": [min(affordable, len(rated))],
            "annotation seconds": [spent],
        },
    )


def optimised(lab: Lab, name: str, rows: Sequence[Comparison] | Sequence[Rating]) -> Point:
    """Where PPO ends on a reward from these rows."""
    judge, _ = lab.learned(f"reward from {name}", rows)
    points, _ = lab.optimised(f"ppo on {name}", judge, ppo(), rounds=24)
    return points[-1]
