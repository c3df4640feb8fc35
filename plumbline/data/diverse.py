"""Choosing k rows that are good and unlike one another: a submodular function, made large by greed.

    F(S) = (1 − λ) Σ_{i∈S} q_i  +  λ Σ_u √( Σ_{i∈S} (q_i s_iu)² )

q_i is a row's quality, u runs over words and pairs of words (hashed), and s_iu is the share of u in row i by rarity, ln(1 + N / rows
with u), so that Σ_u s_iu = 1.   A first row adds exactly its quality.   A later one adds less the more of its words stand in chosen rows:

    worth of i given S  =  q_i · (1 − λ + λ · novelty)          0 ≤ novelty ≤ 1

The second sum is a concave function of sums over features, which is submodular (Kirchhoff and Bilmes 2014, "Submodularity for data
selection in machine translation", EMNLP, who choose training sentences with such a function); F grows with S.   So taking the row of
most worth, k times, gives at least 1 − 1/e of the best F of any k rows (Nemhauser, Wolsey and Fisher 1978).   Worth only falls as S
grows: an old worth is an upper bound, and most rows need not be looked at again (Minoux 1978).
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plumbline.data.ngrams import Hashes, runs

Floats = NDArray[np.float64]
Ids = NDArray[np.int32]
BUCKETS = 1 << 20


def features(numbers_W: Hashes) -> Ids:
    """The buckets of a text's words and pairs of words, ascending, each once."""
    both = np.concatenate([numbers_W, runs(numbers_W, 2)])
    return np.unique(both % np.uint64(BUCKETS)).astype(np.int32)


def _width(rows: Sequence[Ids]) -> int:
    """Features counted from 0 to the last that occurs."""
    return 1 + max((int(ids[-1]) for ids in rows), default=0)


def shares(rows: Sequence[Ids]) -> list[Floats]:
    """s_iu for each row's features, in their order."""
    count_U = np.zeros(_width(rows), dtype=np.int64)
    for ids in rows:
        count_U[ids] += 1
    rarity_U = np.log1p(len(rows) / np.maximum(count_U, 1))
    return [rarity_U[ids] / rarity_U[ids].sum() for ids in rows]


@dataclass(frozen=True, slots=True)
class Pick:
    """A chosen row, and what it added."""

    index: int
    worth: float
    novelty: float


class Cover:
    """The rows' features, and what the rows chosen so far cover of them."""

    def __init__(self, rows: Sequence[Ids], quality: Sequence[float], diversity: float) -> None:
        self.rows, self.quality, self.diversity = rows, quality, diversity
        self.squares = [(q * s) ** 2 for q, s in zip(quality, shares(rows), strict=True)]
        self.mass_U = np.zeros(_width(rows))

    def novelty(self, i: int) -> float:
        """What row i would add to the second sum, as a share of its quality."""
        mass = self.mass_U[self.rows[i]]
        return min(1.0, float((np.sqrt(mass + self.squares[i]) - np.sqrt(mass)).sum()) / self.quality[i])

    def worth(self, i: int) -> tuple[float, float]:
        """(worth, novelty) of row i now."""
        novelty = self.novelty(i)
        return self.quality[i] * (1.0 - self.diversity + self.diversity * novelty), novelty

    def take(self, i: int) -> None:
        """Choose row i."""
        self.mass_U[self.rows[i]] += self.squares[i]


def value(rows: Sequence[Ids], quality: Sequence[float], diversity: float, chosen: Sequence[int]) -> float:
    """F of the chosen rows."""
    cover = Cover(rows, quality, diversity)
    for i in chosen:
        cover.take(i)
    return (1.0 - diversity) * sum(quality[i] for i in chosen) + diversity * float(np.sqrt(cover.mass_U).sum())


def greedy(cover: Cover, k: int) -> list[Pick]:
    """The k rows of most worth, each given those before it; of equal ones the earlier.   Qualities are above 0."""
    heap = [(-q, i, 0, 1.0) for i, q in enumerate(cover.quality)]  # with nothing chosen all is new
    heapq.heapify(heap)
    picks: list[Pick] = []
    while heap and len(picks) < k:
        negative, i, seen, novelty = heapq.heappop(heap)
        if seen == len(picks):
            cover.take(i)
            picks.append(Pick(i, -negative, novelty))
            continue
        worth, novelty = cover.worth(i)
        heapq.heappush(heap, (-worth, i, len(picks), novelty))
    return picks
