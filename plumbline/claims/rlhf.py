"""Optimising a learned reward raises gold, then lowers it as KL grows.

A reward from rankings of three people, two of them noisy, is optimised by PPO without a pull to the reference (as Gao et al. do) and by
best-of-n.   Gold rises to a peak and falls from it, while the reward goes on rising.   The peak is chosen on
validation prompts and measured on held-out ones.
"""

from __future__ import annotations

from plumbline.claims import fits
from plumbline.claims.common import FAMILIES, Lab, peak, shuffled_labels
from plumbline.core.claims import Found, Pair, claim, superior
from plumbline.core.nouns import Sampling
from plumbline.evals import best_of as curves
from plumbline.evals.town import MAX_TOKENS
from plumbline.methods.ppo import Kl, ppo
from plumbline.pipelines.best_of import BestOf, best_of
from plumbline.pipelines.gold import TownGold
from plumbline.world.annotators import annotators
from plumbline.world.splits import prompts as town_prompts

NS = (1, 2, 4, 8, 16, 32, 64)
PEOPLE = annotators("ada+ben+cleo")


@claim(
    "rlhf",
    says="optimising a learned reward raises gold, then lowers it as KL grows",
    source="Gao et al. 2022, arXiv 2210.10760, fig. 1",
    test={
        "gold: peak over SFT": superior(0.01),
        "gold: peak over end": superior(0.03),
        "reward: end over peak": superior(0.0),
        "gold: best of 4 over one": superior(0.01),
    },
    seeds=3,
    control=shuffled_labels,
    control_seeds=1,
    equal="model, SFT, prompts and samples a prompt; PPO against the reward alone, β = 0, 48 rounds of 128 prompts, points every 6",
    also=fits.figures,
)
def rlhf(lab: Lab) -> Found:
    """Replies to 4,000 prompts ranked, a reward, 48 rounds of PPO; best of up to 64 of the SFT model."""
    judge, _ = lab.learned("reward", lab.labelled(lab.rankings(lab.count(4000, 16), PEOPLE)))
    points, _ = lab.optimised("ppo", judge, ppo(kl=Kl(coef=0.0)), rounds=48, lr="policy=1e-4,value=1e-3", every=6)
    first, best, last = points[0], peak(points), points[-1]
    asked = town_prompts(lab.split, lab.count(208, FAMILIES), 0)
    sampling = Sampling(max_tokens=MAX_TOKENS, seed=lab.seed)
    drawn = best_of(lab.start, asked, judge, lab.count(64, 4), sampling=sampling, gold=TownGold())
    return Found(
        pairs={
            "gold: peak over SFT": (best.gold, first.gold),
            "gold: peak over end": (best.gold, last.gold),
            "reward: end over peak": (last.proxy, best.proxy),
            "gold: best of 4 over one": best_of_n(drawn, 4, 1),
        },
        figures={
            f"{name}, {place}": getattr(point, name)
            for place, point in (("SFT", first), ("peak", best), ("end", last))
            for name in ("gold", "proxy", "kl", "words")
        }
        | {"round of the peak": [best.step]}
        | of_best(drawn),
        curves={"rl": fits.curve([p.kl for p in points], [p.gold for p in points]), "bon": curve_of_best(drawn)},
    )


def best_of_n(drawn: BestOf, *ns: int) -> Pair:
    """Gold of the best of each of two n."""
    gold_PK = curves.curve(drawn.proxy_PN, ns, drawn.gold_PN)
    return gold_PK[:, 0].tolist(), gold_PK[:, 1].tolist()


def of_best(drawn: BestOf) -> dict[str, list[float]]:
    """Gold of the best of 1, 4, 16 and 64."""
    ns = [n for n in NS[::2] if n <= drawn.n]
    gold_PK = curves.curve(drawn.proxy_PN, ns, drawn.gold_PN)
    return {f"gold, best of {n}": gold_PK[:, k].tolist() for k, n in enumerate(ns)}


def curve_of_best(drawn: BestOf) -> dict[str, list[list[float]]]:
    """Every n at its KL."""
    ns = [n for n in NS if n <= drawn.n]
    gold_PK = curves.curve(drawn.proxy_PN, ns, drawn.gold_PN)
    return fits.curve([drawn.kl(n) for n in ns], list(gold_PK.T))
