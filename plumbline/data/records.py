"""A file as numbered records of JSON, by offset: one structural pass, nothing held but 24 bytes per record.

JSON lines and a JSON list are mapped into memory as they lie on disk.   What is compressed (.gz) is spooled once to a temporary
file; tables (CSV, TSV, Parquet, a saved `datasets` folder) are spooled once as JSON lines (tables.py).   Formats are told by
their content, except CSV and TSV, which have only their name.
"""

from __future__ import annotations

import gzip
import mmap
import re
import tempfile
import zlib
from array import array
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

from plumbline.core.errors import UserError
from plumbline.data import tables
from plumbline.data.problem import FieldError

Span = tuple[int, int, int]  # start, end, row number
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{},"]', re.DOTALL)
_FORMATS = "Readable: JSON lines, a JSON list, CSV, TSV, Parquet (each plain or .gz), a folder saved by datasets."
BOMS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}


class Records:
    """Records of a file: `raw(i)` is the JSON text of the i-th, `number(i)` its 1-based row in the file.

    JSON lines are numbered as an editor numbers lines, list elements and table rows from 1 (a CSV header is not a row).
    `flaws`: rows of a table that could not even be split into cells.
    """

    def __init__(self, path: str | Path) -> None:
        self.file = str(path)
        self.flaws: dict[int, FieldError] = {}
        self._data: Any = b""
        self._starts, self._ends, self._numbers = array("Q"), array("Q"), array("Q")
        for start, end, number in self._spans(Path(path)):
            self._starts.append(start)
            self._ends.append(end)
            self._numbers.append(number)
        if not self._starts:
            raise UserError(f"{self.file} holds no rows", "Give a file with at least one row.")

    def __len__(self) -> int:
        return len(self._starts)

    def number(self, i: int) -> int:
        """The row of the i-th record in its file."""
        return self._numbers[i]

    def raw(self, i: int) -> bytes:
        """The JSON text of the i-th record."""
        return self._data[self._starts[i] : self._ends[i]]

    def _spans(self, path: Path) -> Iterator[Span]:
        if not path.exists():
            raise UserError(f"{self.file} does not exist", "Check the path (relative to the current folder).")
        if path.is_dir():
            self._data = _mapped(_spooled(tables.arrow_rows(path)), self.file)
            return _lines(self._data, 0)
        try:
            with _opened(path, self.file) as plain:
                return self._of(plain, path)
        except OSError as error:
            raise UserError(f"{self.file} could not be read: {error.strerror or error}", "Check permissions and free space.") from None

    def _of(self, plain: IO[bytes], path: Path) -> Iterator[Span]:
        head = plain.read(4)
        plain.seek(0)
        suffix = next((s.lower() for s in reversed(path.suffixes) if s.lower() != ".gz"), "")
        table = tables.reader(head, suffix)
        if table:
            self._data = _mapped(_spooled(table(plain, self.file, self.flaws)), self.file)
            return _lines(self._data, 0)
        self._data = _mapped(plain, self.file)
        return self._json()

    def _json(self) -> Iterator[Span]:
        begin = 3 if self._data[:3] == b"\xef\xbb\xbf" else 0
        if self._data[:2] in BOMS:
            raise UserError(f"{self.file} is {BOMS[self._data[:2]]}, not UTF-8", "Save it as UTF-8.")
        first = re.compile(rb"\S").search(self._data, begin)
        if first and first[0] == b"[":
            return _elements(self._data, first.end(), self.file)
        if first and first[0] == b"{":
            _refuse_one_object(self._data, first.start(), self.file)
            return _lines(self._data, begin)
        if first:
            raise UserError(f"{self.file} is in no format that plumbline reads", _FORMATS)
        return iter(())


def _opened(path: Path, file: str) -> IO[bytes]:
    """The plain bytes of a file; a compressed one is spooled once."""
    with ExitStack() as closing:
        handle = closing.enter_context(path.open("rb"))
        packed = handle.read(2) == b"\x1f\x8b"
        handle.seek(0)
        if not packed:
            closing.pop_all()
            return handle
        try:
            plain = closing.enter_context(gzip.GzipFile(fileobj=handle))
            return _spooled(iter(lambda: plain.read(1 << 20), b""))
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise UserError(f"{file} is damaged: {error}", "It is cut or corrupt; copy or download it again.") from None


def _spooled(pieces: Iterable[bytes]) -> IO[bytes]:
    """A temporary file without a name that holds the pieces; it vanishes when it is closed."""
    with ExitStack() as closing:
        spool = closing.enter_context(tempfile.TemporaryFile(prefix="plumbline-"))
        for piece in pieces:
            spool.write(piece)
        spool.seek(0)
        closing.pop_all()
        return spool


def _mapped(handle: IO[bytes], file: str) -> Any:
    """The bytes of a file as memory that the system pages in and out; the handle is closed."""
    with handle:
        if not handle.seek(0, 2):
            raise UserError(f"{file} is empty", "Give a file with at least one row.")
        return mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)


def _lines(data: Any, start: int) -> Iterator[Span]:
    number, size = 0, len(data)
    while start < size:
        number += 1
        end = data.find(b"\n", start)
        end = size if end < 0 else end
        if data[start:end].strip():
            yield start, end, number
        start = end + 1


def _elements(data: Any, at: int, file: str) -> Iterator[Span]:
    """The elements of a JSON list whose `[` ends at `at`."""
    start, number = at, 0
    for token in _boundaries(data, at):
        mark = token[0]
        if mark == b'"':
            raise UserError(f'{file}, row {number + 1}: a text is opened with " and never closed', "Mend the row, or copy the file again.")
        number += 1
        if data[start : token.start()].strip():
            yield start, token.start(), number
        elif mark == b"," or number > 1:
            raise UserError(f"{file}, row {number}: there is nothing between two commas or before the end", "Remove the extra comma.")
        start = token.end()
        if mark != b",":
            if data[start:].strip():
                raise UserError(f"{file}: something follows the end of the list, after row {number}", "Remove what follows.")
            return
    raise UserError(f"{file} ends in the middle of the list, in row {number + 1}", "It is cut; copy or download it again.")


def _boundaries(data: Any, at: int) -> Iterator[re.Match[bytes]]:
    """The commas between the elements of a list, the bracket that ends it, and a quote that is never closed."""
    depth = 1
    for token in _TOKEN.finditer(data, at):
        mark = token[0]
        depth += (mark in (b"[", b"{")) - (mark in (b"]", b"}"))
        if depth == 0 or mark == b'"' or (depth == 1 and mark == b","):
            yield token


def _refuse_one_object(data: Any, at: int, file: str) -> None:
    """A file that is a single object over many lines is not JSON lines; its every line would be called broken."""
    line = data[at : data.find(b"\n", at) if data.find(b"\n", at) >= 0 else len(data)].strip()
    if line == b"{":
        raise UserError(f"{file} is one JSON object over several lines, not rows", "Write one object per line, or a list [ … ] of objects.")
