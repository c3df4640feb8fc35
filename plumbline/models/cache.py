"""A reference whose numbers are computed once: per group, on disk, keyed by everything that they depend on.

    key = hash(weights and adapter, dtype, kernel version, temperature, prompt ids, completion ids)

One SQLite file: a part's new numbers are written in one transaction before they are used, so a run that is killed and resumed
reads the very numbers that it used before.   What does not pass its checksum is computed again; the oldest go when the limit is passed.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import final

import numpy as np
import torch
from torch import Tensor

from plumbline.core.batches import Group, Part
from plumbline.core.errors import UserError
from plumbline.models.groups import KERNEL_VERSION
from plumbline.models.lm import LM, Scored

TABLE = "CREATE TABLE IF NOT EXISTS numbers (key BLOB PRIMARY KEY, value BLOB NOT NULL, age INTEGER NOT NULL) WITHOUT ROWID"
SUM = 8  # bytes of checksum before each value
ROW = 56  # bytes of a row beside its numbers: key, checksum, age and what SQLite adds


@final
class CachedReference:
    """`token_logps` and `logps` of a frozen LM, from disk where they are there."""

    def __init__(self, lm: LM, directory: str | os.PathLike[str], limit_gb: float = 4.0) -> None:
        if lm.trainable:
            raise ValueError("a model that is still trained has no numbers to keep: pass lm.frozen()")
        self.lm, self.limit = lm, int(limit_gb * 2**30)
        self.path = Path(directory) / "reference.sqlite"
        self.hits = self.misses = 0
        self._of = f"{lm.fingerprint()} {lm.body.dtype} {KERNEL_VERSION}"
        self._db = self._open()
        self._bytes = self._size()

    def parameters(self) -> list[Tensor]:
        """None: a reference is not trained."""
        return []

    def token_logps(self, scored: Scored, *, temperature: float = 1.0) -> Tensor:
        """(N, T) nats as `LM.token_logps`, without gradients."""
        groups = scored.groups if isinstance(scored, Part) else scored
        keys = [self._key(g, temperature) for g in groups]
        found = self._read(keys)
        missing = {key: g for key, g in zip(keys, groups, strict=True) if key not in found}
        self.hits, self.misses = self.hits + len(groups) - len(missing), self.misses + len(missing)
        if missing:
            fresh = self._compute(list(missing.values()), temperature)
            values = dict(zip(missing, fresh, strict=True))
            self._write(values)
            found |= values
        rows = [row for key, g in zip(keys, groups, strict=True) for row in _rows(found[key], g)]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).to(self.lm.device)

    def logps(self, part: Part) -> Tensor:
        """(G, K) nats of whole completions."""
        return part.sum(self.token_logps(part))

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _key(self, group: Group, temperature: float) -> bytes:
        return hashlib.sha256(repr((self._of, temperature, group.prompt, group.completions)).encode()).digest()

    def _compute(self, groups: Sequence[Group], temperature: float) -> list[np.ndarray]:
        logp_NT = self.lm.token_logps(groups, temperature=temperature).detach().float().cpu().numpy()
        found, n = [], 0
        for group in groups:
            found.append(np.concatenate([logp_NT[n + k, : len(c)] for k, c in enumerate(group.completions)]))
            n += len(group.completions)
        return found

    def _open(self) -> sqlite3.Connection:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                return self._connect()
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):
                    raise
                self.path.unlink()  # not a database any more: what it held can be computed again
                return self._connect()
        except (OSError, sqlite3.OperationalError) as error:
            raise UserError(f"{self.path}: the reference's numbers cannot be kept there ({error})", "Choose a writable place.") from error

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, timeout=60, isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=NORMAL")
            db.execute(TABLE)
        except sqlite3.DatabaseError:
            db.close()
            raise
        return db

    def _read(self, keys: Sequence[bytes]) -> dict[bytes, np.ndarray]:
        found = {}
        for key in keys:
            try:
                row = self._db.execute("SELECT value FROM numbers WHERE key = ?", (key,)).fetchone()
            except sqlite3.DatabaseError:
                row = None
            if row and _sum(row[0][SUM:]) == row[0][:SUM]:
                found[key] = np.frombuffer(row[0][SUM:], dtype=np.float32)
        return found

    def _write(self, values: dict[bytes, np.ndarray]) -> None:
        blobs = {key: value.astype(np.float32).tobytes() for key, value in values.items()}
        try:
            self._db.execute("BEGIN IMMEDIATE")
            age = self._db.execute("SELECT coalesce(max(age), 0) + 1 FROM numbers").fetchone()[0]
            self._db.executemany("INSERT OR REPLACE INTO numbers VALUES (?, ?, ?)", [(k, _sum(b) + b, age) for k, b in blobs.items()])
            self._bytes += sum(map(len, blobs.values())) + ROW * len(blobs)
            while self._bytes > self.limit and self._db.execute("DELETE FROM numbers WHERE age = (SELECT min(age) FROM numbers)").rowcount:
                self._bytes = self._size()
            self._db.execute("COMMIT")
        except sqlite3.DatabaseError:  # a full disk or a damaged page costs time, not the run: the numbers are computed again
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def _size(self) -> int:
        return self._db.execute("SELECT coalesce(sum(length(value) + ?), 0) FROM numbers", (ROW - SUM,)).fetchone()[0]


def _sum(blob: bytes) -> bytes:
    return hashlib.blake2b(blob, digest_size=SUM).digest()


def _rows(values: np.ndarray, group: Group) -> list[Tensor]:
    return list(torch.from_numpy(values.copy()).split([len(c) for c in group.completions]))
