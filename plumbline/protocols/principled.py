"""How critique, revision and comparison are put into words for the models that are asked.

A chat goes on as a chat: the reply, then the principle's question as the user's next turn.   Raw text goes on as raw text, with the marks
"CritiqueRequest:", "Critique:", "RevisionRequest:" and "Revision:" of arXiv 2212.08073, §3.1; the comparison is that of its §4.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, final

from plumbline.core.nouns import Context, Message, plain
from plumbline.protocols.constitution import Principle

STOP = ("\n\nHuman:", "\n\nCritiqueRequest:", "\n\nRevisionRequest:")
_COMPARE = """Consider the following conversation:

{conversation}

{compare}

(A) {a}

(B) {b}

Answer with A or B alone."""


@dataclass(frozen=True, slots=True)
class Words:
    """What is asked: a context, stated answers where there are some, and what ends a free answer."""

    context: Context
    choices: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()


class Phrasing(Protocol):
    """How a model is asked."""

    def critique(self, context: Context, reply: str, principle: Principle) -> Words:
        """What is wrong with this reply, as the principle sees it?"""
        ...

    def finds_fault(self, critique: str) -> bool:
        """Whether a critique says that there is something to mend."""
        ...

    def revision(self, context: Context, reply: str, principle: Principle, critique: str) -> Words:
        """Write the reply again.   `critique`: what was found wrong, "" if nobody was asked."""
        ...

    def compare(self, context: Context, first: str, second: str, principle: Principle) -> Words:
        """Which of two replies is better?   Two stated answers, for the first and for the second."""
        ...


@final
class English:
    """Plain English, for any model that follows instructions."""

    def critique(self, context: Context, reply: str, principle: Principle) -> Words:
        """See `Phrasing`."""
        if isinstance(context, str):
            return Words(f"{context}{reply}\n\nCritiqueRequest: {principle.critique}\n\nCritique:", stop=STOP)
        return Words((*context, Message("assistant", reply), Message("user", principle.critique)))

    def finds_fault(self, critique: str) -> bool:
        """Always: what a free critique says is for the revision to read."""
        return True

    def revision(self, context: Context, reply: str, principle: Principle, critique: str) -> Words:
        """See `Phrasing`."""
        if isinstance(context, str):
            asked = f"\n\nCritiqueRequest: {principle.critique}\n\nCritique:{critique}" if critique else ""
            return Words(f"{context}{reply}{asked}\n\nRevisionRequest: {principle.revision}\n\nRevision:", stop=STOP)
        turns = (Message("user", principle.critique), Message("assistant", critique)) if critique else ()
        return Words((*context, Message("assistant", reply), *turns, Message("user", principle.revision)))

    def compare(self, context: Context, first: str, second: str, principle: Principle) -> Words:
        """See `Phrasing`; the words of the replies weigh nothing, only the letters' probabilities are read."""
        shown = _COMPARE.format(conversation=plain(context).strip(), compare=principle.compare, a=first.strip(), b=second.strip())
        return Words((Message("user", shown),), ("A", "B"))


ENGLISH = English()
