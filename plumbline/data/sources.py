"""What `--data` names: a file, a folder, or a world's spec such as `town:comparisons?n=1000`; and its hash for config.yaml."""

from __future__ import annotations

import hashlib
from pathlib import Path

from plumbline.core.errors import UserError

WORLDS = ("town",)


def is_world(spec: str) -> bool:
    """Whether a spec names a world's data and not a file: `town:…` with nothing of that name on disk."""
    return spec.partition(":")[0] in WORLDS and not Path(spec).exists()


def data_hash(path: str | Path) -> str:
    """SHA-256 of a file's bytes; of a folder, over the names and bytes of all its files in order."""
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path} does not exist", "Check the path (relative to the current folder).")
    if path.is_file():
        return _file_hash(path)
    whole = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        whole.update(f"{file.relative_to(path).as_posix()}\0{_file_hash(file)}\n".encode())
    return whole.hexdigest()


def _file_hash(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
