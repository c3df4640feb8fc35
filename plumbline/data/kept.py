"""Some rows of a file as a new file of the same format, each row byte for byte as it was.

JSON lines stay lines, a list stays a list, CSV and TSV keep their header, Parquet its columns; what was compressed is compressed.   A
folder saved by `datasets` becomes a Parquet file, which every command reads as it reads the folder.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from plumbline.core.errors import UserError
from plumbline.data.records import Records
from plumbline.data.tables import WIDEST

Wanted = frozenset[int] | set[int]
_MARKS = {".csv": ",", ".tsv": "\t"}


def suffix_of(source: Path) -> str:
    """The ending of the new file's name: that of the old one, `.gz` and all."""
    if source.is_dir() or _head(source)[:4] == b"PAR1":
        return ".parquet"
    names = [s.lower() for s in source.suffixes]
    kind = next((s for s in reversed(names) if s != ".gz"), "")
    plain = kind if kind in (".json", ".jsonl", ".ndjson", *_MARKS) else ".jsonl"
    return plain + (".gz" if _packed(source) else "")


def write(source: Path, target: Path, rows: Wanted, records: Records) -> None:
    """Write the rows (by their numbers in the file) to a file that must not exist."""
    if source.is_dir() or target.name.endswith(".parquet"):
        _parquet(source, target, rows)
        return
    mark = next((mark for ending, mark in _MARKS.items() if ending in (s.lower() for s in source.suffixes)), "")
    with target.open("xb") as handle:
        if not _packed(source):
            _text(source, handle, rows, records, mark)
        else:
            with gzip.GzipFile(fileobj=handle, mode="wb", mtime=0, filename="") as packed:
                _text(source, cast("IO[bytes]", packed), rows, records, mark)


def _text(source: Path, out: IO[bytes], rows: Wanted, records: Records, mark: str) -> None:
    if mark:
        _separated(source, out, rows, mark)
        return
    found = (records.raw(i).strip() for i in range(len(records)) if records.number(i) in rows)
    if not _is_list(source):
        out.writelines(raw + b"\n" for raw in found)
        return
    for k, raw in enumerate(found):
        out.write((b",\n" if k else b"[\n") + raw)
    out.write(b"\n]\n")


def _head(source: Path) -> bytes:
    with _opened(source) as handle:
        return handle.read(1 << 16)


def _packed(source: Path) -> bool:
    with source.open("rb") as handle:
        return handle.read(2) == b"\x1f\x8b"


def _opened(source: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(source, "rb")) if _packed(source) else source.open("rb")


def _is_list(source: Path) -> bool:
    return _head(source).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"["


def _separated(source: Path, out: IO[bytes], rows: Wanted, mark: str) -> None:
    """The lines that each row of a table was read from, its header's first."""
    before = csv.field_size_limit(WIDEST)
    try:
        with _opened(source) as handle:
            taken: list[bytes] = []
            lines = csv.reader(_noting(handle, taken), delimiter=mark, strict=True)
            header = next(lines)
            nameless = len(header) == 2 and header[1] in ("0", "1")  # as records.py reads such a table: its first line is a row
            number = 1 if nameless else 0
            if not nameless or number in rows:
                out.writelines(_whole(taken))
            while True:
                taken.clear()
                cells = _next(lines)
                if cells is None:
                    return
                number += bool(cells)
                if cells and number in rows:
                    out.writelines(_whole(taken))
    finally:
        csv.field_size_limit(before)


def _noting(lines: IO[bytes], taken: list[bytes]) -> Iterator[str]:
    for i, line in enumerate(lines):
        taken.append(line)
        yield line.decode("utf-8-sig" if i == 0 else "utf-8", "surrogateescape")


def _next(lines: Iterator[list[str]]) -> list[str] | None:
    """The next row's cells, none for a blank line, None at the end; a row that cannot be split has been named already."""
    try:
        return next(lines)
    except StopIteration:
        return None
    except csv.Error:
        return ["bad"]


def _whole(taken: list[bytes]) -> list[bytes]:
    """The lines, the last with its end (a file's last line may lack it)."""
    return [*taken[:-1], taken[-1] if taken[-1].endswith(b"\n") else taken[-1] + b"\n"]


def _parquet(source: Path, target: Path, rows: Wanted) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if target.exists():
        raise UserError(f"{target} exists already", "Give another --out.")
    writer: Any = None
    number = 0
    for batch in _folder(source) if source.is_dir() else _batches(source):
        at = [i for i in range(batch.num_rows) if number + i + 1 in rows]
        number += batch.num_rows
        writer = writer or pq.ParquetWriter(target, batch.schema)
        if at:
            writer.write_batch(batch.take(pa.array(at)))
    if writer:
        writer.close()


def _batches(source: Path) -> Iterator[Any]:
    import pyarrow.parquet as pq

    with _opened(source) as handle:
        yield from pq.ParquetFile(handle).iter_batches(256)


def _folder(source: Path) -> Iterator[Any]:
    import pyarrow as pa

    names = [entry["filename"] for entry in json.loads((source / "state.json").read_text("utf-8"))["_data_files"]]
    for name in names:
        with pa.memory_map(str(source / name)) as mapped, pa.ipc.open_stream(mapped) as stream:
            yield from stream
