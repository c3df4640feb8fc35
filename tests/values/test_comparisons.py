"""Which comparisons pin a linear reward: against brute force over subsets and over rewards, and rates by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import nnls

from plumbline.values import comparisons


def pool(seed: int, rows: int = 40, features: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Values, and gaps that they like."""
    draw = np.random.default_rng(seed)
    weights_K, gaps_NK = draw.normal(size=features), draw.normal(size=(rows, features))
    return weights_K, gaps_NK * np.sign(gaps_NK @ weights_K)[:, None]


def test_pinning_by_hand():
    # in the plane, from the values (1, 1): the outermost two directions pin all others; the double of a row adds nothing
    gaps_NK = np.array([[1.0, 0.0], [1.0, 1.0], [-0.5, 1.0], [0.2, 1.0], [2.0, 0.0]])
    assert comparisons.pinning(gaps_NK).tolist() in ([0, 2], [2, 4])


@pytest.mark.parametrize("seed", range(5))
def test_pinning_rows_imply_the_others_and_none_of_each_other(seed: int):
    _, gaps_NK = pool(seed)
    rows = comparisons.pinning(gaps_NK)
    assert len(rows) < len(gaps_NK)
    for i in range(len(gaps_NK)):
        others = [row for row in rows if row != i]  # a row is implied if it is a sum of the others, times numbers ≥ 0 (Farkas)
        _, residual = nnls(gaps_NK[others].T, gaps_NK[i])
        assert (residual < 1e-8) == (i not in rows)


@pytest.mark.parametrize("seed", range(5))
def test_right_on_the_pinning_rows_is_right_on_all(seed: int):
    weights_K, gaps_NK = pool(seed)
    right_HN = comparisons.right(comparisons.nearby(weights_K, gaps_NK, 500, seed=seed), gaps_NK)
    found = comparisons.rates(right_HN, comparisons.pinning(gaps_NK))
    assert (found.falsely_passed, found.falsely_failed) == (0.0, 0.0)
    assert min(found.agree, found.differ) > 25


def test_independent_rows_all_count():
    _, gaps_NK = pool(0, rows=6, features=10)
    assert comparisons.pinning(gaps_NK).tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("seed", range(4))
def test_covered_rows_are_those_that_the_asked_ones_imply(seed: int):
    weights_K, gaps_NK = pool(seed)
    asked = comparisons.pinning(gaps_NK)[1:]
    settled = comparisons.covered(gaps_NK, asked)
    implied = [nnls(gaps_NK[asked].T, gap_K)[1] < 1e-8 for gap_K in gaps_NK]
    assert settled.tolist() == implied
    assert len(asked) < settled.sum() < len(gaps_NK)
    right_HN = comparisons.right(comparisons.nearby(weights_K, gaps_NK, 500, seed=seed), gaps_NK)
    assert right_HN[right_HN[:, asked].all(1)][:, settled].all()


def test_covered_by_hand():
    gaps_NK = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [-1.0, 2.0]])
    assert comparisons.covered(gaps_NK, np.array([0, 1])).tolist() == [True, True, True, False]


def test_the_greedy_cover_takes_what_catches_most_and_then_begins_again():
    right_HN = np.array([[1, 0, 0, 1], [1, 0, 1, 1], [1, 0, 1, 1], [0, 1, 1, 1], [1, 1, 1, 1]], dtype=bool)
    every = np.arange(4)
    assert comparisons.picked(right_HN, every, 1).tolist() == [1]  # catches three of the four that are wrong somewhere
    assert comparisons.picked(right_HN, every, 2).tolist() == [0, 1]  # row 0 catches the fourth
    assert comparisons.picked(right_HN, every, 3).tolist() == [0, 1, 2]  # all are caught: again, row 2 catches one
    assert comparisons.picked(right_HN, np.array([2, 3]), 9).tolist() == [2, 3]  # only what is allowed, and no more


def test_rates_by_hand():
    right_HN = np.array([[1, 1, 1, 1], [1, 0, 1, 1], [1, 1, 0, 0], [0, 1, 1, 1]], dtype=bool)
    found = comparisons.rates(right_HN, np.array([0]))
    # three differ; two of them are right on row 0, wrong on 1/4 and on 2/4 of the pool
    assert (found.falsely_passed, found.wrong_if_passed, found.falsely_failed) == pytest.approx((2 / 3, 3 / 8, 0.0))
    assert (found.agree, found.differ) == (1, 3)


def test_random_rates_are_the_expectation_over_tests():
    right_HN = np.array([[1, 1, 1, 0]], dtype=bool)  # one row of four tells: a test of one row misses it with probability 3/4
    found = comparisons.random_rates(right_HN, 1, seed=0)
    assert found.falsely_passed == pytest.approx(0.75, abs=4 * 0.0433)  # √(.75 · .25 / 100)
    assert found.wrong_if_passed == 0.25


def test_ties_are_not_agreement():
    assert comparisons.right(np.array([[1.0, 0.0], [1.0, 1.0]]), np.array([[0.0, 2.0], [3.0, 1.0]])).tolist() == [
        [False, True],
        [True, True],
    ]


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_drawn_rewards_do_not_depend_on_the_units_of_a_feature(scale: float):
    weights_K, gaps_NK = pool(1)
    unit_K = np.array([scale, 1.0, 1.0])
    plain = comparisons.right(comparisons.nearby(weights_K, gaps_NK, 100, seed=0), gaps_NK)
    scaled = comparisons.right(comparisons.nearby(weights_K / unit_K, gaps_NK * unit_K, 100, seed=0), gaps_NK * unit_K)
    assert (plain == scaled).all()
