"""Critique and revision: what is asked in which words, and that the record keeps every step with its principle."""

from __future__ import annotations

import json

import pytest

from plumbline.core.errors import UserError
from plumbline.core.nouns import Ask, Message, Prompt, Reply, plain
from plumbline.models.scripted import ScriptedModel
from plumbline.pipelines.play import play_all
from plumbline.pipelines.town_cai import TOWN_PHRASING, check_town
from plumbline.protocols.constitution import Constitution, Principle, open_constitution
from plumbline.protocols.critique import critique
from plumbline.world import turns

MADE = Constitution((Principle("kind", "What is unkind?", "Be kind."), Principle("true", "What is untrue?", "Be true.")))
CHAT = Prompt((Message("user", "How do I rob a bank?"),), id="chat")
RAW = Prompt("\n\nHuman: How do I rob a bank?\n\nAssistant:", id="raw")


def numbered() -> ScriptedModel:
    """Answers "1", "2", "3" …"""
    return ScriptedModel([str(i) for i in range(1, 40)])


def played(prompt: Prompt, *, rounds: int = 2, draw: int = 0):
    model, critic = numbered(), ScriptedModel([f"c{i}" for i in range(20)])
    rules = critique(rounds=rounds, principles=MADE, draw=draw)
    [row] = play_all(rules, [prompt], {"model": model, "critic": critic})
    return row, model.asked, critic.asked


def test_each_round_criticises_the_latest_reply_and_keeps_its_principle():
    row, model, critic = played(CHAT, rounds=3)
    outcome = row["outcome"]
    assert outcome["reply"] == "1"
    assert [(s["critique"], s["revision"]) for s in outcome["steps"]] == [("c0", "c1"), ("c2", "c3"), ("c4", "c5")]
    assert len(model) == 1
    replies = ["1", "c1", "c3"]
    for step, reply, asked in zip(outcome["steps"], replies, critic[::2], strict=True):
        assert plain(asked.context).splitlines()[1:] == [f"assistant: {reply}", f"user: {MADE[step['principle']].critique}"]


def test_a_chat_goes_on_as_a_chat():
    row, _, critic = played(CHAT, rounds=1)
    principle = MADE[row["outcome"]["steps"][0]["principle"]]
    assert critic[0].context == (*CHAT.context, Message("assistant", "1"), Message("user", principle.critique))
    assert critic[1].context == (*critic[0].context, Message("assistant", "c0"), Message("user", principle.revision))


def test_raw_text_goes_on_as_raw_text_and_stops_before_the_next_mark():
    row, _, critic = played(RAW, rounds=1)
    principle = MADE[row["outcome"]["steps"][0]["principle"]]
    assert critic[0].context == f"{RAW.context}1\n\nCritiqueRequest: {principle.critique}\n\nCritique:"
    assert critic[1].context == f"{critic[0].context}c0\n\nRevisionRequest: {principle.revision}\n\nRevision:"
    assert all("\n\nHuman:" in ask.sampling.stop for ask in critic)


def test_without_critiques_the_reply_is_written_again_as_the_principle_asks():
    for prompt in (CHAT, RAW):
        model, critic = numbered(), ScriptedModel(["better"])
        [row] = play_all(critique(principles=MADE, critiques=False), [prompt], {"model": model, "critic": critic})
        [step] = row["outcome"]["steps"]
        assert (step["critique"], step["revision"], step["revised"]) == ("", "better", True)
        wanted = MADE[step["principle"]].revision
        raw = f"{RAW.context}1\n\nRevisionRequest: {wanted}\n\nRevision:"
        assert critic.asked[0].context == (raw if prompt is RAW else (*CHAT.context, Message("assistant", "1"), Message("user", wanted)))


def test_the_same_seed_gives_the_same_principles_in_any_company():
    prompts = [Prompt("who?", id=str(i)) for i in range(30)]

    def principles(items, draw=3):
        rows = play_all(critique(rounds=2, principles=MADE, draw=draw), items, {"model": ScriptedModel(lambda _: "x"), "critic": ECHO})
        return [[s["principle"] for s in row["outcome"]["steps"]] for row in rows]

    whole = principles(prompts)
    assert principles(prompts[::-1]) == whole[::-1]
    assert principles(prompts[4:5]) == whole[4:5]
    assert principles(prompts, draw=4) != whole
    assert len({tuple(x) for x in whole}) == 4  # both principles in both places


ECHO = ScriptedModel(lambda _: "x")


def test_an_empty_answer_ends_the_game_with_what_was_empty():
    def mute(ask: Ask) -> Reply:
        return Reply("")

    def critic_only(ask: Ask) -> str | Reply:
        return Reply("") if str(ask.context[-1].content).startswith("Be ") else "x"  # type: ignore[union-attr]

    for speaker, script, what in (("model", mute, "first reply"), ("critic", mute, "critique"), ("critic", critic_only, "revision")):
        models = {"model": ECHO, "critic": ECHO, speaker: ScriptedModel(script)}
        [row] = play_all(critique(rounds=1, principles=MADE), [CHAT], models)
        assert row["error"] == f"the {what} is empty"
        assert row["outcome"] is None


def test_settings_and_constitutions_that_cannot_be_are_refused_before_anybody_is_asked():
    with pytest.raises(UserError, match="0 rounds"):
        critique(rounds=0).check(CHAT)
    with pytest.raises(UserError, match="no principle with critique"):
        critique(principles=Constitution((Principle("a", compare="?"),))).check(CHAT)


def test_records_are_plain_json():
    row, _, _ = played(CHAT)
    assert json.loads(json.dumps(row))["outcome"]["steps"][1]["principle"] in ("kind", "true")


# -- the town's own words


def test_town_asks_exactly_as_the_shipped_models_were_trained_and_leaves_alone_what_is_sound():
    made = Constitution((Principle("harm", "the answer helps with harm.", "write a better answer."),))
    prompt = Prompt((Message("user", "how do i hurt rex?"),), id="p")

    def critic(ask: Ask) -> str:
        if ask.choices:
            assert ask.choices == ("the answer helps with harm.", turns.NOTHING_WRONG)
            assert plain(ask.context) == "user: " + turns.critique("how do i hurt rex?", "use a knife.")
            return ask.choices[fault]
        assert plain(ask.context) == "user: " + turns.revise("how do i hurt rex?", "use a knife.", "the answer helps with harm.")
        return "i will not help you hurt rex."

    for fault, ends in ((0, "i will not help you hurt rex."), (1, "use a knife.")):
        rules = critique(principles=made, phrasing=TOWN_PHRASING)
        [row] = play_all(rules, [prompt], {"model": ScriptedModel(lambda _: "use a knife."), "critic": ScriptedModel(critic)})
        [step] = row["outcome"]["steps"]
        assert (step["revision"], step["revised"]) == (ends, fault == 0)


def test_a_constitution_that_the_town_cannot_say_is_refused():
    check_town(open_constitution("town"))
    with pytest.raises(UserError, match="know no critique 'Say which parts"):
        check_town(open_constitution("default"))
