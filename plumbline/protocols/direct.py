"""Direct: the judge answers alone, without passage or speeches: what debate and consultancy must beat.   arXiv 2311.08702"""

from __future__ import annotations

from plumbline.core.nouns import Question
from plumbline.core.play import Playing
from plumbline.core.protocols import protocol
from plumbline.protocols.english import ENGLISH
from plumbline.protocols.transcript import Transcript, Wording, ballot, ruling


@protocol(data=Question, asks=("judge",), paper="Michael et al. 2023, arXiv 2311.08702")
def direct(question: Question, *, wording: Wording = ENGLISH) -> Playing:
    """The judge answers from the question and the answers alone."""
    heard = Transcript(question)
    verdict = yield ballot(heard, wording)
    return ruling(question, heard, verdict)
