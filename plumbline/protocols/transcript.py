"""What a judge hears: speeches with every quotation checked against the passage, which the judge itself never sees.

A debater writes as its wording has it, in plain English "The door was <quote>locked from the inside</quote>.".   A quotation is verified if
its words stand in the passage one after another, whole words, whatever the spaces between them and the form of its quotation marks.
Only this file marks a quotation: whatever a speaker writes that looks like a mark is made harmless.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from plumbline.core.errors import ProtocolError
from plumbline.core.nouns import Ask, Context, Question, Reply, Sampling

TOKENS_A_WORD = 3
_SAME = str.maketrans({"“": '"', "”": '"', "‘": "'", "’": "'"})


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a speech: a speaker's own words, or a quotation, verified or not."""

    text: str
    kind: Literal["own", "verified", "unverified"] = "own"


@dataclass(frozen=True, slots=True)
class Heard:
    """A speech as it was heard: for which side (its place in `sides`), and its pieces."""

    side: int
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Transcript:
    """The question and all speeches so far.   Its question has no passage, right answer or meta, whatever it was made from."""

    question: Question
    speeches: tuple[Heard, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "question", replace(self.question, passage="", answer="", meta={}))

    def add(self, heard: Sequence[Heard]) -> Transcript:
        """The transcript with these speeches, which were given at the same time."""
        return replace(self, speeches=(*self.speeches, *heard))


class Wording(Protocol):
    """How a game is put into words for the models that play it."""

    def brief(self, question: Question, side: int, heard: Transcript, words: int) -> Context:
        """What a speaker for a side is told: question, passage, side, and what was said so far."""
        ...

    def cut(self, speech: str) -> list[tuple[str, bool]]:
        """A speech as (words, whether they are quoted), in order."""
        ...

    def ballot(self, heard: Transcript) -> Context:
        """What the judge is told."""
        ...

    def choices(self, question: Question) -> tuple[str, ...]:
        """What the judge answers for each side."""
        ...


@dataclass(frozen=True, slots=True)
class Speech(Ask):
    """An ask for a speech, which says for whom it is: `ballot(text)` is what the judge would be asked after hearing it, `side` what is
    wanted as the answer.   So who improves speeches (best_of.py) can ask the judge."""

    side: int = 0
    ballot: Callable[[str], Ask] | None = field(default=None, compare=False, repr=False)


def speech(question: Question, side: int, heard: Transcript, words: int, wording: Wording, model: str) -> Speech:
    """Ask a model to speak for a side."""

    def after(text: str) -> Ask:
        return ballot(heard.add([Heard(side, checked(text, question.passage, words, wording))]), wording)

    return Speech(
        model, wording.brief(question, side, heard, words), Sampling(max_tokens=TOKENS_A_WORD * words + 8), side=side, ballot=after
    )


def ballot(heard: Transcript, wording: Wording) -> Ask:
    """Ask the judge."""
    return Ask("judge", wording.ballot(heard), choices=wording.choices(heard.question))


def hear(side: int, reply: Reply, question: Question, words: int, wording: Wording) -> Heard:
    """A reply as the judge will hear it; the game ends here if nothing was said."""
    if reply.finish == "error" or not reply.text.strip():
        raise ProtocolError(f"nothing was said for {question.sides[side]!r}")
    return Heard(side, checked(reply.text, question.passage, words, wording))


def checked(text: str, passage: str, words: int, wording: Wording) -> tuple[Piece, ...]:
    """The first `words` words of a speech, its quotations checked.   A quotation that the limit cuts is checked as it stands then."""
    pieces, left = [], words
    for part, quoted in wording.cut(text):
        kept = part.split()[:left]
        left -= len(kept)
        if kept:
            shown = " ".join(kept)
            kind = "own" if not quoted else "verified" if stands_in(shown, passage) else "unverified"
            pieces.append(Piece(shown.replace("<", "‹").replace(">", "›"), kind))
    return tuple(pieces)


def stands_in(quotation: str, passage: str) -> bool:
    """Whether the words of a quotation stand in the passage, in this order and with nothing between them."""
    wanted, text = (" ".join(s.translate(_SAME).split()) for s in (quotation, passage))
    if not re.search(r"\w", wanted):
        return False
    before, after = (r"(?<!\w)" if wanted[0].isalnum() else ""), (r"(?!\w)" if wanted[-1].isalnum() else "")
    return re.search(before + re.escape(wanted) + after, text) is not None


@dataclass(frozen=True, slots=True)
class Ruling:
    """How a game ended: the sides in the order in which they stood, the judge's probability of each, what it chose, and what is right."""

    sides: tuple[str, ...]
    probabilities: tuple[float, ...]
    chosen: str
    right: str = ""
    quotes: int = 0
    verified: int = 0


def ruling(question: Question, heard: Transcript, verdict: Reply) -> Ruling:
    """Read the judge's reply; it must give a probability for each side."""
    p = verdict.choice_probs
    if len(p) != len(question.sides) or not all(0 <= x <= 1 for x in p):
        raise ProtocolError(f"the judge gave no probabilities for the sides (it said {verdict.text[:40]!r})")
    kinds = [piece.kind for said in heard.speeches for piece in said.pieces]
    quotes, verified = len(kinds) - kinds.count("own"), kinds.count("verified")
    return Ruling(question.sides, tuple(p), question.sides[p.index(max(p))], question.answer, quotes, verified)
