"""What is wrong with one row, before anyone knows which file and row it came from."""

from __future__ import annotations

from plumbline.core.errors import RowError

WHOLE = "(whole row)"


class FieldError(Exception):
    """A row cannot be used because of `field`: what is wrong, and the mend.   `alone`: other rows may well be right."""

    def __init__(self, field: str, problem: str, mend: str, *, alone: bool = True) -> None:
        super().__init__(field, problem, mend)
        self.field, self.problem, self.mend, self.alone = field, problem, mend, alone

    def at(self, file: str, row: int) -> RowError:
        """The same, naming file and row, and saying how to go on without the row."""
        skip = " Or pass --skip_bad to leave such rows out (they are listed in skipped.jsonl)." if self.alone else ""
        return RowError(file, row, self.field, self.problem, self.mend + skip)
