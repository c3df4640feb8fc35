"""Many games at once: who is asked what and when, what is recorded, and which errors stop what."""

from __future__ import annotations

import pytest

from plumbline.core.errors import ProtocolError, UserError
from plumbline.core.nouns import Ask, Reply
from plumbline.core.play import play


class Echo:
    """Answers with what it was asked, and remembers each call."""

    def __init__(self, name: str = "echo") -> None:
        self.name, self.calls = name, []

    def answer(self, asks):
        self.calls.append([a.context for a in asks])
        return [Reply(f"{self.name}:{a.context}") for a in asks]


def count_to(item):
    """Asks as often as the item says."""
    heard = []
    for i in range(item):
        reply = yield Ask("echo", f"{item}.{i}")
        heard.append(reply.text)
    return heard


def test_a_round_is_one_call_and_games_keep_their_order():
    echo = Echo()
    games = play(count_to, [2, 0, 3], {"echo": echo})
    assert echo.calls == [["2.0", "3.0"], ["2.1", "3.1"], ["3.2"]]
    assert [g.outcome for g in games] == [["echo:2.0", "echo:2.1"], [], ["echo:3.0", "echo:3.1", "echo:3.2"]]
    assert [g.item for g in games] == [2, 0, 3]


def test_simultaneous_asks_get_a_list_and_every_turn_is_recorded():
    def both(item):
        replies = yield [Ask("a", "x"), Ask("b", "y"), Ask("a", "z")]
        return [r.text for r in replies]

    a, b = Echo("a"), Echo("b")
    (game,) = play(both, ["i"], {"a": a, "b": b})
    assert game.outcome == ["a:x", "b:y", "a:z"]
    assert [(t.speaker, t.context, t.reply.text) for t in game.turns] == [("a", "x", "a:x"), ("b", "y", "b:y"), ("a", "z", "a:z")]
    assert (a.calls, b.calls) == ([["x", "z"]], [["y"]])


def test_a_protocol_error_ends_its_game_only():
    def fragile(item):
        yield Ask("echo", item)
        if item == "bad":
            raise ProtocolError("no verdict")
        yield Ask("echo", item + "!")
        return "fine"

    good, bad = play(fragile, ["good", "bad"], {"echo": Echo()})
    assert (good.outcome, good.error, len(good.turns)) == ("fine", "", 2)
    assert (bad.outcome, bad.error, len(bad.turns)) == (None, "no verdict", 1)


def test_any_other_error_stops_everything():
    def broken(item):
        yield Ask("echo", item)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        play(broken, ["x"], {"echo": Echo()})


def test_an_unknown_model_is_named():
    with pytest.raises(UserError, match="asks model 'echo', but the models are \\['judge'\\]"):
        play(count_to, [1], {"judge": Echo()})
