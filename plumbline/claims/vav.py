"""To verify what an agent wants takes as many questions in a large world as in a small one; to learn what it wants takes ever more.

Both ask which of two futures the agent would rather have.   Verification (ARP-pref) knows what the human wants and asks what pins that;
active reward learning asks what tells most, until all rewards that are left have the same plan, and then compares.   Questions are counted
with an agent that wants exactly what the human wants, which has to answer all of them; verdicts are also tried on an agent near the human.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from plumbline.claims.seed import Seed
from plumbline.core.claims import Control, Found, claim, noninferior, superior
from plumbline.values import active, grid, halfspaces, verification
from plumbline.values.mdp import Floats, Problem

WIDTHS = (4, 8, 12)
GRIDS, FEATURES, GAMMA = 10, 5, 0.9  # grids of each width and seed
NEAR = 0.4  # standard deviation of what a near agent wants otherwise, as in docs/value-verification.md


@dataclass(frozen=True)
class World:
    """A grid, what a human wants there, and what somebody near wants."""

    problem: Problem
    human_K: Floats
    near_K: Floats
    number: int

    @staticmethod
    def drawn(width: int, number: int) -> World:
        """Of this number; weights are normal."""
        draw = np.random.default_rng([number, width])
        human_K, more_K = draw.normal(size=(2, FEATURES))
        return World(grid.square(width, FEATURES, gamma=GAMMA, seed=1000 * number + width), human_K, human_K + NEAR * more_K, number)

    def verified(self) -> tuple[int, float]:
        """Questions of ARP-pref, and whether its verdict on the near agent is right."""
        test = verification.arp_pref(self.problem, self.human_K)
        return test.questions, float(test.passes(verification.Planner(self.problem, self.near_K)) == self.truth())

    def learned(self) -> tuple[int, float]:
        """Questions until the human's own reward is learned, and whether the verdict on the near agent is right."""
        own, near = (
            active.learn(self.problem, verification.Planner(self.problem, weights_K), seed=self.number)
            for weights_K in (self.human_K, self.near_K)
        )
        return own.questions, float(near.aligned(self.problem, self.human_K) == self.truth())

    def truth(self) -> bool:
        """Whether the near agent wants what the human wants."""
        return halfspaces.aligned(self.problem, self.human_K, self.near_K)


def same_arms(lab: Any) -> Any:
    """The control's lab."""
    return replace(lab, alike=True)


@claim(
    "vav",
    says="verifying alignment takes fewer than 3 more questions on a grid of 9 times the cells, learning the reward first takes ever more",
    source="Brown et al. 2021, arXiv 2012.01557; query selection by volume removed: Sadigh et al. 2017",
    test={
        "growth of questions, width 4 to 12: learning over verification": superior(3),
        "questions of verification: width 4 over 12": noninferior(3),
    },
    seeds=3,
    control=Control("same arms", "both arms verify, on different grids", same_arms),
    equal="grids, human, agent, kind of question: which of two futures; 5 features, γ = .9; 10 grids of each width and seed",
)
def vav(lab: Seed) -> Found:
    """A number per grid; the grids of different widths have nothing in common."""
    numbers = [100 * lab.seed + i for i in range(lab.count(GRIDS, 2))]
    worlds = {width: [World.drawn(width, number) for number in numbers] for width in WIDTHS}
    others = {width: [World.drawn(width, number + 50) for number in numbers] for width in WIDTHS}
    verify = {width: [world.verified() for world in worlds[width]] for width in WIDTHS}
    learn = {w: [world.verified() if lab.alike else world.learned() for world in (others if lab.alike else worlds)[w]] for w in WIDTHS}
    figures = {}
    for width in WIDTHS:
        for name, arm in (("verification", verify), ("learning", learn)):
            figures[f"questions, {name}, width {width}"] = [questions for questions, _ in arm[width]]
            figures[f"verdicts right, {name}, width {width}"] = [right for _, right in arm[width]]
    asked = [[questions for questions, _ in verify[width]] for width in (WIDTHS[0], WIDTHS[-1])]
    return Found(
        pairs={
            "growth of questions, width 4 to 12: learning over verification": (growth(learn), growth(verify)),
            "questions of verification: width 4 over 12": (asked[0], asked[1]),
        },
        figures=figures,
    )


def growth(arm: dict[int, list[tuple[int, float]]]) -> Sequence[int]:
    """How many more questions the widest grid takes than the narrowest, grid by grid."""
    return [wide - narrow for (narrow, _), (wide, _) in zip(arm[WIDTHS[0]], arm[WIDTHS[-1]], strict=True)]
