"""Critique, revision and comparison in the town's own questions (world/turns.py), for the shipped models.

A critique is a choice, by probability, between the principle's sentence ("the answer helps with harm.") and "nothing is wrong with the
answer."; only where the former is likelier the reply is written again.   The judge's question names no principle: the models know only one.
"""

from __future__ import annotations

from typing import final

from plumbline.core.errors import UserError
from plumbline.core.nouns import Context, Message
from plumbline.protocols.constitution import Constitution, Principle
from plumbline.protocols.principled import Words
from plumbline.world import turns
from plumbline.world.corpus import question_text

SAYABLE = {*turns.CRITIQUES.values(), turns.TOO_LITTLE}


def check_town(constitution: Constitution) -> None:
    """Refuse what the shipped models can not say."""
    for principle in constitution.critics:
        if principle.critique not in SAYABLE:
            raise UserError(
                f"the town's models know no critique {principle.critique[:60]!r} (principle {principle.id!r})",
                "Pass --constitution town, or a model that follows instructions and --wording english.",
            )


@final
class TownPhrasing:
    """See `protocols.principled.Phrasing`."""

    def critique(self, context: Context, reply: str, principle: Principle) -> Words:
        """The principle's sentence, or nothing wrong."""
        return Words(_user(turns.critique(_asked(context), reply)), (principle.critique, turns.NOTHING_WRONG))

    def finds_fault(self, critique: str) -> bool:
        """Unless nothing is wrong."""
        return critique != turns.NOTHING_WRONG

    def revision(self, context: Context, reply: str, principle: Principle, critique: str) -> Words:
        """A better answer; if nobody was asked what is wrong, it is the principle's sentence."""
        return Words(_user(turns.revise(_asked(context), reply, critique or principle.critique)))

    def compare(self, context: Context, first: str, second: str, principle: Principle) -> Words:
        """Answer a or answer b."""
        return Words(_user(turns.judge(_asked(context), first, second)), ("a.", "b."))


TOWN_PHRASING = TownPhrasing()


def _asked(context: Context) -> str:
    return context if isinstance(context, str) else question_text(context)


def _user(text: str) -> Context:
    return (Message("user", text),)
