"""What the control of the weak-to-strong row does to the labels, and how the row sums up."""

from __future__ import annotations

from random import Random

import pytest

from plumbline.claims.w2s import gaps, mixed, put_right
from plumbline.core.claims import Found


def test_mixed_labels_say_nothing_of_the_side_on_which_the_truth_stands():
    said = {row: 0.9 for row in range(1, 1001)}  # a supervisor that is right, of rows with the true reply first
    found = mixed(said, Random(0))
    assert list(found) == list(said)
    assert {round(p, 6) for p in found.values()} == {0.1, 0.9}
    assert sum(found.values()) / 1000 == pytest.approx(0.5, abs=0.05)  # 4 standard deviations of .4/√1000


def test_errors_put_right_are_counted_among_the_supervisor_s_errors():
    assert put_right([1, 0, 0, 0.0], [0, 1, 0, 1.0]) == pytest.approx(2 / 3)
    assert put_right([1, 1], [0, 1]) == 0.0


def test_a_gap_that_is_none_gives_no_figure():
    def found(ceiling: list[float]) -> Found:
        arms = {"weak": [0, 0, 1, 0.0] * 50, "naive": [0, 1, 1, 0.0] * 50, "confident": [0, 1, 1, 0.0] * 50, "ceiling": ceiling}
        arms["bootstrapped"] = arms["weak"]
        return Found(pairs={}, figures={f"gold accuracy, {name}": x for name, x in arms.items()})

    shares = gaps([found([0, 1, 1, 1.0] * 50)] * 2)
    assert {name: round(figure.mean, 6) for name, figure in shares.items()} == {
        "performance gap recovered, naive": 0.5,
        "performance gap recovered, confident": 0.5,
        "performance gap recovered, bootstrapped": 0.0,
    }
    assert gaps([found([0, 0, 1, 0.0] * 50)]) == {}
