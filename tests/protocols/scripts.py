"""Models for the tests of protocols: they answer by rule, and know nothing but what they are asked."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from plumbline.core.nouns import Ask, Question, Reply, plain
from plumbline.core.protocols import Rules
from plumbline.models.scripted import ScriptedModel

PASSAGE = "The door was locked from the inside. Nobody but Ada had the key."
CHOOSE = ("judge", "feedback")  # roles that are asked for one of the stated answers
QUESTIONS = [Question(f"Who did it, case {i}?", ("Ada", "Bob"), PASSAGE, "Ada" if i % 2 else "Bob", id=f"case-{i}") for i in range(4)]


def chosen(ask: Ask, side: int, sure: float = 1.0) -> Reply:
    """A reply to an ask with two choices, with `sure` on one of them."""
    p = [1 - sure, 1 - sure]
    p[side] = sure
    return Reply(ask.choices[side], finish="choice", choice_probs=tuple(p))


def argues(ask: Ask) -> str:
    """Quotes the passage for Ada, makes something up for Bob; the noise of the ask is part of what it says."""
    says = "Nobody but Ada had the key." if "is A: Ada" in plain(ask.context) or "is B: Ada" in plain(ask.context) else "Bob had the key."
    return f"It is plain: <quote>{says}</quote> {ask.sampling.seed}"


def counts_verified(ask: Ask) -> Reply:
    """Chooses the side for which more was verified; the first of equals, and is as sure of it as the noise says."""
    said = [len(re.findall(rf"For {letter}: .*<verified>", plain(ask.context))) for letter in ask.choices]
    return chosen(ask, said.index(max(said)), 0.9)


class Killed(ScriptedModel):
    """A model in whose `calls`-th call the process is interrupted."""

    def __init__(self, script: Callable[[Ask], str | Reply], calls: int) -> None:
        super().__init__(script)
        self.left = calls

    def answer(self, asks: Sequence[Ask]) -> list[Reply]:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return super().answer(asks)


def table(rules: Rules, *, judge: Callable[[Ask], str | Reply] = counts_verified, speaker: Callable[[Ask], str | Reply] = argues):
    """A scripted model for every role of a protocol."""
    return {role: ScriptedModel(judge if role in CHOOSE else speaker, name=role) for role in rules.asks}
