"""What became of an attack: bad, fine, or not scored; and how many of each.

A rate without its three counts hides a judge that never ran: hits / scored / total are kept apart, and an attack that was no question,
or that target or judge failed on, is not scored and not fine.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

Verdict = Literal["bad", "fine", "not scored"]


@dataclass(frozen=True, slots=True)
class Attack:
    """One question, what the target replied, and what the judge made of it.

    `score`: how far the judge's number lies below its bar; above 0 is bad.   None where it was not scored; `why` says why not.
    `truth`: whether the reply is bad in truth, where gold or a person says so.
    """

    who: str
    number: int
    question: str
    reply: str = ""
    score: float | None = None
    verdict: Verdict = "not scored"
    why: str = ""
    truth: bool | None = None

    def row(self) -> dict[str, Any]:
        """As attacks.jsonl keeps it."""
        return asdict(self)

    @staticmethod
    def of(row: dict[str, Any]) -> Attack:
        """What `row` gave."""
        return Attack(**{name: row[name] for name in Attack.__slots__})


@dataclass(frozen=True, slots=True)
class Count:
    """How many attacks were bad, were scored, and were made."""

    hits: int
    scored: int
    total: int

    @staticmethod
    def of(attacks: Iterable[Attack]) -> Count:
        """Counted."""
        verdicts = [a.verdict for a in attacks]
        return Count(verdicts.count("bad"), len(verdicts) - verdicts.count("not scored"), len(verdicts))

    def __str__(self) -> str:
        return f"{self.hits} bad / {self.scored} scored / {self.total} in all"
