"""A judge's accuracy by hand: sides swapped and averaged, ties halved, failed groups dropped and counted."""

from __future__ import annotations

import pytest

from plumbline.evals.debate import judged, paired


def game(group, p_first, *, swapped=False, argues=None, right="x", error="", quotes=0, verified=0):
    sides = ["y", "x"] if swapped else ["x", "y"]
    outcome = {"sides": sides, "probabilities": [p_first, 1 - p_first], "right": right, "quotes": quotes, "verified": verified}
    settings = {} if argues is None else {"argues": argues}
    return {"group": group, "settings": settings, "outcome": None if error else outcome, "error": error}


def test_both_orders_are_averaged_before_the_judge_is_right_or_wrong():
    # q1: P(x) is .9 and, swapped, 1 − .6 = .4; mean .65: right.   q2: .6 and 1 − .9 = .1; mean .35: wrong, though right in one order.
    found = judged([game("q1", 0.9), game("q1", 0.6, swapped=True), game("q2", 0.6), game("q2", 0.9, swapped=True)])
    assert found.right == {"q1": 1.0, "q2": 0.0}
    assert found.sure == pytest.approx({"q1": 0.65, "q2": 0.35})
    # what stands first gets .9, .6, .6, .9: .25 more than half
    assert found.figures()["first"]["mean"] == pytest.approx(0.25)
    assert found.figures()["accuracy"]["mean"] == 0.5


def test_a_judge_that_knows_only_places_is_right_in_half():
    found = judged([game(q, 0.8, swapped=s) for q in "ab" for s in (False, True)])
    assert set(found.right.values()) == {0.5}
    assert set(found.sure.values()) == {0.5}


def test_of_an_advisor_each_side_counts_half():
    # x argued (it stands first, then second): P(x) .9 and .8.   y argued: P(x) .3 and .4, so the wrong advisor convinces.   Mean ½.
    rows = [
        game("q", 0.9, argues=0), game("q", 0.2, argues=1, swapped=True),
        game("q", 0.3, argues=1), game("q", 0.6, argues=0, swapped=True),
    ]  # fmt: skip
    found = judged(rows)
    assert found.right == {"q": 0.5}
    assert found.sure == pytest.approx({"q": (0.85 + 0.35) / 2})


def test_a_question_with_a_failed_game_is_dropped_and_counted():
    rows = [game("q1", 0.9), game("q1", 0.5, swapped=True, error="nothing was said"), game("q2", 0.9), game("q2", 0.2, swapped=True)]
    found = judged(rows)
    assert found.right == {"q2": 1.0}
    assert (found.dropped, found.errors, found.games) == (("q1",), {"nothing was said": 1}, 2)


def test_without_a_known_answer_there_is_no_accuracy():
    figures = judged([game("q", 0.9, right=""), game("q", 0.4, swapped=True, right="")]).figures()
    assert "accuracy" not in figures
    assert (figures["unknown"], figures["questions"]) == (1, 1)
    assert figures["first"]["mean"] == pytest.approx(0.15)


def test_nothing_but_failures_gives_counts_and_no_figures():
    figures = judged([game("q", 0.5, error="no"), game("q", 0.5, swapped=True, error="no")]).figures()
    assert (figures["questions"], figures["errors"], figures["dropped"]) == (0, {"no": 2}, ["q"])
    assert "accuracy" not in figures


def test_two_protocols_are_compared_on_the_questions_that_both_have():
    one = judged([game(q, p) for q, p in (("a", 0.9), ("b", 0.9), ("c", 0.9))])
    two = judged([game("a", 0.9), game("b", 0.1), game("c", 0.1, error="no")])
    assert paired(one, two).mean == 0.5  # a: 1 − 1, b: 1 − 0
    assert paired(one, two).n == 2
