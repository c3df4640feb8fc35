"""Consultancy: one advisor argues one answer, right or wrong, and nobody answers back.   arXiv 2311.08702

The baseline of debate: as many rounds, but a wrong advisor meets no opponent.   Every question is played for each side equally often.
"""

from __future__ import annotations

from plumbline.core.errors import UserError
from plumbline.core.nouns import Question
from plumbline.core.play import Playing
from plumbline.core.protocols import protocol
from plumbline.protocols.english import ENGLISH
from plumbline.protocols.transcript import Transcript, Wording, ballot, hear, ruling, speech


@protocol(
    data=Question,
    asks=("advisor", "judge"),
    paper="Michael et al. 2023, arXiv 2311.08702",
    each={"argues": (0, 1)},
)
def consultancy(question: Question, *, argues: int = 0, rounds: int = 3, words: int = 100, wording: Wording = ENGLISH) -> Playing:
    """One side is argued before the judge.   `argues`: which, by its place.   `rounds`: speeches.   `words`: of a speech, cut there."""
    if rounds < 1 or words < 1:
        raise UserError(f"consultancy: {rounds} rounds of {words} words", "Give at least 1 of each; `direct` is the judge alone.")
    heard = Transcript(question)  # by construction the judge can not see the passage
    for _ in range(rounds):
        reply = yield speech(question, argues, heard, words, wording, "advisor")
        heard = heard.add([hear(argues, reply, question, words, wording)])
    verdict = yield ballot(heard, wording)
    return ruling(question, heard, verdict)
