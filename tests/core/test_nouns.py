"""A context as text is one function: what judges, rules, reports and checks of data are shown is the same."""

from __future__ import annotations

from typing import Any

from plumbline.core.nouns import Ask, Comparison, Content, Game, Message, Prompt, Reply, Turn, plain
from plumbline.data.check import check
from plumbline.evals.judge import ModelJudge
from plumbline.evals.report import sample
from plumbline.rewards.items import Item

CHAT = (
    Message("user", (Content("text", "What is on"), Content("image", b"\x89PNG"), Content("text", "here?"))),
    Message("assistant", (Content("tool_call", {"name": "look", "at": "é"}),)),
    Message("tool", (Content("tool_result", "a cat"),)),
    Message("user", "So?"),
)
SAID = 'user: What is on [image] here?\nassistant: [tool_call {"name": "look", "at": "é"}]\ntool: [tool_result a cat]\nuser: So?'


def test_parts_that_are_no_text_are_named_and_raw_text_stays_as_it_is():
    assert plain(CHAT) == SAID
    assert plain("user: as it is\n") == "user: as it is\n"


class Notes:
    """A judge's model that keeps what it was asked."""

    name = "notes"

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def answer(self, asks):
        self.heard += [ask.context[0].content for ask in asks if isinstance(ask, Ask) and not isinstance(ask.context, str)]
        return [Reply("A", choice_probs=(1.0, 0.0)) for _ in asks]


def test_judge_reward_report_and_data_check_show_a_context_alike(tmp_path):
    model = Notes()
    ModelJudge(model)([CHAT], ["a cat"], ["a dog"])
    assert all(SAID in question for question in model.heard)
    assert len(model.heard) == 2
    assert Item.of(Game((Turn("policy", CHAT, Reply("a cat")),), item=Prompt(CHAT))).prompt == SAID
    assert "user: What is on [image] here?" in sample(CHAT, {"base": (Reply("a cat"), None)})
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": [{"role": "user", "content": "So what?"}], "chosen": "yes", "rejected": "no"}\n')
    found = check(rows, kind=Comparison)
    assert "  prompt: user: So what?" in found.samples
    assert found.lengths["prompt"][0] == len(["user:", "So", "what?"])
