"""Which examples, and in which order: greedy or beam search on a validation score, then orders of what was found.

    P₀ = (),   P_{j+1} = argmax over i not in P_j of  s(P_j ⊕ i);      with beam b the best b of each size go on
    then s over permutations of the best prompt, for order matters (Lu et al. 2022, arXiv 2104.08786);   the answer is the best of all seen

So the answer is never worse by s than what it began with, where sizes from 0 are allowed.   If s is a sum over examples, and all are
tried, greedy finds what trying every prompt would.   No model here: s is any function of an order of row numbers.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from plumbline.core.errors import UserError
from plumbline.world.draw import rng

Order = tuple[int, ...]
Score = Callable[[Order], float]
NEVER = -math.inf  # what does not fit into the model's context
RANGE = "Write one number (exactly so many examples) or two, as 0..8 (the best of these sizes)."


@dataclass(frozen=True, slots=True)
class Seen:
    """An order of examples, the last next to the question, and its score."""

    order: Order
    score: float


@dataclass(frozen=True, slots=True)
class Searched:
    """The best of the sizes that were allowed, and of every size what was best: the curve over k."""

    best: Seen
    by_size: dict[int, Seen]


@dataclass(frozen=True, slots=True)
class Plan:
    """`least`, `most`: how many examples.   `tries`: candidates tried at each size, 0 for all.   `beam`: how many prompts go on.

    `orders`: permutations of the best prompt that are tried (all of them where there are no more).   `seed`: of what is drawn.
    """

    least: int = 0
    most: int = 8
    tries: int = 16
    beam: int = 1
    orders: int = 24
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("tries", 0), ("beam", 1), ("orders", 0), ("seed", 0)):
            if getattr(self, name) < least:
                raise UserError(f"--{name} is {getattr(self, name)}", f"Give at least {least}.")
        if not 0 <= self.least <= self.most:
            raise UserError(f"--k is {self.least}..{self.most}", RANGE)

    def scores(self, count: int) -> int:
        """Scores that a search among `count` candidates asks for, at most."""
        sizes = min(self.most, count)
        wide = sum((1 if j == 0 else self.beam) * min(self.tries or count, count) for j in range(sizes))
        return 1 + wide + max(0, min(self.orders, math.factorial(sizes)) - 1)


def sizes(k: str) -> tuple[int, int]:
    """ "4" → (4, 4), "0..8" → (0, 8)."""
    first, dots, last = str(k).partition("..")
    try:
        return int(first), int(last if dots else first)
    except ValueError:
        raise UserError(f"--k is {k!r}", RANGE) from None


def search(count: int, score: Score, plan: Plan) -> Searched:
    """The best prompt of `plan.least` to `plan.most` of `count` candidates; equal scores go to the shorter, then to the earlier rows."""
    if plan.least > count:
        raise UserError(
            f"--k asks for {plan.least} examples, but there are {count} candidates", "Give more demonstrations, or a lower --k."
        )
    front = [Seen((), score(()))]
    by_size = {0: front[0]}
    for size in range(1, min(plan.most, count) + 1):
        tried = _drawn(count, size, plan)
        longer = dict.fromkeys((*seen.order, i) for seen in front for i in tried if i not in seen.order)
        found = _ranked([Seen(order, score(order)) for order in longer])
        if not found:
            break  # none fits into the model's context, or too few were drawn
        front, by_size[size] = found[: plan.beam], found[0]
    allowed = [seen for size, seen in by_size.items() if size >= plan.least and seen.score > NEVER]
    if not allowed:
        raise UserError(f"no prompt of {plan.least} examples fits into the model's context", "Lower --k, or give shorter demonstrations.")
    best = _ranked(allowed)[0]
    best = _ranked([best, *(Seen(order, score(order)) for order in _orders(best.order, plan))])[0]
    return Searched(best, {**by_size, len(best.order): best})


def _ranked(found: Sequence[Seen]) -> list[Seen]:
    """Best first, without what does not fit."""
    return sorted((s for s in found if s.score > NEVER), key=lambda s: (-s.score, len(s.order), s.order))


def _drawn(count: int, size: int, plan: Plan) -> list[int]:
    """Candidates tried at a size: all, or so many that were drawn."""
    if not plan.tries or plan.tries >= count:
        return list(range(count))
    return sorted(rng("icl", plan.seed, size).sample(range(count), plan.tries))


def _orders(order: Order, plan: Plan) -> Iterator[Order]:
    """Other orders of the same examples: all of them, or so many that were drawn."""
    if math.factorial(len(order)) <= plan.orders:
        yield from (o for o in itertools.permutations(order) if o != order)
        return
    chance, known = rng("icl orders", plan.seed), {order}
    while len(known) < plan.orders:
        drawn = tuple(chance.sample(order, len(order)))
        if drawn not in known:
            known.add(drawn)
            yield drawn
