"""What an oracle may do besides comparing two completions (`interfaces.Oracle`); a method asks whether it can."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from plumbline.core.nouns import Context

Question = tuple[Context, Sequence[str]]


@runtime_checkable
class Announced(Protocol):
    """Likes to know all questions of a round before the first is asked: a queue for people."""

    def announce(self, questions: Sequence[Question], /) -> None: ...


@runtime_checkable
class Recorded(Protocol):
    """Can compare only what it has, a file's completions: these are the proposals then."""

    def candidates(self, context: Context, /) -> Sequence[str]: ...
