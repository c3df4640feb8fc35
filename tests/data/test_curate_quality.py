"""Signals: each falls for what it is there for, alone, and by as much as is said."""

from __future__ import annotations

import math

import pytest

from plumbline.core.nouns import Comparison, Demo, Message
from plumbline.data.quality import SIGNALS, against, signals

ASKED = (Message("user", "Describe the harbour of the town in spring."),)
GOOD = (
    "In spring the harbour wakes early. Fishing boats leave at dawn, gulls follow them across the bay, and by noon the stalls along "
    "the quay sell fresh mackerel, bread and coffee to everyone who has come to watch the painters renew the hulls."
)


def of(text: str, **more) -> dict[str, float]:
    return signals([Demo(ASKED, text, **more)])


def test_nothing_is_held_against_a_good_answer():
    assert set(of(GOOD).values()) == {1.0}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ending", GOOD.removesuffix(".")),
        ("ending", GOOD + " And then,"),
        ("ending", GOOD + "\n```python\nprint(1)"),
        ("refusal", "I'm sorry, but I have to say this. " + GOOD),
        ("refusal", "As an AI language model, I like this. " + GOOD),
        ("boilerplate", GOOD + " Click here for more."),
        ("boilerplate", "Dear [insert name], " + GOOD),
        ("garbage", GOOD.replace("the", "th\ufffd\ufffd")),
        ("garbage", GOOD.replace(" ", "&nbsp;")),
        ("garbage", GOOD.replace("s", "\u00e2\u20ac\u2122")),
        ("repetition", GOOD + " so it goes on" * 30 + "."),
        ("off_topic", "Melt forty grams of butter slowly, whisk three eggs with sugar, fold flour under, bake half an hour, "
                      "cool on racks, dust generously, slice thinly, serve warm, enjoy together with friends over strong black tea."),
    ],
)  # fmt: skip
def test_each_signal_falls_alone_for_what_it_is_there_for(name, text):
    found = of(text)
    assert {n for n, mark in found.items() if mark < 0.95} == {name}
    assert against(found)[0].startswith(SIGNALS[name][1])


def test_short_answers_are_marked_by_the_logarithm_of_their_length():
    assert of("A grey harbour.")["length"] == pytest.approx(0.6 + 0.4 * math.log(4) / math.log(33))
    assert of("Grey.")["length"] == pytest.approx(0.6 + 0.4 * math.log(2) / math.log(33))
    assert of(" ".join(f"w{i}" for i in range(32)))["length"] == 1.0


@pytest.mark.parametrize("text", ["N/A", "none.", "<noinput>", "...", "?!", "  - "])
def test_a_placeholder_is_worth_nothing(text):
    assert of(text)["empty"] == 0.0


@pytest.mark.parametrize("text", ["Paris", "42", "- boats\n- gulls\n- nets", "```\nx = 1\n```", "Is it so? Yes!", "He said “no.”"])
def test_values_lists_code_and_quotes_end_as_they_may(text):
    assert of(text)["ending"] == 1.0


def test_a_cut_text_does_not_end_whatever_its_last_sign():
    assert of(GOOD, complete=False)["ending"] == 0.5


def test_copying_counts_runs_of_three_words():
    """Ten words, eight runs, all in the question: 1 − .7 · (1 − .5)/.5 = .3; half of them: 1."""
    asked = "one two three four five six seven eight nine ten"
    assert signals([Demo(asked, asked)])["copying"] == pytest.approx(0.3)
    half = "one two three four five six a b c d"  # four of its eight runs stand in the question
    assert signals([Demo(asked, half)])["copying"] == 1.0
    six = "one two three four five six seven eight x y"  # six of eight: 1 − .7 · (.75 − .5)/.5 = .65
    assert signals([Demo(asked, six)])["copying"] == pytest.approx(0.65)


def test_repetition_by_hand():
    """Nine words, seven runs, three different: .5714 stand again, .3714 above a fifth, and 1 − .3714/.8 = .5357."""
    assert signals([Demo("", "a b c a b c a b c")])["repetition"] == pytest.approx(1 - (4 / 7 - 0.2) / 0.8)


def test_of_a_comparison_the_better_answer_is_judged():
    assert signals([Comparison(ASKED, (GOOD, "N/A"))]) == of(GOOD)
    assert signals([Comparison(ASKED, ("N/A", GOOD), preference=0.2)]) == of(GOOD)


def test_of_several_answers_the_mean_is_taken_and_ignored_signals_are_left_out():
    two = [Demo(ASKED, GOOD), Demo(ASKED, "N/A")]
    assert signals(two)["empty"] == 0.5
    assert set(signals(two, ["length", "ending"])) == set(SIGNALS) - {"length", "ending"}
