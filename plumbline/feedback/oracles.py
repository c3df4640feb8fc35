"""Oracles: whoever compares two completions on request.   A file that has the answers already, a queue for people, a ledger over any.

    File        what a comparisons file says of its own pairs
    Queue       questions are lines of asks.jsonl, answers lines of answers.jsonl, in any order and by anyone's tool
    Ledger      writes down what another oracle said; a question that was answered once is never asked again

A question's id is a hash of prompt and completions, so that a round that is drawn again after a crash asks what is answered already.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, final

from plumbline.core.errors import UserError
from plumbline.core.interfaces import Oracle
from plumbline.core.nouns import Comparison, Context, plain
from plumbline.core.oracles import Announced, Question, Recorded

SIDES = {"first": 1.0, "second": 0.0, "same": 0.5}


def question_id(context: Context, completions: Sequence[str]) -> str:
    """The same for the same question, whichever completion is named first."""
    said = json.dumps([plain(context), sorted(completions)], ensure_ascii=False)
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def preferring(context: Context, pair: Sequence[str], preference: float, annotator: str = "") -> Comparison:
    """The comparison in which the first of `pair` is better with this probability: the preferred stands first in it."""
    first, second = pair
    ordered = (first, second) if preference >= 0.5 else (second, first)
    return Comparison(context, ordered, max(preference, 1 - preference), annotator=annotator)


@final
class File:
    """Comparisons that are there already.   `candidates` are what it can compare: the method then duels these."""

    def __init__(self, rows: Sequence[Comparison], name: str = "the comparisons") -> None:
        self.name = name
        self.rows: dict[str, Comparison] = {}
        self.texts: dict[str, list[str]] = {}
        for row in rows:
            for i, better in enumerate(row.completions):
                for worse in row.completions[i + 1 :]:
                    self.rows.setdefault(question_id(row.context, (better, worse)), _pair(row, better, worse))
            known = self.texts.setdefault(plain(row.context), [])
            known += [text for text in row.completions if text not in known]

    def candidates(self, context: Context) -> list[str]:
        """The completions that it has for this prompt."""
        return list(self.texts.get(plain(context), []))

    def compare(self, context: Context, completions: Sequence[str]) -> Comparison:
        """What the file says of this pair."""
        found = self.rows.get(question_id(context, completions))
        if found is None:
            raise UserError(
                f"{self.name} does not compare {completions[0][:40]!r} and {completions[1][:40]!r}",
                "A file knows its own pairs only: give its prompts as --data, one comparison (or ranking) of each.",
            )
        return found


def _pair(row: Comparison, better: str, worse: str) -> Comparison:
    preference = row.preference if len(row.completions) == 2 else 1.0
    return Comparison(row.context, (better, worse), preference, annotator=row.annotator)


@final
class Queue:
    """People who look into `asks.jsonl` and write `answers.jsonl`, both in `folder`.

    An answer: {"id": …, "preferred": "first" | "second" | "same"}, and who says so as "annotator" if they like.   `patience`: seconds
    that a question waits; then the run ends, and --resume draws its round again when the answers are there.
    """

    def __init__(self, folder: str | os.PathLike[str], *, patience: float = 3600.0, every: float = 1.0) -> None:
        self.asks, self.answers = (Path(folder) / f"{name}.jsonl" for name in ("asks", "answers"))
        self.patience, self.every = patience, every
        self.asks.parent.mkdir(parents=True, exist_ok=True)
        self.asked = {row["id"]: row for row in read_lines(self.asks)}

    def announce(self, questions: Sequence[Question]) -> None:
        """Write down what is not asked yet."""
        for context, pair in questions:
            key = question_id(context, pair)
            if key not in self.asked:
                first, second = sorted(pair, key=lambda text: hashlib.sha256(f"{key}{text}".encode()).digest())  # no arm is always first
                self.asked[key] = {"id": key, "prompt": plain(context), "first": first, "second": second}
                append(self.asks, self.asked[key])

    def compare(self, context: Context, completions: Sequence[str]) -> Comparison:
        """Ask, and wait for the answer."""
        self.announce([(context, completions)])
        ask = self.asked[question_id(context, completions)]
        waited = 0.0
        while (said := self._answer(ask["id"])) is None:
            if waited >= self.patience:
                raise UserError(
                    f"{self.waiting()} questions in {self.asks} wait for an answer",
                    f'Write lines {{"id": …, "preferred": "first"}} to {self.answers}, and go on with --resume.',
                )
            time.sleep(self.every)
            waited += self.every
        return preferring(context, (ask["first"], ask["second"]), SIDES[said["preferred"]], str(said.get("annotator", "")))

    def waiting(self) -> int:
        """Questions without an answer."""
        answered = {row.get("id") for row in read_lines(self.answers)}
        return sum(key not in answered for key in self.asked)

    def _answer(self, key: str) -> dict[str, Any] | None:
        """The first answer to a question; whatever is no answer is refused."""
        for number, row in enumerate(read_lines(self.answers), 1):
            if row.get("preferred") not in SIDES or row.get("id") not in self.asked:
                field = "id" if row.get("preferred") in SIDES else "preferred"
                raise UserError(
                    f"{self.answers}, row {number}: {field!r} is {row.get(field)!r}",
                    f"id is one of {self.asks.name}; preferred is first, second or same.",
                )
            if row["id"] == key:
                return row
        return None


@final
class Ledger:
    """Another oracle, each of whose answers is a line of `file`, written before it is used."""

    def __init__(self, oracle: Oracle, file: str | os.PathLike[str]) -> None:
        self.oracle, self.file = oracle, Path(file)
        self.said: dict[str, Mapping[str, Any]] = {row["id"]: row for row in read_lines(self.file, mend=True)}
        if isinstance(oracle, Recorded):
            self.candidates: Callable[[Context], Sequence[str]] = oracle.candidates

    @property
    def labels(self) -> int:
        """Different questions that were answered."""
        return len(self.said)

    def announce(self, questions: Sequence[Question]) -> None:
        """Tell an oracle that likes to know what is new to it."""
        if isinstance(self.oracle, Announced):
            self.oracle.announce([(at, pair) for at, pair in questions if question_id(at, pair) not in self.said])

    def compare(self, context: Context, completions: Sequence[str]) -> Comparison:
        """What was said of it, or what the oracle says now."""
        key = question_id(context, completions)
        if key not in self.said:
            found = self.oracle.compare(context, completions)
            pair = {"preferred": found.completions[0], "other": found.completions[1], "preference": found.preference}
            self.said[key] = {"id": key, "prompt": plain(context), **pair, "annotator": found.annotator}
            append(self.file, self.said[key])
        row = self.said[key]
        return Comparison(context, (row["preferred"], row["other"]), row["preference"], annotator=row["annotator"])


def append(file: Path, row: Mapping[str, Any]) -> None:
    """A line more, on disk when this returns."""
    with file.open("a", encoding="utf-8") as out:
        out.write(json.dumps(row, ensure_ascii=False) + "\n")
        out.flush()
        os.fsync(out.fileno())


def read_lines(file: Path, *, mend: bool = False) -> list[dict[str, Any]]:
    """The objects of a JSONL file that may be growing: a last line without its end is not read (and, to `mend`, is cut off)."""
    if not file.is_file():
        return []
    whole, end, torn = file.read_text(encoding="utf-8").rpartition("\n")
    if torn and mend:
        with file.open("r+b") as out:
            out.truncate(len((whole + end).encode()))
    found = []
    for number, line in enumerate(whole.split("\n") if end else (), 1):  # `splitlines` also cuts inside a text, at U+2028 and the like
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise UserError(f"{file}, row {number}: not a JSON object", "Mend or remove the line.")
        found.append(row)
    return found
