"""Of n speeches the one that the judge likes best is given; asks that are no speeches pass through."""

from __future__ import annotations

import itertools

import pytest
from scripts import QUESTIONS, chosen, counts_verified, table

from plumbline.core.errors import UserError
from plumbline.core.nouns import Ask, Reply, plain
from plumbline.core.play import play
from plumbline.core.protocols import load_protocol
from plumbline.models.scripted import ScriptedModel
from plumbline.protocols.best_of import BestOf, persuades
from plumbline.protocols.transcript import Speech


def in_turn(*said: str) -> ScriptedModel:
    """Says these in turn, again and again."""
    speeches = itertools.cycle(said)
    return ScriptedModel(lambda ask: next(speeches), name="debater")


def likes_keys(ask: Ask) -> Reply:
    """As sure of the first side as the transcript says "key" often, in tenths from .5."""
    return chosen(ask, 0, 0.5 + 0.1 * plain(ask.context).count("key"))


def test_each_side_gets_the_speech_that_raises_its_own_probability():
    # the judge leans to A by every "key": A's best of (no key, two keys, one key) is the one with two, B's the one with none
    model = in_turn("nothing", "key key", "key")
    judge = ScriptedModel(likes_keys)
    (game,) = play(
        load_protocol("debate")(rounds=1),
        QUESTIONS[:1],
        {"debater": BestOf(model, 3, persuades(judge)), "judge": ScriptedModel(likes_keys)},
    )
    assert [t.reply.text for t in game.turns[:2]] == ["key key", "nothing"]
    assert len(model.asked) == 6
    assert len(judge.asked) == 6
    assert all(a.choices == ("A", "B") for a in judge.asked)


def test_a_verified_quotation_beats_a_made_up_one_before_a_judge_that_heeds_the_marks():
    model = in_turn("<quote>Ada had no key</quote>", "<quote>Nobody but Ada had the key.</quote>")
    (game,) = play(
        load_protocol("consultancy")(rounds=1, argues=1),
        QUESTIONS[:1],
        {"advisor": BestOf(model, 2, persuades(ScriptedModel(counts_verified))), "judge": ScriptedModel(counts_verified)},
    )
    assert game.turns[0].reply.text == "<quote>Nobody but Ada had the key.</quote>"
    assert (game.outcome.chosen, game.outcome.verified) == ("Bob", 1)


@pytest.mark.parametrize(("said", "kept"), [(("one", "two"), "one"), (("", "two"), "two"), ((" ", ""), " ")])
def test_of_equal_speeches_the_first_is_kept_and_an_empty_one_only_if_there_is_no_other(said, kept):
    best = BestOf(in_turn(*said), 2, lambda speeches: [0.0] * len(speeches))
    (reply,) = best.answer([Speech("debater", "speak", ballot=lambda text: Ask("judge", text))])
    assert reply.text == kept


def test_what_is_no_speech_is_asked_once_and_nobody_scores_it():
    def nobody(said):
        raise AssertionError(said)

    model = in_turn("one", "two")
    assert [r.text for r in BestOf(model, 5, nobody).answer([Ask("debater", "x"), Ask("debater", "y")])] == ["one", "two"]


def test_the_best_of_one_asks_no_judge():
    debate = load_protocol("debate")(rounds=1)
    models = table(debate)
    judge = ScriptedModel(counts_verified)
    play(debate, QUESTIONS[:1], {**models, "debater": BestOf(models["debater"], 1, persuades(judge))})
    assert judge.asked == []


def test_the_best_of_none_is_refused():
    with pytest.raises(UserError, match="the best of 0 speeches"):
        BestOf(in_turn("x"), 0, lambda said: [])
