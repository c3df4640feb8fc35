"""Verdicts by hand: every case of every test, and a control that holds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plumbline.claims import judge
from plumbline.core.claims import Bar, Control, Found, Verdict, claim, noninferior, superior, together

SAME = Control("same", "nothing is changed", lambda lab: lab)


@pytest.mark.parametrize(
    ("bar", "lo", "hi", "verdict"),
    [
        (superior(0.1), 0.11, 0.2, "holds"),
        (superior(0.1), 0.1, 0.2, "inconclusive"),  # "more than" is strict
        (superior(0.1), 0.02, 0.09, "refuted"),  # better, but surely not by the margin
        (superior(0.1), -0.3, -0.2, "refuted"),
        (superior(0.1), -0.3, 0.3, "inconclusive"),
        (noninferior(0.1), -0.09, 0.3, "holds"),
        (noninferior(0.1), -0.1, 0.3, "inconclusive"),
        (noninferior(0.1), -0.3, -0.11, "refuted"),
        (noninferior(0.1), 0.5, 0.6, "holds"),
    ],
)
def test_an_interval_against_a_bar(bar: Bar, lo: float, hi: float, verdict: Verdict):
    assert bar.verdict(lo, hi) == verdict


@given(st.floats(-2, 2), st.floats(0, 2), st.floats(0, 1))
def test_what_is_superior_is_noninferior_and_a_refuted_noninferiority_refutes_superiority(lo: float, width: float, margin: float):
    better, no_worse = superior(margin).verdict(lo, lo + width), noninferior(margin).verdict(lo, lo + width)
    assert better != "holds" or no_worse == "holds"
    assert no_worse != "refuted" or better == "refuted"


def test_several_tests_hold_together_or_not():
    assert together(["holds", "holds"]) == "holds"
    assert together(["holds", "inconclusive"]) == "inconclusive"
    assert together(["inconclusive", "holds", "refuted"]) == "refuted"
    assert judge.whole("refuted", "refuted") == judge.whole("refuted", "inconclusive") == "refuted"
    assert judge.whole("holds", "holds") == judge.whole("refuted", "holds") == "broken"


def row(after: list[list[float]], before: list[list[float]], control: list[list[float]]) -> dict:
    """A row whose seeds found these arms, with bar superior(.1), and whose control found `control` against the same second arm."""
    made = claim("toy", says="a beats b", source="none", test=superior(0.1), seeds=2, control=SAME)(lambda lab: Found({}))
    founds = [Found({"difference": pair}, {"size": [float(i)]}) for i, pair in enumerate(zip(after, before, strict=True))]
    return judge.row(made, founds, [Found({"difference": pair}) for pair in zip(control, before, strict=True)])


ZERO = [[0.0, 1.0, 2.0, 3.0]] * 2


def plus(x: float) -> list[list[float]]:
    """Both seeds of ZERO with every prompt `x` higher: the difference has no spread, so its interval is the point x."""
    return [[y + x for y in seed] for seed in ZERO]


def test_a_constant_gain_is_its_own_interval():
    found = row(plus(0.25), ZERO, ZERO)
    assert found["figures"]["difference"] == {"mean": 0.25, "lo": 0.25, "hi": 0.25, "n": 8}
    assert found["figures"]["size"]["mean"] == 0.5  # of seeds 0 and 1
    assert found["tests"] == {"difference": {"test": "superior(0.1)", "verdict": "holds"}}
    assert (found["verdict"], found["control"]["verdict"], found["control"]["seeds"]) == ("holds", "refuted", 2)


def test_less_than_the_margin_is_refuted_and_a_spread_over_it_settles_nothing():
    assert row(plus(0.05), ZERO, ZERO)["verdict"] == "refuted"
    assert row([[0.4, 1.0, 2.0, 3.0]] * 2, ZERO, ZERO)["verdict"] == "inconclusive"  # gains .4 0 0 0: mean .1, at the bar


def test_seeds_that_disagree_settle_nothing():
    assert row([plus(0.5)[0], plus(-0.2)[1]], ZERO, ZERO)["verdict"] == "inconclusive"  # mean .15, but one seed says −.2


@pytest.mark.parametrize("gain", [0.25, 0.05])
def test_a_control_that_holds_breaks_the_row_whatever_it_said(gain: float):
    assert row(plus(gain), ZERO, plus(0.3))["verdict"] == "broken"


def test_arms_that_are_not_as_declared_are_refused():
    made = claim("toy", says="", source="", test={"a": superior()}, seeds=1, control=SAME)(lambda lab: Found({}))
    with pytest.raises(ValueError, match="'b' is declared as a test or found as a pair"):
        judge.judged(made.tests, [Found({"a": ([1.0], [0.0]), "b": ([1.0], [0.0])})])
    with pytest.raises(ValueError, match="not equally many"):
        judge.judged(made.tests, [Found({"a": ([1.0], [0.0])}), Found({"a": ([1.0, 2.0], [0.0, 0.0])})])


def test_a_claim_is_declared_whole():
    with pytest.raises(ValueError, match="3 seeds of the control"):
        claim("toy", says="", source="", test=superior(), seeds=2, control=SAME, control_seeds=3)
    with pytest.raises(ValueError, match="at least 0"):
        superior(-0.1)


def test_what_a_seed_found_comes_back_from_json():
    found = Found({"a": ((1.0, 2.0), (0.5, 0.0))}, {"kl": (3.0,)}, {"bon": {"kl": [[1.0]]}})
    again = Found.read(found.json())
    assert again == Found({"a": ([1.0, 2.0], [0.5, 0.0])}, {"kl": [3.0]}, {"bon": {"kl": [[1.0]]}})


def test_a_figure_of_unequally_many_numbers_is_the_mean_of_the_seeds_means():
    """Seeds whose labels are 2 and 4: ½ (mean of 1, 0) and 1 → ¾, each seed with the same weight; a test's arms stay refused."""
    toy = claim("toy", says="", source="", test=superior(), seeds=2, control=SAME)(lambda lab: Found({}))
    founds = [Found({"difference": ([1.0], [0.0])}, {"right": x}) for x in ([1.0, 0.0], [1.0, 1.0, 1.0, 1.0])]
    assert judge.figures(toy, founds)["right"].mean == pytest.approx(0.75)
