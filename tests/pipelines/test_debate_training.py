"""Training on recorded games: the spans of winners as they were sampled, and a policy that comes to say them."""

from __future__ import annotations

from typing import Any

import pytest

from plumbline.core.errors import UserError
from plumbline.core.nouns import Message
from plumbline.engine.drive import drive
from plumbline.engine.progress import Progress
from plumbline.engine.recipe import Recipe
from plumbline.models.fresh import fresh
from plumbline.models.lm import LM
from plumbline.pipelines.debate_training import train_on_games, winning
from plumbline.world.vocab import VOCAB


def turn(speaker, text, ids, finish="stop"):
    return {"speaker": speaker, "context": [{"role": "user", "content": text}], "text": "", "ids": ids, "finish": finish}


def game(chosen, *turns, right="x", error="", **settings):
    outcome = {"sides": ["x", "y"], "chosen": chosen, "right": right}
    return {"settings": settings, "outcome": None if error else outcome, "error": error, "turns": list(turns)}


class Words:
    """As much of a tokenizer as is asked: its ids are the lengths of words."""

    def context_ids(self, context):
        assert all(isinstance(m, Message) for m in context)
        return [len(word) for m in context for word in str(m.content).split()]


WORDS: Any = Words()
JUDGE = turn("judge", "who", (9,), "choice")


def spans(rows, **how):
    return [(g.prompt, g.completions, g.row) for g in winning(rows, WORDS, **how)]


def test_of_a_debate_the_spans_of_the_chosen_side_are_taken_in_every_round():
    rounds = [turn("debater", "a bb", (1,)), turn("debater", "ccc", (2,)), turn("debater", "a", (3, 4)), turn("debater", "bb", (5,))]
    assert spans([game("x", *rounds, JUDGE)]) == [((1, 2), ((1,),), 1), ((1,), ((3, 4),), 1)]
    assert spans([game("y", *rounds, JUDGE)]) == [((3,), ((2,),), 1), ((2,), ((5,),), 1)]


def test_an_advisor_is_learned_from_where_its_side_was_chosen():
    speech = turn("advisor", "a", (1,))
    assert spans([game("x", speech, JUDGE, argues=1), game("y", speech, JUDGE, argues=1)]) == [((1,), ((1,),), 2)]


def test_failed_games_cut_speeches_and_those_without_ids_are_left_out():
    other = turn("debater", "b", (2,))
    rows = [
        game("x", turn("debater", "a", (1,)), other, error="nothing was said"),
        game("x", turn("debater", "a", (1,), "length"), other, JUDGE),
        game("x", turn("debater", "a", ()), other, JUDGE),
    ]
    with pytest.raises(UserError, match="none of 3 games has a speech to learn from"):
        winning(rows, WORDS)


def test_winners_that_were_wrong_can_be_left_out():
    rows = [game("x", turn("debater", "a", (1,)), turn("debater", "b", (2,)), JUDGE, right=right) for right in "xy"]
    assert len(spans(rows)) == 2
    assert [row for _, _, row in spans(rows, only_right=True)] == [1]


def test_a_debater_comes_to_say_what_won_and_not_what_lost(tmp_path):
    fresh(tmp_path / "model", VOCAB, hidden=32, layers=2, heads=2, ffn=64, context=64, seed=0)
    policy = LM.load(tmp_path / "model")
    won, lost = (tuple(policy.tokenizer.completion_ids("", words)) for words in ("the mill.", "the tower."))
    rows = [game("x", turn("debater", "where?", won), turn("debater", "where?", lost), JUDGE)] * 4
    groups = winning(rows, policy.tokenizer)
    wrong = [type(g)(g.prompt, (lost,)) for g in groups]

    def logp(rows):
        return policy.token_logps(rows[:1]).sum().item()

    before = logp(groups), logp(wrong)
    (stage,) = [s for s in train_on_games(policy, rows, recipe=Recipe(lr=1e-2, batch=4, epochs=5))]
    drive(stage.steps, recipe=stage.recipe, progress=Progress(quiet=True))
    assert stage.name == "debate-sft"
    assert logp(groups) - before[0] > 3
    assert logp(groups) - before[0] > logp(wrong) - before[1] + 1
