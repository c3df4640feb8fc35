"""Four rounds of n/4 annotations against one of n: what is worth knowing about a model changes as it learns.

Both arms ask about two replies to each of the same prompts, and learn by DPO in as many optimiser steps, held to the same SFT model.
In one all replies are the SFT model's; in the other each quarter is of the model as it is by then.   No round is measured or rolled back
on the way: what that costs would be annotations too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np

from plumbline.claims.common import Lab, Point
from plumbline.core.claims import Control, Found, claim, superior
from plumbline.core.interfaces import Oracle
from plumbline.core.methods import Steps
from plumbline.core.nouns import Prompt, Sampling
from plumbline.data import Plan
from plumbline.engine.loader import Loader
from plumbline.engine.recipe import Recipe
from plumbline.evals.town import MAX_TOKENS
from plumbline.methods import dpo as dpo_file
from plumbline.models.lm import LM
from plumbline.pipelines.oracles import TownOracle
from plumbline.pipelines.refine import Entry, Labelled, Measured, Rows, Rules, refine
from plumbline.pipelines.refine_labels import by_oracle
from plumbline.world.annotators import annotators

ASKED, ROUNDS, BATCH = 6000, 4, 32
ROAD = Recipe(batch=BATCH, lr=3e-4, warmup=0.1)
BETA, NLL = 0.1, 0.5  # of four settings the best for one round on validation prompts, and for four rounds
stale = Control(
    "stale replies", "the replies of every round are the SFT model's: four rounds in name alone", lambda lab: replace(lab, alike=True)
)


@final
@dataclass
class Rounds:
    """The work of an arm: `count` rounds that share the prompts and steps.   `stale`: whose replies are asked about, if not its own."""

    prompts: Sequence[Prompt]
    oracle: Oracle
    count: int
    seed: int
    stale: LM | None = None
    asked: int = 0
    told: int = 0
    reserve: int = 0

    def label(self, t: int, policy: LM, most: int) -> Labelled:
        """Two replies to each prompt of the round, compared where they differ."""
        size = len(self.prompts) // self.count
        some = self.prompts[(t - 1) * size : t * size]
        found = by_oracle(self.oracle, some, (self.stale or policy).sample(some, 2, Sampling(max_tokens=MAX_TOKENS, seed=self.seed)), most)
        self.asked, self.told = self.asked + found.asked, self.told + len(found.told)
        return found

    def learn(self, policy: LM, reference: LM, rows: Rows) -> Steps:
        """DPO."""
        return dpo_file.dpo(policy, reference, Loader(Plan(rows, policy.tokenizer)), beta=BETA, nll=NLL)

    def measure(self, t: int, policy: LM, base: LM) -> Measured:
        """Nothing: every round is kept."""
        return Measured(("",), None, np.zeros(1))

    def gain(self, t: int, after: Measured, before: Measured) -> tuple[Any, int]:
        """Likewise."""
        return np.zeros(1), 0

    def settle(self, entry: Entry) -> Entry:
        """Written nowhere."""
        return entry


@dataclass(frozen=True)
class Arm:
    """Where an arm ended, and what it took."""

    point: Point
    asked: int
    told: int
    steps: int


@claim(
    "refine",
    says="four rounds of n/4 annotations beat one round of n, at equal annotations and optimiser steps",
    source="Xu et al. 2023, arXiv 2312.16682; Bai et al. 2022, arXiv 2204.05862, §4.5 (with RL)",
    test=superior(0.0),
    seeds=5,
    control=stale,
    control_seeds=3,
    equal="model, SFT, one person of noise .1, 6,000 prompts a question each, 188 steps of DPO, whose reference is that SFT",
)
def four_rounds(lab: Lab) -> Found:
    """In the control the four rounds ask about replies of the SFT model, as the one round does."""
    one = lab.once("refine one", lambda: learned(lab, "one round", 1))
    four = learned(lab, "four rounds", ROUNDS, stale=lab.reference if lab.alike else None)
    first = lab.once("sft point", lambda: lab.measured(lab.start))
    figures = {"gold, SFT": first.gold}
    for name, arm in {"one round": one, "four rounds": four}.items():
        figures |= {f"gold, {name}": arm.point.gold, f"KL of {name}, nats": arm.point.kl, f"words, {name}": arm.point.words}
        figures |= {f"annotations, {name}": [arm.asked], f"not ties, {name}": [arm.told], f"steps, {name}": [arm.steps]}
    return Found(pairs={"difference": (four.point.gold, one.point.gold)}, figures=figures)


def learned(lab: Lab, name: str, count: int, *, stale: LM | None = None) -> Arm:
    """The SFT model after `count` rounds."""
    n = lab.count(ASKED, 2 * ROUNDS)
    prompts = lab.prompts(n - n % ROUNDS, "refined")
    steps = max(1, round(lab.count(ASKED, BATCH * ROUNDS) / BATCH / ROUNDS)) * ROUNDS
    work = Rounds(prompts, TownOracle(prompts, annotators("ada", 0.1), seed=lab.seed), count, lab.seed, stale)
    policy, made = lab.start.copy(), 0
    for stage in refine(policy, work, Rules(rounds=count, patience=0, reference="base"), replace(ROAD, steps=steps // count)):
        lab.drive(f"{name}, {stage.name}", stage.steps, stage.recipe)
        made += steps // count
    return Arm(lab.measured(policy), work.asked, work.told, made)
