"""Who fills a method's roles: one table.   A method's positional parameters are looked up here by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from plumbline.core.batches import Group
from plumbline.core.errors import UserError
from plumbline.core.interfaces import Oracle, Reward
from plumbline.core.methods import Method, State
from plumbline.core.nouns import Label, Rating, Tally
from plumbline.data import Plan, Prompts
from plumbline.engine.loader import Loader
from plumbline.engine.rounds import PromptRounds
from plumbline.models.cache import CachedReference
from plumbline.models.epistemic import Epistemic
from plumbline.models.lm import LM
from plumbline.models.scalar import ScalarLM
from plumbline.models.thresholds import Thresholds

Trained = LM | ScalarLM
Given = Plan | Prompts


@dataclass(frozen=True)
class Hands:
    """What the runtime can hand to a method: `trained` is the model that was named, `given` the rows, `seed` that of new weights.

    `demos` go beside prompts.
    """

    trained: Trained
    given: Given
    reference: LM | CachedReference | None = None
    reward: Reward | None = None
    seed: int = 0
    demos: Sequence[Group] = ()
    oracle: Oracle | None = None

    @property
    def policy(self) -> LM:
        """The model, where it must be one that speaks."""
        if not isinstance(self.trained, LM):
            raise UserError("this method trains a language model, not a reward", "Pass a causal language model as --model.")
        return self.trained

    @property
    def scalar(self) -> ScalarLM:
        """The model with heads: itself, or fresh heads on a language model."""
        return self.trained if isinstance(self.trained, ScalarLM) else ScalarLM.on(self.trained, heads_of(self.given), seed=self.seed)

    @property
    def judge(self) -> Reward:
        """The reward that was named."""
        if self.reward is None:
            raise UserError("this method needs a reward", "Pass --reward: a reward model, gold (on town), rule:…, regex:…, json, http://…")
        return self.reward

    @property
    def asked(self) -> Oracle:
        """The oracle that was named."""
        if self.oracle is None:
            raise UserError("this method needs an oracle", "Pass --oracle: town, a file of comparisons, or queue:FOLDER.")
        return self.oracle

    @property
    def start(self) -> LM | CachedReference:
        """The policy as it is now, for good."""
        return self.reference or self.policy.frozen()


ROLES: dict[str, Callable[[Hands], Any]] = {
    "policy": lambda hands: hands.policy,
    "model": lambda hands: hands.scalar,
    "reference": lambda hands: hands.start,
    "oracle": lambda hands: hands.asked,
    "epistemic": lambda hands: Epistemic.on(trunk_of(hands.start), seed=hands.seed),
    "reward": lambda hands: hands.judge,
    "value": lambda hands: ScalarLM.on(hands.policy, ("value",), seed=hands.seed),
    "state": lambda hands: State(),
    "tally": lambda hands: Tally.of([row for row in hands.given.rows if isinstance(row, Label)]),
    "thresholds": lambda hands: thresholds_of(hands.given, hands.trained),
    "data": lambda hands: stream(hands.given),
    "prompts": lambda hands: stream(hands.given, hands.demos),
}


def fill(method: Method, hands: Hands) -> dict[str, Any]:
    """The method's roles, by name."""
    unknown = [role for role in method.roles if role not in ROLES]
    if unknown:
        raise UserError(f"{method.name} wants {unknown[0]!r}, which train cannot fill", "Call the method with its roles, and `drive` it.")
    return {role: ROLES[role](hands) for role in method.roles}


def trunk_of(reference: LM | CachedReference) -> LM:
    """The model behind a reference."""
    return reference.lm if isinstance(reference, CachedReference) else reference


def stream(given: Given, demos: Sequence[Group] = ()) -> Loader | PromptRounds:
    """Rows as what a method iterates: batches of feedback, or rounds of prompts."""
    return PromptRounds(given, demos=demos) if isinstance(given, Prompts) else Loader(given)


def heads_of(given: Given) -> tuple[str, ...]:
    """A head per criterion of ratings, else one reward."""
    return criteria(given.rows) if isinstance(given.rows[0], Rating) else ("reward",)


def criteria(rows: Sequence[Any]) -> tuple[str, ...]:
    """What the ratings rate, in the order in which it first appears."""
    return tuple(dict.fromkeys(name for row in rows if isinstance(row, Rating) for name in row.scores))


def thresholds_of(given: Given, trained: Trained) -> Thresholds:
    """Thresholds for the people and the criteria of these ratings: in the order of the model's heads, where it has heads for them all."""
    ratings = [row for row in given.rows if isinstance(row, Rating)]
    rated, heads = criteria(ratings), trained.heads if isinstance(trained, ScalarLM) else ()
    return Thresholds.of(ratings, heads if set(rated) <= set(heads) else rated, device=trained.device)
