"""Prepared attacks: a file of questions as red teams publish them, in CSV, TSV, or rows that any prompt file has.

Of a table the first of these columns is read that is there:   prompt, goal (AdvBench), behavior, Behavior (JailbreakBench, HarmBench),
question, text;   or the one that is named.   Everything else is kept beside the question.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from plumbline.core.errors import UserError
from plumbline.core.nouns import Message, Prompt, plain
from plumbline.data.rows import open_rows

COLUMNS = ("prompt", "goal", "behavior", "Behavior", "question", "text")
TABLES = {".csv": ",", ".tsv": "\t"}


def attacks_in(path: str | Path, *, column: str = "", limit: int = 0) -> list[Prompt]:
    """The questions of a file as prompts of raw text, each with its other columns as `meta`; the first `limit`, 0 for all."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} does not exist", "Check the path (relative to the current folder).")
    found = _table(path, column) if path.suffix.lower() in TABLES else [_alone(p) for p in open_rows(path, Prompt)]
    return found[: limit or None]


def is_file(name: str) -> bool:
    """Whether a name is that of a file, and not of a model's directory."""
    return Path(name).is_file()


def _table(path: Path, column: str) -> list[Prompt]:
    with path.open(encoding="utf-8-sig", newline="") as handle:
        rows = csv.DictReader(handle, delimiter=TABLES[path.suffix.lower()])
        names: Sequence[str] = rows.fieldnames or ()
        wanted = next((name for name in ((column,) if column else COLUMNS) if name in names), "")
        if not wanted:
            mend = f"Name the column of the questions with --column, or give one of {', '.join(COLUMNS)}; a table needs a header."
            raise UserError(f"{path} has no column {column or 'of questions'} (it has {', '.join(map(str, names))[:80]})", mend)
        found = []
        for number, row in enumerate(rows, start=1):
            question = (row[wanted] or "").strip()
            if not question:
                raise UserError(f"{path}, row {number}: {wanted!r} is empty", "Fill it or remove the row.")
            found.append(Prompt(question, {k: v for k, v in row.items() if k and k != wanted and v}, f"{path.name} {number}"))
    if not found:
        raise UserError(f"{path} holds no attacks", "Give a file with a question a row.")
    return found


def _alone(prompt: Prompt) -> Prompt:
    """A chat of one user's turn as its text: the target's own template is put around it again."""
    context = prompt.context
    if isinstance(context, tuple) and len(context) == 1 and isinstance(context[0], Message):
        return Prompt(plain(context).removeprefix(f"{context[0].role}: "), prompt.meta, prompt.id)
    return prompt
