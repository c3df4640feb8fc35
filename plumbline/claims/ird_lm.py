"""Pessimism about what the comparisons left open of a reward loses less gold on prompts of a kind that nobody compared replies to.

A Bayesian linear head on the frozen states of the SFT model learns from rankings of replies to training prompts.   On shifted prompts
(families and lengths that training has not) the best of n replies is taken by its mean, or by mean less spread over 64 draws.   The loss of
gold is what the best of n by a reward has less than the best of n by gold.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from plumbline.claims.common import FAMILIES, Lab, same_arms
from plumbline.core.claims import Found, claim, superior
from plumbline.core.nouns import Comparison, Game, Sampling, Turn
from plumbline.evals.rewards import games_of
from plumbline.evals.town import MAX_TOKENS
from plumbline.models.scalar import ScalarLM
from plumbline.pipelines.gold import TownGold
from plumbline.pipelines.verify import linear
from plumbline.values.pessimism import Features, HeadPosterior, Pessimist, fit
from plumbline.world.annotators import annotators
from plumbline.world.splits import prompts as town_prompts

SAMPLES = 64
CAUTION = 1.0


@claim(
    "ird-lm",
    says="on shifted prompts the best of 64 by a reward's posterior mean less its spread loses less gold than by the mean",
    source="Hadfield-Menell et al. 2017, arXiv 1711.02827, for a linear reward head on frozen features",
    test={"gold lost on shifted prompts: mean over pessimist": superior(0.01)},
    seeds=3,
    control=same_arms,
    equal="model, SFT, frozen features, rankings of replies to 400 prompts, the 64 samples a prompt; caution 1, prior variance 1",
)
def ird_lm(lab: Lab) -> Found:
    """In the control nobody is cautious: both arms take the mean, of different draws."""
    features, posterior = lab.once("head", lambda: learned(lab))
    asked = town_prompts("shifted", lab.count(208, FAMILIES), 0)

    def sampled() -> list[list[Game]]:
        drawn = lab.start.sample(asked, lab.count(SAMPLES, 4), Sampling(max_tokens=MAX_TOKENS, seed=lab.seed))
        return [[Game((Turn("policy", p.context, r),), item=p) for r in some] for p, some in zip(asked, drawn, strict=True)]

    games = lab.once("sampled", sampled)
    flat = [game for some in games for game in some]
    gold_PN = np.array(lab.once("gold", lambda: TownGold()(flat).total)).reshape(len(asked), -1)
    mean = Pessimist(features, posterior, caution=0.0, seed=lab.seed)
    cautious = Pessimist(features, posterior, caution=0.0 if lab.alike else CAUTION, seed=lab.seed + 1000)
    lost = {name: best_of(reward, flat, gold_PN) for name, reward in (("mean", mean), ("pessimist", cautious))}
    return Found(
        pairs={"gold lost on shifted prompts: mean over pessimist": (lost["mean"], lost["pessimist"])},
        figures={
            "gold lost, mean": lost["mean"],
            "gold lost, pessimist": lost["pessimist"],
            "gold of one sample": gold_PN.mean(1).tolist(),
            "gold of the best of all": gold_PN.max(1).tolist(),
        },
    )


def learned(lab: Lab) -> tuple[Features, HeadPosterior]:
    """The frozen states of the SFT model as features, and what neighbours in the rankings say of a head on them."""
    rows = lab.rankings(lab.count(400, 8), annotators("ada+ben+cleo"))
    features = linear(ScalarLM.on(lab.start, seed=lab.seed).frozen(), "states").features
    pairs = [Comparison(r.context, two, meta=r.meta) for r in rows for two in zip(r.completions, r.completions[1:], strict=False)]
    both_2NK = features(games_of(pairs))
    return features, fit(both_2NK[::2], both_2NK[1::2])


def best_of(reward: Pessimist, games: Sequence[Game], gold_PN: np.ndarray) -> list[float]:
    """Gold that the best of a prompt's samples by a reward has less than the best by gold."""
    score_PN = np.array(reward(games).total).reshape(gold_PN.shape)
    taken_P = gold_PN[np.arange(len(gold_PN)), score_PN.argmax(1)]
    return (gold_PN.max(1) - taken_P).tolist()
