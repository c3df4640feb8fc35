"""The choice: F by hand, submodular and growing, greed within 1 − 1/e of the best, and the lazy way equal to the plain one."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plumbline.data.diverse import Cover, features, greedy, shares, value
from plumbline.data.ngrams import numbers

Problem = tuple[list[np.ndarray], list[float], float]


def ids(*buckets: int) -> np.ndarray:
    return np.array(sorted(buckets), dtype=np.int32)


@st.composite
def problems(draw: st.DrawFn, most: int = 8) -> Problem:
    rows = draw(st.lists(st.sets(st.integers(0, 9), min_size=1, max_size=5), min_size=2, max_size=most))
    quality = draw(st.lists(st.floats(0.05, 1.0), min_size=len(rows), max_size=len(rows)))
    return [ids(*row) for row in rows], quality, draw(st.sampled_from([0.0, 0.3, 0.5, 1.0]))


def test_shares_are_rarities_that_sum_to_one():
    """Three rows; bucket 0 in all, 1 in one, 2 in one: ln(1 + 3/3) = .6931, ln(1 + 3/1) = 1.3863, so row 0 is 1/3, 2/3."""
    found = shares([ids(0, 1), ids(0, 2), ids(0)])
    assert found[0].tolist() == pytest.approx([1 / 3, 2 / 3])
    assert found[2].tolist() == [1.0]


def test_value_by_hand():
    """Two rows of one and the same bucket, q = 1 and .6: √(1² + .6²) = 1.16619; half of it and half of 1.6 is 1.38310."""
    rows, quality = [ids(3), ids(3)], [1.0, 0.6]
    assert value(rows, quality, 1.0, [0]) == 1.0
    assert value(rows, quality, 1.0, [0, 1]) == pytest.approx(1.16619, abs=1e-5)
    assert value(rows, quality, 0.5, [0, 1]) == pytest.approx(1.38310, abs=1e-5)
    assert value(rows, quality, 0.0, [0, 1]) == pytest.approx(1.6)


def test_worth_is_quality_times_what_is_new():
    """After row 0 (q = 1), row 1 of the same words adds √2 − 1 = .41421 of itself, row 2 of other words all of itself."""
    cover = Cover([ids(1), ids(1), ids(2)], [1.0, 1.0, 0.5], 0.5)
    assert [cover.worth(i)[0] for i in range(3)] == [1.0, 1.0, 0.5]
    cover.take(0)
    assert cover.worth(1) == (pytest.approx(0.5 + 0.5 * 0.41421, abs=1e-5), pytest.approx(0.41421, abs=1e-5))
    assert cover.worth(2) == (0.5, 1.0)


@settings(max_examples=80, deadline=None)
@given(problems(), st.data())
def test_f_grows_and_its_gains_only_fall(problem: Problem, data: st.DataObject):
    rows, quality, diversity = problem
    order = data.draw(st.permutations(range(len(rows))))
    cut = data.draw(st.integers(0, len(rows) - 1))
    small, large, new = order[: cut // 2], order[:cut], order[cut]

    def gain(chosen: list[int]) -> float:
        return value(rows, quality, diversity, [*chosen, new]) - value(rows, quality, diversity, chosen)

    assert gain(large) >= -1e-9
    assert gain(small) >= gain(large) - 1e-9


@settings(max_examples=80, deadline=None)
@given(problems(), st.integers(1, 5))
def test_greed_reaches_its_share_of_the_best_choice(problem: Problem, k: int):
    """Against every set of k rows."""
    rows, quality, diversity = problem
    picks = [p.index for p in greedy(Cover(rows, quality, diversity), k)]
    k = min(k, len(rows))
    assert len(set(picks)) == k
    best = max(value(rows, quality, diversity, chosen) for chosen in combinations(range(len(rows)), k))
    assert value(rows, quality, diversity, picks) >= (1 - 1 / math.e) * best - 1e-9


def test_greed_is_not_always_best_so_the_bound_is_no_formality():
    """Row 0 overlaps with both others; it is the best single row, and no part of the best pair."""
    rows, quality = [ids(0, 1), ids(0), ids(1)], [1.0, 0.95, 0.95]
    picks = [p.index for p in greedy(Cover(rows, quality, 1.0), 2)]
    assert picks[0] == 0
    assert value(rows, quality, 1.0, picks) < value(rows, quality, 1.0, [1, 2])


@settings(max_examples=40, deadline=None)
@given(problems(most=12))
def test_the_lazy_way_chooses_what_the_plain_way_does(problem: Problem):
    rows, quality, diversity = problem
    quality = [round(q, 2) for q in quality]
    plain, left = Cover(rows, quality, diversity), list(range(len(rows)))
    for pick in greedy(Cover(rows, quality, diversity), len(rows)):
        worths = {i: plain.worth(i)[0] for i in left}
        assert pick.worth == pytest.approx(max(worths.values()), abs=1e-9)
        plain.take(pick.index)
        left.remove(pick.index)


def test_equal_rows_are_taken_in_their_order():
    assert [p.index for p in greedy(Cover([ids(1), ids(2), ids(3)], [0.5] * 3, 0.5), 2)] == [0, 1]


def test_features_are_words_and_pairs_each_once():
    assert len(features(numbers("a b a b"))) == 4  # a, b, a b, b a
    assert features(numbers("a b")).tolist() == sorted(features(numbers("A, b!")).tolist())
