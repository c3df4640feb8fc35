"""A scripted model says what it is told to, in order, and refuses what its script does not hold."""

from __future__ import annotations

import pytest

from plumbline.core.errors import UserError
from plumbline.core.interfaces import Model
from plumbline.core.nouns import Ask, Reply
from plumbline.core.play import play
from plumbline.models.scripted import ScriptedModel


def test_a_function_answers_and_a_list_answers_in_order() -> None:
    echo = ScriptedModel(lambda ask: str(ask.context).upper())
    assert isinstance(echo, Model)
    assert [r.text for r in echo.answer([Ask("x", "a"), Ask("x", "b")])] == ["A", "B"]
    assert [a.context for a in echo.asked] == ["a", "b"]
    listed = ScriptedModel(["one", Reply("two", finish="length"), "three"])
    assert [[r.text for r in row] for row in listed.sample(["p"], 2)] == [["one", "two"]]
    assert [r.text for r in listed.answer([Ask("x", "p")])] == ["three"]
    with pytest.raises(UserError, match="has 3 replies"):
        listed.answer([Ask("x", "p")])


def test_choices_are_kept_to() -> None:
    judge = ScriptedModel(["B", "C"], name="judge")
    reply = judge.answer([Ask("judge", "which?", choices=("A", "B"))])[0]
    assert (reply.text, reply.finish, reply.choice_probs) == ("B", "choice", (0.0, 1.0))
    with pytest.raises(UserError, match="answered 'C'"):
        judge.answer([Ask("judge", "which?", choices=("A", "B"))])


def test_two_scripts_play_a_game() -> None:
    def game(item: str):
        said = yield Ask("speaker", item)
        verdict = yield Ask("judge", said.text, choices=("good", "bad"))
        return verdict.text

    judge = ScriptedModel(lambda ask: "good" if ask.context == "HI" else "bad")
    games = play(game, ["hi", "no"], {"speaker": ScriptedModel(lambda ask: str(ask.context).upper()), "judge": judge})
    assert [g.outcome for g in games] == ["good", "bad"]
    assert [[t.reply.text for t in g.turns] for g in games] == [["HI", "good"], ["NO", "bad"]]
