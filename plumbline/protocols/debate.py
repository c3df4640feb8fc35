"""Debate: debaters argue opposite answers from a passage that the judge never sees.   arXiv 1805.00899

In each round all speak at once, so none has the last word; from the second round on they know what was said before.   The debaters play
a zero-sum game before a judge that knows less: the bet is that a lie is harder to defend than to expose.
"""

from __future__ import annotations

from plumbline.core.errors import UserError
from plumbline.core.nouns import Question
from plumbline.core.play import Playing
from plumbline.core.protocols import protocol
from plumbline.protocols.english import ENGLISH
from plumbline.protocols.transcript import Transcript, Wording, ballot, hear, ruling, speech


@protocol(data=Question, asks=("debater", "judge"), paper="Irving et al. 2018, arXiv 1805.00899")
def debate(question: Question, *, rounds: int = 3, words: int = 100, wording: Wording = ENGLISH) -> Playing:
    """Both sides are argued before the judge.   `rounds`: of simultaneous speeches.   `words`: of a speech, cut there."""
    if rounds < 1 or words < 1:
        raise UserError(f"debate: {rounds} rounds of {words} words", "Give at least 1 of each; `direct` is the judge alone.")
    heard = Transcript(question)  # by construction the judge can not see the passage
    sides = range(len(question.sides))
    for _ in range(rounds):
        replies = yield [speech(question, side, heard, words, wording, "debater") for side in sides]
        heard = heard.add([hear(side, reply, question, words, wording) for side, reply in zip(sides, replies, strict=True)])
    verdict = yield ballot(heard, wording)
    return ruling(question, heard, verdict)
