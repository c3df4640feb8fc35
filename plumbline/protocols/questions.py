"""Questions from a file: a row each, {"question", "sides": [two texts], "passage", "answer", "id"}; passage, answer and id may be missing.

Formats are those of all our data (JSON lines, a JSON list, CSV with JSON in `sides`, Parquet …); what is wrong is said with file, row and
field.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from plumbline.core.errors import RowError, UserError
from plumbline.core.nouns import Question
from plumbline.data.problem import FieldError
from plumbline.data.records import Records
from plumbline.data.strict import kind_of, parse_object

FIELDS = ("question", "sides", "passage", "answer", "id")


def open_questions(path: str | Path, *, skip_bad: bool = False) -> tuple[list[Question], list[RowError]]:
    """The questions of a file, and the rows that were left out (with `skip_bad`; else the first bad row is the error)."""
    records, found, skipped = Records(path), [], []
    first: dict[str, int] = {}
    for i in range(len(records)):
        row = records.number(i)
        try:
            question = _question(records, i)
            if first.setdefault(question.id, row) != row:
                raise FieldError("id", f"is {question.id!r}, as in row {first[question.id]}", "Give every question an id of its own.")
            found.append(question)
        except FieldError as problem:
            if not skip_bad:
                raise problem.at(str(path), row) from None
            skipped.append(problem.at(str(path), row))
    if not found:
        raise UserError(f"{path}: none of its rows can be used; the first: {skipped[0].message}", skipped[0].mend)
    return found, skipped


def _question(records: Records, i: int) -> Question:
    number = records.number(i)
    if number in records.flaws:
        raise records.flaws[number]
    row = parse_object(records.raw(i))
    sides = _sides(row)
    answer = _text(row, "answer") if row.get("answer") not in (None, "") else ""
    if answer and answer not in sides:
        raise FieldError("answer", f"is {answer[:40]!r}, which is none of the sides", "Write the right side as it stands in sides.")
    passage = _text(row, "passage") if row.get("passage") not in (None, "") else ""
    meta = {key: value for key, value in row.items() if key not in FIELDS}
    return Question(_text(row, "question"), sides, passage, answer, meta, _name(row, number))


def _name(row: dict[str, Any], number: int) -> str:
    value = row.get("id")
    if value is not None and not isinstance(value, str | int):
        raise FieldError("id", f"is {kind_of(value)}, not text or a number", "Name the question.")
    return f"row {number}" if value in (None, "") else str(value)


def _text(row: dict[str, Any], name: str) -> str:
    if name not in row:
        raise FieldError(name, "is missing", 'A row is {"question": …, "sides": [two texts], "passage": …, "answer": …}.')
    value = row[name]
    if not isinstance(value, str):
        raise FieldError(name, f"is {kind_of(value)}, not text", "Mend the row.")
    if not value.strip():
        raise FieldError(name, "is empty", "Fill it, or remove the row.")
    return value


def _sides(row: dict[str, Any]) -> tuple[str, str]:
    if "sides" not in row:
        raise FieldError("sides", "is missing", 'Write the two answers, "sides": ["yes", "no"].')
    value = row["sides"]
    if isinstance(value, str):  # a cell of CSV
        try:
            value = json.loads(value)
        except ValueError:
            value = None
    if not isinstance(value, list) or len(value) != 2 or not all(isinstance(x, str) and x.strip() for x in value):
        raise FieldError("sides", "is not a list of two texts", 'Write the two answers, "sides": ["yes", "no"].')
    if value[0].split() == value[1].split():
        raise FieldError("sides", "are the same answer twice", "Write two different answers.")
    return value[0], value[1]
