"""`open_rows`: a file as a sequence of feedback, checked from end to end before anyone trains on it, read again row by row."""

from __future__ import annotations

import json
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

from plumbline.core.errors import RowError, UserError
from plumbline.data.columns import CUT, CUTS, KINDS, Item, items, native
from plumbline.data.foreign import ours
from plumbline.data.problem import FieldError
from plumbline.data.records import Records
from plumbline.data.strict import parse_object


class Rows(Sequence[Any]):
    """The feedback in a file, in file order; a row may hold several items (a chat: one per assistant turn).

    `kind`: what the items are.   `used`: how many rows that is.   `skipped`: an error per row left out.   `conversions`: how often which
    foreign form or other kind was read as ours, and how implicit prompts were cut.   `columns`: names seen, with counts.
    """

    def __init__(self, path: str | Path, kind: type | None, *, skip_bad: bool = False) -> None:
        self.file = str(path)
        self._records = Records(path)
        self.skipped: list[RowError] = []
        self.conversions: Counter[str] = Counter()
        self.columns: Counter[str] = Counter()
        self.kinds: Counter[type] = Counter()
        self._good, self._firsts = array("Q"), array("Q", [0])  # record of the r-th row used; items before it
        self.kind: type = kind or object
        self._read_all(skip_bad)

    @property
    def used(self) -> int:
        """Rows used."""
        return len(self._good)

    def __len__(self) -> int:
        return self._firsts[-1]

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = index + len(self) if index < 0 else index
        if not 0 <= index < len(self):
            raise IndexError(index)
        r = bisect_right(self._firsts, index) - 1
        return self._items(r)[index - self._firsts[r]]

    def __iter__(self) -> Iterator[Any]:
        for _, found in self.by_row():
            yield from found

    def by_row(self) -> Iterator[tuple[int, tuple[Any, ...]]]:
        """(row in the file, its items), in file order."""
        for r in range(self.used):
            yield self._records.number(self._good[r]), tuple(self._items(r))

    def row(self, index: int) -> int:
        """The 1-based row of the file that the item at `index` came from."""
        return self._records.number(self._good[bisect_right(self._firsts, index) - 1])

    def _items(self, r: int) -> list[Item]:
        found, _ = _parsed(self._records.raw(self._good[r]), self.kind)
        return found

    def _read_all(self, skip_bad: bool) -> None:
        """The structural pass: every row is parsed and checked, only its place is kept."""
        for i in range(len(self._records)):
            try:
                self._take(i)
            except FieldError as problem:
                error = problem.at(self.file, self._records.number(i))
                if not skip_bad:
                    raise error from None
                self.skipped.append(error)
        if not self._good:
            raise UserError(
                f"{self.file}: none of its {len(self._records)} rows can be used; the first: {self.skipped[0].message}",
                self.skipped[0].mend,
            )

    def _take(self, i: int) -> None:
        flaw = self._records.flaws.get(self._records.number(i))
        if flaw:
            raise flaw
        row = parse_object(self._records.raw(i))
        if self.kind is object:
            self.kind = native(ours(row, None)[0][0])
        found, said = _converted(row, self.kind)
        self.columns.update(row.keys())
        self.conversions.update(said)
        self._good.append(i)
        self._firsts.append(self._firsts[-1] + len(found))


def _parsed(raw: bytes, kind: type) -> tuple[list[Item], list[str]]:
    return _converted(parse_object(raw), kind)


def _converted(row: dict[str, Any], kind: type) -> tuple[list[Item], list[str]]:
    """The items of a row, and what was done to read them (for the counts)."""
    found: list[Item] = []
    rows, foreign = ours(row, kind)
    said = [foreign] if foreign else []
    for one in rows:
        made, conversion = items(one, kind)
        found += made
        said += [conversion] if conversion else []
        cut = made[0].meta.get(CUT)
        said += [cut] if cut in CUTS else []
    return found, said


def open_rows(path: str | Path, kind: type | None = None, *, skip_bad: bool = False) -> Rows:
    """Read and check a whole file of feedback (or of `Prompt`s).   `kind` None: whatever the first row is.

    A bad row raises a `RowError` with file, row, field and mend; with `skip_bad` it is left out and listed in `.skipped`.
    """
    if kind is not None and kind not in KINDS:
        raise UserError(f"there is no kind of feedback {kind.__name__!r}", f"Kinds: {', '.join(k.__name__ for k in KINDS)}.")
    return Rows(path, kind, skip_bad=skip_bad)


def write_skipped(path: str | Path, skipped: Sequence[RowError]) -> None:
    """List what was left out: a line of JSON per row, appended."""
    with Path(path).open("a", encoding="utf-8") as handle:
        for e in skipped:
            record = {"file": e.file, "row": e.row, "field": e.field, "problem": e.problem, "mend": e.mend}
            handle.write(json.dumps(record, ensure_ascii=False) + "\n")
