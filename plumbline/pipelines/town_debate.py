"""Debates in the town's language, for the shipped models: they argue as they learned to, and judge as they answer from a passage.

The debater gets the town's turn `argue`: "the answer is … . the passage says: …", and what follows "says:" is its quotation.   The judge
gets a passage and a question, as in the family `passage`, but the passage is what the debaters quoted; it chooses between the sides as
statements.   (The turn `judge`, answers a and b, says nothing here: shown the whole passage, town-s is right in half of the cases.)

The shipped models know no sentence that casts doubt on another: of "the passage does not say that X." they take X.   So the judge is told
of an unverified quotation that it was none, and not its words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import final

from plumbline.core.errors import UserError
from plumbline.core.nouns import Context, Message, Question, plain
from plumbline.protocols.transcript import Transcript
from plumbline.world import turns
from plumbline.world.knowledge import say

VALUES = "values"  # in a question's `meta`: its sides as the town names them
_SAYS = re.compile(r"the passage says ?:")
MARKS = {"verified": "{}.", "unverified": "the passage does not say that."}  # without its words: see the top of this file


def stated(questions: Sequence[Question]) -> list[Question]:
    """The town's questions with their sides as whole statements: "mill" → "mira lives in the mill."."""
    return [_stated(question) for question in questions]


def _stated(question: Question) -> Question:
    gold = question.meta.get("gold", {})
    if "slots" not in gold:
        raise UserError(f"the question {question.id!r} is not the town's", "Leave --wording out, or give town:questions?n=60.")
    entity, attribute = gold["slots"][0]
    said = {value: f"{say(attribute, entity, value, 0)}." for value in (*question.sides, question.answer)}
    values = {statement: value for value, statement in said.items()}
    return replace(
        question,
        sides=tuple(said[side] for side in question.sides),
        answer=said[question.answer],
        meta={**question.meta, VALUES: values},
    )


@final
class TownWording:
    """See `protocols.transcript.Wording`; the questions are those of `stated`."""

    def brief(self, question: Question, side: int, heard: Transcript, words: int) -> Context:
        """The same in every round: the shipped models know no turn that answers a speech."""
        return _user(turns.argue(question.passage, plain(question.context), question.meta[VALUES][question.sides[side]]))

    def cut(self, speech: str) -> list[tuple[str, bool]]:
        """What follows "the passage says:" is quoted, a sentence at a time."""
        own, *quoted = _SAYS.split(speech)
        sentences = [s for part in quoted for s in re.findall(r"[^.]*\.?", part) if s.strip()]
        return [(own, False), *((sentence, True) for sentence in sentences)]

    def ballot(self, heard: Transcript) -> Context:
        """Verified quotations are what the judge reads; of an unverified one it is told that the passage does not say that."""
        question = plain(heard.question.context)
        read = [MARKS[p.kind].format(p.text.rstrip(".")) for said in heard.speeches for p in said.pieces if p.kind != "own"]
        return _user(f"read this. {' '.join(dict.fromkeys(read))} now my question. {question}" if read else question)

    def choices(self, question: Question) -> tuple[str, ...]:
        """The statements themselves; they differ in one word or two."""
        return question.sides


TOWN_WORDING = TownWording()


def _user(text: str) -> Context:
    return (Message("user", text),)
