"""Errors that a user can cause, said in one line with the mend.   The command line prints them and exits 2."""

from __future__ import annotations


class UserError(Exception):
    """Something outside plumbline is wrong: `message` says what and where, `mend` what to do about it."""

    def __init__(self, message: str, mend: str = "") -> None:
        super().__init__(f"{message}\n           {mend}" if mend else message)
        self.message = message
        self.mend = mend


class RowError(UserError):
    """A row of a data file that cannot be used: file, row (1-based) and field are named."""

    def __init__(self, file: str, row: int, field: str, problem: str, mend: str) -> None:
        subject = field if field.startswith("(") else f'"{field}"'  # "(whole row)" is no column's name
        super().__init__(f"{file}, row {row}: {subject} {problem}.", mend)
        self.file, self.row, self.field, self.problem = file, row, field, problem


class ProtocolError(Exception):
    """One item of a protocol could not be played to its end.   It is recorded and counted; the other items go on."""
