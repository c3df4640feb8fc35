"""Duels chosen by Thompson sampling teach more per question than duels at random, by uncertainty, by APL or by XPO.

Every arm begins at the same SFT model, learns by DPO, and puts 32 duels to the same noisy person in each of 16 rounds.   They differ in
which duels, and the heads of those that have heads read the features of the same frozen model.   "On half" is after 8 rounds.   Since some
of SEA's duels are labelled by the model, and APL asks about a quarter of the prompts, rounds have as many prompts as give 32 questions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, final

from plumbline.claims.common import Lab, Point, same_arms
from plumbline.core.claims import Found, claim, noninferior, superior
from plumbline.core.interfaces import Oracle
from plumbline.core.methods import Method
from plumbline.core.nouns import Comparison, Context
from plumbline.core.rollouts import Draw
from plumbline.data import Prompts
from plumbline.engine.recipe import Recipe
from plumbline.engine.rounds import PromptRounds
from plumbline.evals.town import MAX_TOKENS
from plumbline.methods import sea as sea_file
from plumbline.methods.duels import Strategy
from plumbline.methods.learners import Learn
from plumbline.models.epistemic import Epistemic
from plumbline.pipelines.oracles import TownOracle
from plumbline.world.annotators import annotators

ROUNDS, QUESTIONS, PROPOSALS = 16, 32, 20
PROMPTS: dict[Strategy, int] = {"best-arm": 46, "explore": 46, "apl": 128}  # .7 · 46 = 32, and a quarter of 128
ROAD = Recipe(lr="policy=2e-4,epistemic=1e-3", warmup=0.1)
LEARN = Learn(passes=4, beta=0.3)  # what was best for passive and SEA alike on validation prompts
RIVALS: dict[str, Strategy] = {"passive": "passive", "uncertainty": "uncertainty", "APL": "apl", "XPO": "xpo"}
ABLATIONS: dict[str, dict[str, Any]] = {
    "SEA, explore": {"strategy": "explore"},
    "SEA, no own labels": {"strategy": "best-arm", "own": 0.0},
    "SEA, five proposals": {"strategy": "best-arm", "proposals": 5},
}


@final
@dataclass
class Counted:
    """An oracle whose questions are counted."""

    oracle: Oracle
    labels: int = 0

    def compare(self, context: Context, completions: Sequence[str]) -> Comparison:
        """As the oracle does."""
        self.labels += 1
        return self.oracle.compare(context, completions)


@dataclass(frozen=True)
class Arm:
    """Where a strategy stands on half and on all of its questions."""

    half: Point
    end: Point
    labels: int
    seconds: float


@claim(
    "sea",
    says="duels chosen by Thompson sampling over an epistemic reward need fewer questions for the same gold",
    source="Liu et al. 2024, arXiv 2411.01493, fig. 1 and §6",
    test={
        "gold: SEA on half the questions over passive on all": noninferior(0.02),
        **{f"gold: SEA over {name}": superior(0.0) for name in RIVALS},
    },
    seeds=5,
    control=same_arms,
    control_seeds=5,
    equal="model, SFT, one person of noise .1, DPO with β .3, 16 rounds of 32 questions, the frozen model that gives features",
)
def sea(lab: Lab) -> Found:
    """In the control SEA is the passive strategy on other prompts."""
    rivals = {name: lab.once(f"sea {name}", lambda how=how: learned(lab, how, strategy=how)) for name, how in RIVALS.items()}
    first = lab.once("sft point", lambda: lab.measured(lab.start))
    arms = {"SEA": learned(lab, "SEA", **mine_of(lab)), **rivals}
    if not lab.alike:
        arms |= {name: learned(lab, name, **how) for name, how in ABLATIONS.items()}
    mine = arms["SEA"]
    figures = {"gold, SFT": first.gold}
    for name, arm in arms.items():
        won = (arm.end.gold > first.gold) + 0.5 * (arm.end.gold == first.gold)
        figures |= {f"gold, {name}, on half": arm.half.gold, f"gold, {name}": arm.end.gold, f"win rate over SFT, {name}": won}
        figures |= {f"questions, {name}": [arm.labels], f"KL of {name}, nats": arm.end.kl, f"seconds of {name}": [arm.seconds]}
    pairs = {f"gold: SEA over {name}": (mine.end.gold, arm.end.gold) for name, arm in rivals.items()}
    pairs["gold: SEA on half the questions over passive on all"] = (mine.half.gold, rivals["passive"].end.gold)
    return Found(pairs=pairs, figures=figures)


def mine_of(lab: Lab) -> dict[str, Any]:
    """SEA's settings; in the control those of passive, on prompts of another draw."""
    return {"strategy": "passive", "draw": "asked again"} if lab.alike else {"strategy": "best-arm"}


def learned(lab: Lab, name: str, *, draw: str = "asked", **settings: Any) -> Arm:
    """One strategy's road from the SFT model."""
    policy, heads = lab.start.copy(), Epistemic.on(lab.reference, seed=lab.seed)
    rounds, batch = lab.count(ROUNDS, 2), lab.count(PROMPTS.get(settings["strategy"], QUESTIONS), 4)
    prompts = lab.prompts(rounds * batch, draw)
    person = Counted(TownOracle(prompts, annotators("ada", 0.1), seed=lab.seed))
    points: list[Point] = []

    def look() -> dict[str, Any]:
        points.append(lab.measured(policy, step=len(points)))
        return {"gold": points[-1].validation}

    how = {"proposals": lab.count(4 if settings["strategy"] == "apl" else PROPOSALS, 3), "burn_in": 2 * QUESTIONS, **settings}
    method: Method = sea_file.sea(learn=LEARN, sampling=Draw(max_tokens=MAX_TOKENS), **how)
    steps = method(policy, lab.reference, heads, person, PromptRounds(Prompts(prompts, policy.tokenizer)))
    recipe = replace(ROAD, steps=rounds, batch=batch, eval_every=max(1, rounds // 2))
    seconds = lab.drive(f"sea {name}", steps, recipe, look)
    return Arm(points[0], points[-1], person.labels, seconds)
