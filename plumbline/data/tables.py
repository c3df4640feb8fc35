"""Tables → JSON lines, a row at a time: CSV, TSV, Parquet, and folders saved by `datasets` (Arrow).

Cells of CSV are text.   `messages`, `conversations`, `completions`, `ranking`, `scores` hold JSON; `label` and `complete` true,
false, 1 or 0; `preference` and `weight` a number; an empty cell of an optional column is no value.   A table without a header is
read in one form only: a text and a label of 1 or 0, as SST-2 comes.
"""

from __future__ import annotations

import csv
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from plumbline.core.errors import UserError
from plumbline.data.problem import WHOLE, FieldError
from plumbline.data.strict import text_flaw

Reader = Callable[[IO[bytes], str, dict[int, FieldError]], Iterator[bytes]]
_JSON = {"messages", "conversations", "completions", "ranking", "scores", "instances", "chosen_messages", "rejected_messages"}
_TRUTH = {"true": True, "false": False, "1": True, "0": False}
_OPTIONAL = {"preference", "weight", "annotator", "complete"}
_BAD = b"null\n"  # stands in the spool where a row could not be split; the problem itself is in `flaws`
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|nan|NaN|[+-]?inf", re.ASCII)
WIDEST = 1 << 28


def reader(head: bytes, suffix: str) -> Reader | None:
    """How to read a table, or None if the file is not one."""
    if head == b"PAR1":
        return parquet_rows
    if suffix == ".csv":
        return csv_rows
    if suffix == ".tsv":
        return tsv_rows
    return None


def _dumped(row: dict[str, Any]) -> bytes:
    return json.dumps(row, ensure_ascii=True, default=_other).encode() + b"\n"


def _other(value: Any) -> Any:
    """What JSON has no word for: times and decimals as text, bytes as what no column of text accepts."""
    return {"bytes": len(value)} if isinstance(value, bytes) else str(value)


# CSV


def csv_rows(plain: IO[bytes], file: str, flaws: dict[int, FieldError]) -> Iterator[bytes]:
    """Rows of comma-separated text with a header."""
    return _separated(plain, file, flaws, ",")


def tsv_rows(plain: IO[bytes], file: str, flaws: dict[int, FieldError]) -> Iterator[bytes]:
    """Rows of tab-separated text with a header."""
    return _separated(plain, file, flaws, "\t")


@contextmanager
def _wide_cells() -> Iterator[None]:
    """The csv module's limit is one number for the whole process: raise it while we read, then put it back."""
    before = csv.field_size_limit(WIDEST)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _separated(plain: IO[bytes], file: str, flaws: dict[int, FieldError], mark: str) -> Iterator[bytes]:
    plain.seek(0)
    with _wide_cells():
        rows = csv.reader(_lenient(plain), delimiter=mark, strict=True)
        header = _header(rows, file, mark)
        if len(header) == 2 and header[1] in ("0", "1"):  # no name of a column: the first line is a row
            header, rows = ["text", "label"], itertools.chain([header], rows)
        number = 0
        while True:
            number += 1
            try:
                cells = next(rows)
                if cells:
                    yield _dumped(_row(header, cells))
                else:
                    number -= 1
            except StopIteration:
                return
            except FieldError as problem:
                flaws[number] = problem
                yield _BAD
            except csv.Error as error:
                flaws[number] = FieldError(
                    WHOLE, f"cannot be split into cells: {error}", 'Quote cells with "…" and double the quotes inside.'
                )
                yield _BAD


def _lenient(lines: Iterable[bytes]) -> Iterator[str]:
    """Lines as text; bytes that are not UTF-8 become lone surrogates, which the row's own check then finds."""
    for i, line in enumerate(lines):
        yield line.decode("utf-8-sig" if i == 0 else "utf-8", "surrogateescape")


def _header(rows: Iterator[list[str]], file: str, mark: str) -> list[str]:
    mend = "The first line names the columns, for example prompt,chosen,rejected."
    try:
        header = next(rows, [])
    except csv.Error as error:
        raise UserError(f"{file}: the header cannot be read ({error})", mend) from None
    if any(text_flaw(name) for name in header):
        raise UserError(f"{file}: the header is not UTF-8 text", "Save the file as UTF-8.")
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        raise UserError(f"{file}: the column {twice[0]!r} stands twice in the header", mend)
    if len(header) == 1 and any(other in header[0] for other in ";\t,|" if other != mark):
        raise UserError(
            f"{file}: its columns are not separated by {'tabs' if mark == chr(9) else 'commas'}", "Save it with the right mark."
        )
    return header


def _row(header: list[str], cells: list[str]) -> dict[str, Any]:
    if len(cells) != len(header):
        raise FieldError(
            WHOLE, f"has {len(cells)} cells, the header {len(header)}", 'Quote cells that hold the separator or a line break with "…".'
        )
    row = {name: _cell(name, cell) for name, cell in zip(header, cells, strict=True) if name}
    return {name: cell for name, cell in row.items() if cell is not None}


def _cell(name: str, cell: str) -> Any:
    if flaw := text_flaw(cell):
        raise FieldError(name, flaw if "NUL" in flaw else "is not UTF-8", "Save the file as UTF-8 text.")
    if cell == "" and name in _OPTIONAL:
        return None
    if name in _JSON or (name in {"prompt", "chosen", "rejected", "completion"} and cell.startswith('[{"')):
        return _json_cell(name, cell)
    if name in {"label", "complete"}:
        return _TRUTH.get(cell.strip().lower(), cell)
    if name in {"preference", "weight"}:
        return _number(cell)
    if cell.startswith(("[{'", "{'")):
        raise FieldError(name, "is a Python list or dict printed into a cell", "Save the table as JSON lines instead.")
    return cell


def _json_cell(name: str, cell: str) -> Any:
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        raise FieldError(name, "is not valid JSON", "In CSV this column holds JSON; or save the table as JSON lines.") from None


def _number(cell: str) -> float | str:
    return float(cell) if _NUMBER.fullmatch(cell) else cell


# Parquet and Arrow


def parquet_rows(plain: IO[bytes], file: str, flaws: dict[int, FieldError]) -> Iterator[bytes]:
    """Rows of a Parquet file, a batch at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        for batch in pq.ParquetFile(plain).iter_batches(256):
            yield from _arrow(batch)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{file} is not readable Parquet: {str(error).splitlines()[0]:.120}", "Write or download it again.") from None


def arrow_rows(folder: Path) -> Iterator[bytes]:
    """Rows of a folder written by `Dataset.save_to_disk`."""
    import pyarrow as pa

    if (folder / "dataset_dict.json").exists():
        splits = ", ".join(sorted(p.parent.name for p in folder.glob("*/state.json")))
        raise UserError(f"{folder} holds several splits ({splits})", f"Name one, for example {folder}/{splits.split(',')[0]}.")
    if not (folder / "state.json").exists():
        raise UserError(f"{folder} is a folder, but not one saved by datasets", "Give a file, or a folder written by Dataset.save_to_disk.")
    try:
        names = [entry["filename"] for entry in json.loads((folder / "state.json").read_text("utf-8"))["_data_files"]]
        for name in names:
            with pa.memory_map(str(folder / name)) as source, pa.ipc.open_stream(source) as stream:
                for batch in stream:
                    yield from _arrow(batch)
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder} is a damaged datasets folder: {error!s:.120}", "Save the dataset again.") from None


def _arrow(batch: Any) -> Iterator[bytes]:
    for row in batch.to_pylist():
        yield _dumped({name: _plain(value) for name, value in row.items() if value is not None})


def _plain(value: Any) -> Any:
    """Structs come back with every field that any row has: the empty ones are left out."""
    if isinstance(value, dict):
        return {name: _plain(inside) for name, inside in value.items() if inside is not None}
    if isinstance(value, list):
        return [_plain(inside) for inside in value]
    return value
