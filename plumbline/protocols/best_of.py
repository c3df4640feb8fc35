"""A better debater without training: draw n speeches, keep the one that the judge would like best.   arXiv 2402.06782, §4

    speech = argmax over n samples of P_judge(side | transcript so far + speech)

Every ask that is no speech (a judge's choice, another protocol's ask) goes to the model as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import final

from plumbline.core.errors import UserError
from plumbline.core.interfaces import Model
from plumbline.core.nouns import Ask, Reply
from plumbline.protocols.transcript import Speech

Likes = Callable[[Sequence[tuple[Speech, str]]], Sequence[float]]


def persuades(judge: Model) -> Likes:
    """The judge's probability of the side that a speech argues for, had it heard the speech now; the other side is not heard yet."""

    def likes(said: Sequence[tuple[Speech, str]]) -> list[float]:
        verdicts = judge.answer([ask.ballot(text) for ask, text in said if ask.ballot is not None])
        return [verdict.choice_probs[ask.side] for (ask, _), verdict in zip(said, verdicts, strict=True)]

    return likes


@final
class BestOf:
    """`model`, but of every speech the best of `n` as `likes` has it; of equal ones the first drawn, an empty one only if all are."""

    def __init__(self, model: Model, n: int, likes: Likes) -> None:
        if n < 1:
            raise UserError(f"the best of {n} speeches", "Give at least 1.")
        self.model, self.n, self.likes, self.name = model, n, likes, model.name

    def answer(self, asks: Sequence[Ask]) -> list[Reply]:
        """One reply per ask, in order."""
        times = [self.n if isinstance(ask, Speech) else 1 for ask in asks]
        drawn = iter(self.model.answer([ask for ask, n in zip(asks, times, strict=True) for _ in range(n)]))
        several = [[next(drawn) for _ in range(n)] for n in times]
        said = [(ask, r.text) for ask, rs in zip(asks, several, strict=True) if isinstance(ask, Speech) for r in rs if r.text.strip()]
        liked = iter(self.likes(said) if said and self.n > 1 else [0.0] * len(said))
        return [_best(ask, replies, liked) for ask, replies in zip(asks, several, strict=True)]


def _best(ask: Ask, replies: Sequence[Reply], liked: Iterator[float]) -> Reply:
    if not isinstance(ask, Speech):
        return replies[0]
    return max(replies, key=lambda r: next(liked) if r.text.strip() else float("-inf"))
