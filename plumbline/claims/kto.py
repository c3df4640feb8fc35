"""KTO from thumbs against DPO from comparisons: at equal annotations, and with ten times fewer desirable thumbs.

The replies are the same.   A thumb judges one of them and a comparison two, yet each counts as one annotation.   Each method has the rate,
the batch and the passes that were best for it on validation prompts; β is .3 for both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from plumbline.claims.common import Lab, Point, shuffled_labels
from plumbline.core.claims import Found, claim, noninferior
from plumbline.core.methods import Steps
from plumbline.core.nouns import Comparison, Label, Tally
from plumbline.data import Plan
from plumbline.engine.loader import Loader
from plumbline.engine.recipe import Recipe
from plumbline.methods import dpo as dpo_file
from plumbline.methods import kto as kto_file
from plumbline.models.lm import LM
from plumbline.pipelines.recipes import TwoRoads
from plumbline.world.annotators import annotators

PEOPLE = "ada+ben+cleo"
BETA = 0.3
BY_PAIRS = replace(TwoRoads().dpo, lr=1e-4)
BY_THUMBS = replace(BY_PAIRS, batch=128, epochs=2)


@claim(
    "kto",
    says="KTO from n thumbs reaches the gold of DPO from n comparisons",
    source="Ethayarajh et al. 2024, arXiv 2402.01306, §4.3 and fig. 3",
    test={"gold: KTO over DPO": noninferior(0.02)},
    seeds=3,
    control=shuffled_labels,
    control_seeds=1,
    equal="model, SFT, replies, people, 4,000 annotations, β .3; each at the recipe that was best for it on validation prompts",
)
def kto(lab: Lab) -> Found:
    """In the control the thumbs are those of other replies; DPO stays as it is."""
    n, people = lab.count(4000, 16), annotators(PEOPLE)
    pairs = lab.comparisons(n, people)[:n]
    thumbs = lab.thumbs(n, people)[: len(pairs)]
    return compared(lab, lab.labelled(thumbs), pairs)


@claim(
    "kto-imbalance",
    says="KTO keeps DPO's quality when desirable labels are ten times rarer",
    source="Ethayarajh et al. 2024, arXiv 2402.01306, §4.3 (up to 90 % of the desirable left out)",
    test={"gold: KTO over DPO": noninferior(0.02)},
    seeds=3,
    control=shuffled_labels,
    control_seeds=1,
    equal="model, SFT, replies, people; 2,000 undesirable and 200 desirable thumbs against 1,100 comparisons (2,200 replies each)",
)
def kto_imbalance(lab: Lab) -> Found:
    """In the control the thumbs are those of other replies; DPO stays as it is."""
    people, many = annotators(PEOPLE), lab.count(2000, 20)
    drawn = lab.thumbs(lab.count(4000, 40), people)
    up, down = ([row for row in drawn if row.desirable is good] for good in (True, False))
    kept = [*down[:many], *up[: max(1, min(many, len(down)) // 10)]]
    pairs = lab.comparisons(lab.count(4000, 40), people)[: len(kept) // 2]
    return compared(lab, lab.labelled(kept), pairs)


def compared(lab: Lab, thumbs: Sequence[Label], pairs: Sequence[Comparison]) -> Found:
    """Both arms from the SFT model, KTO on thumbs and DPO on pairs."""
    tally = Tally.of(thumbs)
    by_thumbs = learned(lab, "kto", lambda policy, rows: kto_file.kto(policy, lab.reference, tally, rows, beta=BETA), thumbs, BY_THUMBS)
    by_pairs = lab.once(
        f"dpo of {len(pairs)}",
        lambda: learned(lab, "dpo", lambda p, rows: dpo_file.dpo(p, lab.reference, rows, beta=BETA), pairs, BY_PAIRS),
    )
    first = lab.once("sft point", lambda: lab.measured(lab.start))
    return Found(
        pairs={"gold: KTO over DPO": (by_thumbs.gold, by_pairs.gold)},
        figures={
            "gold, SFT": first.gold,
            "gold, DPO": by_pairs.gold,
            "gold, KTO": by_thumbs.gold,
            "KL of DPO, nats": by_pairs.kl,
            "KL of KTO, nats": by_thumbs.kl,
            "thumbs": [len(thumbs)],
            "share of thumbs up": [tally.desirable / len(thumbs)],
            "comparisons": [len(pairs)],
        },
    )


def learned(lab: Lab, name: str, steps: Callable[[LM, Loader], Steps], rows: Sequence[Comparison] | Sequence[Label], how: Recipe) -> Point:
    """The SFT model after a method's training on `rows`."""
    policy = lab.start.copy()
    lab.drive(name, steps(policy, Loader(Plan(rows, policy.tokenizer))), how)
    return lab.measured(policy)
