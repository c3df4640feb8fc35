"""The KL coefficient trades peak for safety: at .05 gold collapses from its peak while the reward rises, at .25 it does not.

The reward is learned from rankings by somebody who likes words (.01 each) and courtesies (.06 each).   Peaks are chosen on validation
prompts and measured on held-out ones.
"""

from __future__ import annotations

from plumbline.claims.common import CROWD, Lab, Point, peak, same_arms
from plumbline.core.claims import Found, claim, noninferior, superior
from plumbline.methods.ppo import Kl, ppo
from plumbline.models.scalar import ScalarLM

LOOSE, TIGHT = 0.05, 0.25


@claim(
    "kl",
    says="the KL coefficient trades peak for safety: .05 collapses from its peak, .25 does not and ends higher",
    source="Stiennon et al. 2020, arXiv 2009.01325, fig. 5; a prototype of this project: gold 1.95 → 2.23 → 1.8 at .05, 2.34 at .25",
    test={
        "gold: peak over end at .05": superior(0.02),
        "gold: end over peak at .25": noninferior(0.02),
        "gold: end at .25 over end at .05": superior(0.02),
    },
    seeds=3,
    control=same_arms,
    control_seeds=1,
    equal="model, SFT, one reward, prompts, 40 rounds of 128, points every 8",
)
def kl(lab: Lab) -> Found:
    """In the control both coefficients are .25, and the second run has other prompts."""
    judge = lab.once("judge", lambda: lab.learned("reward", lab.rankings(lab.count(4000, 16), CROWD))[0])
    tight = lab.once("tight", lambda: run(lab, judge, TIGHT))
    loose = run(lab, judge, TIGHT, draw="again") if lab.alike else run(lab, judge, LOOSE)
    places = {"SFT": tight[0], "peak at .05": peak(loose), "end at .05": loose[-1], "peak at .25": peak(tight), "end at .25": tight[-1]}
    return Found(
        pairs={
            "gold: peak over end at .05": (peak(loose).gold, loose[-1].gold),
            "gold: end over peak at .25": (tight[-1].gold, peak(tight).gold),
            "gold: end at .25 over end at .05": (tight[-1].gold, loose[-1].gold),
        },
        figures={f"{name}, {place}": getattr(point, name) for place, point in places.items() for name in ("gold", "proxy", "kl")},
    )


def run(lab: Lab, judge: ScalarLM, coef: float, *, draw: str = "judged") -> list[Point]:
    """PPO at one coefficient."""
    points, _ = lab.optimised(f"ppo, KL coefficient {coef}", judge, ppo(kl=Kl(coef=coef)), rounds=40, every=8, draw=draw)
    return points
