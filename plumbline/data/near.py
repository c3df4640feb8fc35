"""Near-duplicates: sets of word runs whose Jaccard similarity is high, found without comparing every pair.

    J(A, B) = |A ∩ B| / |A ∪ B|            P[min h(A) = min h(B)] = J         for a random order h        (Broder 1997)
    P[some band of r minima out of b bands is equal] = 1 − (1 − J^r)^b                          (Indyk and Motwani 1998)

Bands only propose: every proposed pair is compared exactly.   Rows come best first, and a row is dropped if it is near one that stays; so
a row that stays is near no other, nothing is dropped for resembling what was dropped itself, and the order in the file does not matter.

Broder, "On the resemblance and containment of documents", 1997; Indyk and Motwani, "Approximate nearest neighbors", STOC 1998.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import final

import numpy as np
from numpy.typing import NDArray

from plumbline.data.ngrams import Hashes, mixed

SIZE = 128
RECALL = 0.99
Signature = NDArray[np.uint64]


@final
class MinHash:
    """`size` random orders of all 64-bit numbers, fixed by `seed`.   An order: the upper half of a·x + b mod 2⁶⁴, a odd."""

    def __init__(self, size: int = SIZE, seed: int = 0) -> None:
        chance = np.random.default_rng(seed)
        self.a_P1, self.b_P1 = (chance.integers(0, 1 << 64, size=(size, 1), dtype=np.uint64) for _ in range(2))
        self.a_P1 |= np.uint64(1)

    def signature(self, numbers_S: Hashes) -> Signature:
        """(P,) the first of the set in each order."""
        return ((self.a_P1 * mixed(numbers_S) + self.b_P1) >> np.uint64(32)).min(axis=1)


def estimate(one_P: Signature, other_P: Signature) -> float:
    """J as the share of equal minima; its standard deviation is √(J(1−J)/P)."""
    return float(np.mean(one_P == other_P))


def jaccard(one_S: Hashes, other_S: Hashes) -> float:
    """J exactly, of two sets in ascending order."""
    both = len(np.intersect1d(one_S, other_S, assume_unique=True))
    return both / (len(one_S) + len(other_S) - both)


def recall(similarity: float, rows: int, bands: int) -> float:
    """1 − (1 − J^r)^b: how likely a pair is proposed."""
    return 1.0 - (1.0 - similarity**rows) ** bands


def banding(threshold: float, size: int = SIZE, least: float = RECALL) -> tuple[int, int]:
    """(rows, bands) with the most rows, so the fewest false proposals, that still proposes `least` of the pairs at the threshold."""
    fitting = [r for r in range(1, size + 1) if recall(threshold, r, size // r) >= least]
    rows = max(fitting, default=1)
    return rows, size // rows


def band_keys(signature_P: Signature, rows: int, bands: int) -> list[int]:
    """A number per band: equal where the band's minima are."""
    minima_BR = signature_P[: rows * bands].reshape(bands, rows)
    key_B = np.arange(bands, dtype=np.uint64)
    for r in range(rows):
        key_B = mixed(key_B * np.uint64(0x9E3779B97F4A7C15) + minima_BR[:, r])
    return key_B.tolist()


def duplicates(sets: Sequence[Hashes] | Mapping[int, Hashes], order: Iterable[int], threshold: float) -> dict[int, tuple[int, float]]:
    """Row → (the earlier row in `order` that it is nearest to, J ≥ threshold), for rows that are near one that stays."""
    orders, (rows, bands) = MinHash(), banding(threshold)
    shelf: dict[int, list[int]] = {}
    found: dict[int, tuple[int, float]] = {}
    for i in order:
        keys = band_keys(orders.signature(sets[i]), rows, bands)
        proposed = dict.fromkeys(j for key in keys for j in shelf.get(key, ()))  # in the order of their staying
        near = [(jaccard(sets[i], sets[j]), j) for j in proposed]
        most = max((similarity for similarity, _ in near), default=0.0)
        if near and most >= threshold:
            found[i] = next((j, similarity) for similarity, j in near if similarity == most)
            continue
        for key in keys:
            shelf.setdefault(key, []).append(i)
    return found
