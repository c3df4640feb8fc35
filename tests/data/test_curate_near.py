"""Near-duplicates: the estimate of Jaccard similarity errs as a binomial share does, and bands propose pairs as the S-curve says."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from plumbline.data.near import SIZE, MinHash, band_keys, banding, duplicates, estimate, jaccard, recall
from plumbline.data.ngrams import numbers, shingles, words


def pair(shared: int, own: int, chance: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Two sets of random numbers with J = shared / (shared + 2 own)."""
    drawn = chance.integers(0, 1 << 64, size=shared + 2 * own, dtype=np.uint64)
    assert len(np.unique(drawn)) == len(drawn)
    return np.sort(drawn[: shared + own]), np.sort(np.concatenate([drawn[:shared], drawn[shared + own :]]))


@pytest.mark.parametrize(("shared", "own"), [(0, 20), (20, 40), (60, 30), (80, 10), (2, 1), (40, 0)])
def test_the_estimate_errs_as_a_share_of_so_many_coins_does(shared, own):
    """(Ĵ − J) / √(J(1−J)/P) has mean 0 and variance 1 over pairs: checked at four standard errors of both."""
    chance, j, pairs = np.random.default_rng(shared), shared / (shared + 2 * own), 200
    orders = MinHash()
    errors = []
    for _ in range(pairs):
        one, other = pair(shared, own, chance)
        assert jaccard(one, other) == pytest.approx(j)
        errors.append(estimate(orders.signature(one), orders.signature(other)) - j)
    if j in (0.0, 1.0):
        assert errors == [0.0] * pairs
        return
    z = np.array(errors) / np.sqrt(j * (1 - j) / SIZE)
    assert abs(z.mean()) < 4 / np.sqrt(pairs)
    assert abs(z.var() - 1) < 4 * np.sqrt(2 / pairs)
    assert np.abs(z).max() < 4.5


@pytest.mark.parametrize(("shared", "own"), [(50, 25), (60, 20), (68, 16), (80, 10)])  # J = .5, .6, .68, .8
def test_bands_propose_as_the_s_curve_says(shared, own):
    """The share of 250 pairs with an equal band of 8 minima out of 16 bands is 1 − (1 − J⁸)¹⁶, within four standard errors."""
    chance, j, pairs, rows, bands = np.random.default_rng(own), shared / (shared + 2 * own), 250, 8, 16
    orders, proposed = MinHash(seed=1), 0
    for _ in range(pairs):
        keys = [set(band_keys(orders.signature(x), rows, bands)) for x in pair(shared, own, chance)]
        proposed += bool(keys[0] & keys[1])
    curve = 1 - (1 - j**8) ** 16
    assert recall(j, 8, 16) == curve
    assert abs(proposed / pairs - curve) < 4 * np.sqrt(curve * (1 - curve) / pairs)


def test_a_band_is_equal_only_in_its_own_place():
    same = np.zeros(SIZE, dtype=np.uint64)
    assert len(set(band_keys(same, 8, 16))) == 16


def test_the_banding_is_the_steepest_that_misses_one_in_a_hundred():
    rows, bands = banding(0.8)
    # .8⁶ = .262144 and 1 − (1 − .262144)²¹ = .9983; .8⁷ = .209715 and 1 − (1 − .209715)¹⁸ = .9855, below .99
    assert (rows, bands) == (6, 21)
    assert recall(0.8, 7, 18) < 0.99 <= recall(0.8, 6, 21)
    assert banding(1.0) == (128, 1)


def test_what_is_found_is_what_comparing_every_pair_finds():
    """150 sets, a third of them made from earlier ones: against all pairs, exactly, with the same rule."""
    chance = np.random.default_rng(7)
    sets: list[np.ndarray] = []
    for i in range(150):
        fresh = chance.integers(0, 1 << 64, size=60, dtype=np.uint64)
        if i % 3 == 2:
            old = sets[int(chance.integers(len(sets)))]
            lost = int(chance.integers(0, 20))
            fresh = np.concatenate([chance.permutation(old)[lost:], fresh[:lost]])
        sets.append(np.unique(fresh))
    staying: list[int] = []
    expected = {}
    for i, mine in enumerate(sets):
        near = max(((jaccard(mine, sets[j]), -j) for j in staying), default=(0.0, 0))
        if near[0] >= 0.7:
            expected[i] = (-near[1], near[0])
        else:
            staying.append(i)
    assert len(expected) > 15
    assert duplicates(sets, range(150), 0.7) == expected


def test_nothing_is_dropped_for_resembling_what_was_dropped():
    """a–b and b–c are near, a–c is not: b goes, for a; c stays."""
    a, b, c = (np.arange(k, k + 10, dtype=np.uint64) for k in (0, 2, 4))
    assert jaccard(a, b) == jaccard(b, c) == 8 / 12
    assert jaccard(a, c) == 6 / 14
    assert duplicates([a, b, c], [0, 1, 2], 0.6) == {1: (0, 8 / 12)}
    assert duplicates([a, b, c], [1, 0, 2], 0.6) == {0: (1, 8 / 12), 2: (1, 8 / 12)}


def test_runs_of_words_are_told_apart_by_word_and_order_and_nothing_else():
    def of(text: str, n: int = 3) -> set[int]:
        return set(shingles(numbers(text), n).tolist())

    assert of("The cat, sat ON the mat!") == of("the cat sat on the mat")
    assert len(of("the cat sat on the mat")) == 4
    assert of("the cat sat on") & of("on sat cat the") == set()
    assert len(of("one two three one two three one two three")) == 3
    assert of("yes") == of("Yes.") != of("no")
    assert of("?!") != of("!!")
    assert len(of("?!")) == 1
    assert len(of("", 3)) == 1


def test_words_of_scripts_without_spaces_are_their_letters():
    assert words("Größe: 3 m² — 東京 is big") == ["größe", "3", "m²", "東", "京", "is", "big"]


def test_hashes_are_the_same_in_every_process():
    assert numbers("plumbline").tolist() == [int.from_bytes(hashlib.blake2b(b"plumbline", digest_size=8).digest(), "little")]
    assert MinHash(4, seed=3).signature(numbers("a b c")).tolist() == MinHash(4, seed=3).signature(numbers("c b a")).tolist()
