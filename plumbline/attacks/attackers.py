"""Attackers: a language model that writes questions, without examples, or with examples drawn for each question anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from plumbline.attacks import few_shot
from plumbline.attacks.wording import Wording
from plumbline.core.interfaces import Model
from plumbline.core.nouns import Ask, Sampling

PLAIN = Sampling()


@dataclass(frozen=True)
class Asker:
    """A model that asks in a wording.   The same seed asks the same questions."""

    model: Model
    wording: Wording
    sampling: Sampling = PLAIN

    def zero_shot(self, n: int, seed: int) -> list[str]:
        """`n` questions; "" for what is none."""
        return self._asked([()] * n, seed)

    def few_shot(self, pool: Sequence[str], scores: Sequence[float], n: int, seed: int, *, k: int, temperature: float) -> list[str]:
        """`n` questions, each after `k` examples of the pool drawn for it ∝ exp(score / temperature)."""
        chance = Random(f"few-shot {seed}")
        drawn = [few_shot.chosen(scores, k, temperature, chance) for _ in range(n)]
        return self._asked([tuple(pool[i] for i in places) for places in drawn], seed)

    def _asked(self, examples: Sequence[Sequence[str]], seed: int) -> list[str]:
        sampling = replace(self.sampling, seed=seed, stop=self.wording.stop)
        replies = self.model.answer([Ask(self.model.name, self.wording.asks(shown), sampling) for shown in examples])
        return [self.wording.question(reply) for reply in replies]
