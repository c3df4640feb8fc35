"""Iterative refinement: replies of the model as it is now are labelled and learned from, round after round; what does not help is undone.

    D_t = labels of n replies of π_{t−1} to fresh prompts
    π'  = learn(π_{t−1}, reference, D_t)                          reference = π_{t−1}, or the model as it began
    π_t = π' if the paired gain of π' over π_{t−1} on held-aside prompts reaches the bar, else π_{t−1}

Fresh labels of the newest model's replies: Bai et al. 2022, arXiv 2204.05862, §4.5 (with RL); Xu et al. 2023, arXiv 2312.16682, and
Yuan et al. 2024, arXiv 2401.10020 (with DPO).   Going back, and the rules that stop, are not theirs.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from plumbline.core.errors import UserError
from plumbline.core.methods import Stage, Steps
from plumbline.core.nouns import Comparison, Label
from plumbline.engine.recipe import Recipe
from plumbline.evals import stats
from plumbline.evals.stats import Figure
from plumbline.models.lm import LM

Rows = Sequence[Comparison] | Sequence[Label]
Reference = Literal["start", "base"]
Bound = Literal["mean", "lower"]


@dataclass(frozen=True)
class Rules:
    """When a round is kept, and when it is enough.

    `rounds`: at most so many.   `budget`: annotations in all, those of evaluations included; 0 sets no limit.   `patience`: rounds in a
    row that were rolled back before it ends, 0 goes on.   `max_kl`: nats per sequence from the model as it began; a round beyond it is
    rolled back and the last, 0 sets no limit.   `keep_by`: what of the paired gain must reach the bar: its mean, or the lower end of its
    95 % interval.   `least`: that bar.   `reference`: what a round is held to: its start, or the base.
    """

    rounds: int = 4
    budget: int = 0
    patience: int = 2
    max_kl: float = 0.0
    keep_by: Bound = "mean"
    least: float = 0.0
    reference: Reference = "start"

    def __post_init__(self) -> None:
        for name, lowest in (("rounds", 1), ("budget", 0), ("patience", 0), ("max_kl", 0)):
            if not getattr(self, name) >= lowest:
                raise UserError(f"--{name} is {getattr(self, name)}", f"Give at least {lowest}.")
        for name, known in (("keep_by", get_args(Bound)), ("reference", get_args(Reference))):
            if getattr(self, name) not in known:
                raise UserError(f"--{name} is {getattr(self, name)!r}", f"Choose one of {', '.join(known)}.")

    def verdict(self, gain: Figure, kl: float) -> tuple[bool, str]:
        """Whether a round is kept, and why."""
        if self.max_kl and kl > self.max_kl:
            return False, f"its KL of {kl:.2f} nats is above {self.max_kl:g}"
        reached = gain.mean if self.keep_by == "mean" else gain.lo
        words = f"the {'mean gain' if self.keep_by == 'mean' else 'lower end of the gain'}, {reached:+.3f}, is"
        return (True, f"{words} at least {self.least:g}") if reached >= self.least else (False, f"{words} below {self.least:g}")

    def over(self, ledger: Sequence[Entry], reserve: int) -> str:
        """Why no other round is made after these; "" if one is.   `reserve`: annotations that measuring a round may take."""
        if len(ledger) >= self.rounds:
            return f"{self.rounds} rounds were made"
        if self.max_kl and ledger[-1].kl.mean > self.max_kl:
            return f"the KL limit of {self.max_kl:g} nats was passed"
        if self.budget and self.left(ledger, reserve) < 1:
            return f"of {self.budget} annotations {self.budget - sum(e.asked for e in ledger)} are left"
        if self.patience and len(ledger) >= self.patience and not any(e.kept for e in ledger[-self.patience :]):
            return f"{self.patience} rounds in a row were rolled back"
        return ""

    def left(self, ledger: Sequence[Entry], reserve: int) -> int:
        """Annotations that the next round may ask for; very many without a budget."""
        return self.budget - sum(e.asked for e in ledger) - reserve if self.budget else 1 << 40


@dataclass(frozen=True)
class Labelled:
    """What was answered about a round's replies.   `asked`: annotations that it cost; `left_out`: ties that are not among the rows."""

    rows: Rows
    asked: int
    left_out: int = 0

    @property
    def told(self) -> list[Any]:
        """Rows that say something: of a tie nothing is learned."""
        return [row for row in self.rows if isinstance(row, Label) or row.preference != 0.5]

    @property
    def ties(self) -> int:
        """Answers that told nothing apart."""
        return self.left_out + len(self.rows) - len(self.told)


@dataclass(frozen=True)
class Measured:
    """A policy on the held-aside prompts: its replies, what each is worth where that is a number, and log π/base of each, in nats."""

    texts: tuple[str, ...]
    score_P: NDArray[np.float64] | None
    kl_P: NDArray[np.float64]

    @property
    def kl(self) -> Figure:
        """KL from the base, estimated by the replies."""
        return stats.mean(self.kl_P)

    @property
    def score(self) -> Figure | None:
        """Its mean worth."""
        return None if self.score_P is None else stats.mean(self.score_P)


@dataclass(frozen=True)
class Entry:
    """A line of the ledger.   `asked`: annotations of the round, those of its evaluation among them; `gain`: paired, over its start."""

    round: int
    rows: int
    ties: int
    asked: int
    gain: Figure
    score: Figure | None
    kl: Figure
    kept: bool
    why: str


class Work(Protocol):
    """What a round needs of the world.   `t` counts rounds from 1."""

    @property
    def reserve(self) -> int:
        """Annotations that one evaluation may take."""
        ...

    def label(self, t: int, policy: LM, most: int) -> Labelled:
        """Replies of `policy` to the prompts of round `t`, labelled by at most `most` annotations."""
        ...

    def learn(self, policy: LM, reference: LM, rows: Rows) -> Steps:
        """The steps of a learner on a round's rows."""
        ...

    def measure(self, t: int, policy: LM, base: LM) -> Measured:
        """The policy after round `t`, 0 before the first, on the held-aside prompts."""
        ...

    def gain(self, t: int, after: Measured, before: Measured) -> tuple[NDArray[np.float64], int]:
        """The paired gain on each held-aside prompt, and the annotations that it took."""
        ...

    def settle(self, entry: Entry) -> Entry:
        """Write the entry down; returns what was written first, if it was before."""
        ...


def refine(policy: LM, work: Work, rules: Rules, recipe: Recipe) -> Generator[Stage[Any], Any, tuple[list[Entry], str]]:
    """The stages, one a round that has something to learn; `policy` ends as the last that was kept.   Out: ledger, why it ended."""
    if rules.left([], work.reserve) < 1:
        raise UserError(f"a budget of {rules.budget} does not pay for one evaluation", f"Give --budget more than {work.reserve}.")
    base = policy.frozen("base")
    best, ledger = work.measure(0, policy, base), []
    while not ledger or not rules.over(ledger, work.reserve):
        t, start = len(ledger) + 1, policy.frozen("start")
        weights = {name: value.clone() for name, value in policy.state_dict().items()}
        labelled = work.label(t, start, rules.left(ledger, work.reserve))
        if not labelled.told:
            ledger.append(work.settle(nothing_told(t, labelled, best)))
            continue
        reference = start if rules.reference == "start" else base
        yield Stage(f"round{t}", work.learn(policy, reference, labelled.told), replace(recipe, seed=recipe.seed + t - 1))
        found = work.measure(t, policy, base)
        gain_P, asked = work.gain(t, found, best)
        ledger.append(work.settle(entry_of(t, labelled, asked, stats.mean(gain_P), found, rules)))
        if ledger[-1].kept:
            best = found
        else:
            policy.load_state_dict(weights)
    return ledger, rules.over(ledger, work.reserve)


def entry_of(t: int, labelled: Labelled, asked: int, gain: Figure, found: Measured, rules: Rules) -> Entry:
    """A round that was trained."""
    kept, why = rules.verdict(gain, found.kl.mean)
    return Entry(t, len(labelled.told), labelled.ties, labelled.asked + asked, gain, found.score, found.kl, kept, why)


def nothing_told(t: int, labelled: Labelled, best: Measured) -> Entry:
    """A round whose replies nobody could tell apart: nothing was trained, and the policy is what it was."""
    same, why = Figure(0.0, 0.0, 0.0, len(best.texts)), "no two of its replies were told apart"
    return Entry(t, 0, labelled.ties, labelled.asked, same, best.score, best.kl, False, why)
