"""AI feedback: the order-averaged label by its algebra, and that every label links to its principle."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plumbline.core.errors import UserError
from plumbline.core.nouns import Ask, Prompt, Reply, plain
from plumbline.core.protocols import Rules
from plumbline.models.scripted import ScriptedModel
from plumbline.pipelines.cai import comparisons_of
from plumbline.pipelines.play import play_all
from plumbline.protocols.ai_feedback import ai_feedback, averaged, compared
from plumbline.protocols.constitution import Constitution, Principle, open_constitution

PROBABILITY = st.floats(0, 1)
MADE = Constitution(tuple(Principle(name, compare=f"Which is more {name}?") for name in ("kind", "true", "short")))
WORTH = {"bad": 0.0, "fair": 1.0, "good": 3.0}


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@settings(deadline=None)  # a loaded machine is no failure
@given(PROBABILITY, PROBABILITY)
def test_swapping_the_replies_turns_the_label_around(a, b):
    assert averaged(a, b) + averaged(b, a) == pytest.approx(1, abs=1e-12)
    assert 0 <= averaged(a, b) <= 1


@settings(deadline=None)  # a loaded machine is no failure
@given(PROBABILITY, st.floats(-1, 1))
def test_a_position_bias_that_adds_to_the_probability_cancels(q, bias):
    assert averaged(q + bias, 1 - q + bias) == pytest.approx(q, abs=1e-12)


@settings(deadline=None)  # a loaded machine is no failure
@given(st.floats(-6, 6).filter(lambda z: abs(z) > 1e-6), st.floats(-6, 6))
def test_a_position_bias_that_adds_to_the_log_odds_keeps_the_side_and_only_weakens(z, bias):
    label = averaged(sigmoid(z + bias), sigmoid(-z + bias))
    assert (label - 0.5) * z >= 0
    assert abs(label - 0.5) <= abs(sigmoid(z) - 0.5) + 1e-12


def test_by_hand():
    assert averaged(0.9, 0.3) == pytest.approx(0.8)  # (.9 + 1 − .3)/2; the mean of both "A" is .6: a bias of .1
    assert averaged(sigmoid(1 + 2), sigmoid(-1 + 2)) == pytest.approx((0.952574 + 1 - 0.731059) / 2, abs=1e-6)  # .611, not σ(1) = .731


def judge(bias: float = 0.0, sure: float = 1.0) -> ScriptedModel:
    """Reads the two replies out of what it is asked; a log-odds bias for what stands first."""

    def script(ask: Ask) -> Reply:
        a, b = (WORTH[x] for x in re.findall(r"^\((?:A|B)\) (\w+)$", plain(ask.context), re.M))
        p = sigmoid(sure * (a - b) + bias)
        return Reply("A" if p > 0.5 else "B", finish="choice", choice_probs=(p, 1 - p))

    return ScriptedModel(script)


def label(pair: tuple[str, str], bias: float, draw: int = 0, id: str = "p"):
    def one(prompt, *, draw=draw):
        return (yield from compared(prompt, pair, MADE, draw=draw))

    model = judge(bias)
    [row] = play_all(Rules(one, Prompt, "", ("feedback",)), [Prompt("who?", id=id)], {"feedback": model})
    return row["outcome"], model.asked


@pytest.mark.parametrize("bias", [0.0, 1.5, -4.0])
def test_a_whole_game_is_antisymmetric_and_fair_between_equals(bias):
    one, asked = label(("good", "bad"), bias)
    two, _ = label(("bad", "good"), bias)
    same, _ = label(("fair", "fair"), bias)
    assert one["label"] + two["label"] == pytest.approx(1, abs=2e-6)  # labels are kept to six digits
    assert one["label"] > 0.5
    assert same["label"] == 0.5
    assert one["first"] == pytest.approx((sigmoid(3 + bias) + sigmoid(-3 + bias)) / 2, abs=1e-6)
    assert len(asked) == 2
    assert asked[0].choices == ("A", "B")
    assert MADE[one["principle"]].compare in plain(asked[0].context)
    assert MADE[one["principle"]].compare in plain(asked[1].context)  # both orders by one principle


def test_every_label_links_to_a_principle_and_to_its_game():
    prompts = [Prompt("who?", id=str(i)) for i in range(60)]
    said = iter(["good", "bad", "bad", "fair", "fair", "fair"] * 20)
    rows = play_all(ai_feedback(principles=MADE), prompts, {"model": ScriptedModel(lambda _: next(said)), "feedback": judge()})
    found = comparisons_of(prompts, rows)
    assert len(found) == 40  # every third pair is of equal replies
    by_game = {row["game"]: row for row in rows}
    for item in found:
        row = by_game[item.meta["game"]]
        assert item.meta["principle"] == row["outcome"]["principle"]
        asked = [turn["context"] for turn in row["turns"] if turn["speaker"] == "feedback"]
        assert len(asked) == 2
        assert all(MADE[item.meta["principle"]].compare in context[0]["content"] for context in asked)
        assert item.preference >= 0.5
        assert WORTH[item.completions[0]] > WORTH[item.completions[1]]
    assert {item.meta["principle"] for item in found} == {"kind", "true", "short"}


def test_a_feedback_model_without_probabilities_is_recorded_as_an_error():
    models = {"model": ScriptedModel(lambda _: "x"), "feedback": ScriptedModel(lambda _: Reply("A"))}
    rows = play_all(ai_feedback(), [Prompt("who?")], models)
    assert rows[0]["error"] == "the feedback model gave no probabilities for two answers (it said 'A')"
    assert comparisons_of([Prompt("who?")], rows) == []


def test_a_constitution_that_compares_nothing_is_refused_before_anybody_is_asked():
    with pytest.raises(UserError, match="no principle that compares"):
        ai_feedback(principles=Constitution((Principle("a", "x", "y"),))).check(Prompt("who?"))
    ai_feedback(principles=open_constitution("town")).check(Prompt("who?"))
