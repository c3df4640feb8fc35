"""A reward on thumbs, against counting by hand."""

from __future__ import annotations

import numpy as np
import pytest

from plumbline.core.errors import UserError
from plumbline.core.nouns import Label, Scores
from plumbline.evals.labels import of_labels, order


def number(games):
    return Scores({"x": [float(g.turns[-1].reply.text) for g in games]})


def rows(up: list[float], down: list[float]) -> list[Label]:
    return [Label("", str(x), good) for good, xs in ((True, up), (False, down)) for x in xs]


def test_order_and_accuracy_by_hand():
    # 3 > 1, 3 > 2, 2 > 1, 2 = 2: (1 + 1 + 1 + ½)/4.   Above 2.5 is 3 alone: 3, 1 and 2 are said right, the 2 of the good is not.
    found = of_labels(number, rows([3, 2], [1, 2]), cut=2.5)
    assert found["order"].mean == pytest.approx(3.5 / 4)
    assert found["accuracy"].mean == pytest.approx(3 / 4)
    assert found["commonest"].mean == pytest.approx(1 / 2)
    assert set(of_labels(number, rows([3], [1]))) == {"order"}


def test_commonest_is_the_larger_side_whichever_it_is():
    assert of_labels(number, rows([1], [1, 1, 1]), cut=0)["commonest"].mean == pytest.approx(3 / 4)


def test_order_of_noise_is_a_half_inside_its_interval():
    x = np.random.default_rng(0).normal(size=400)
    found = order(x[:150], x[150:])
    assert found.lo < 0.5 < found.hi
    assert found.hi - found.lo == pytest.approx(4 * np.sqrt(401 / (12 * 150 * 250)), rel=0.15)  # Mann-Whitney's standard error


def test_labels_that_are_all_alike_say_nothing():
    with pytest.raises(UserError, match="all held-out labels are the same"):
        of_labels(number, rows([1, 2], []))
