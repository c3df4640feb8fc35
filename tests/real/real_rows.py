"""Rows written and read without plumbline."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    """A JSONL file of rows."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSON list or JSONL file, plain or .gz, read without plumbline."""
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
    return json.loads(text) if text.lstrip().startswith("[") else [json.loads(line) for line in text.splitlines() if line]
