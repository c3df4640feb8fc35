"""Counter-based chance: every draw is named by (seed, what, number), so item i never depends on its batch."""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def rng(*key: object) -> random.Random:
    """A stream of its own for this key; equal keys give equal streams on every machine."""
    return random.Random("/".join(map(str, key)))


def bucket(text: str, buckets: int = 10) -> int:
    """A stable hash of `text` into 0 … buckets−1."""
    return zlib.crc32(text.encode()) % buckets


def weighted(chance: random.Random, table: Sequence[tuple[float, T]]) -> T:
    """One entry of [(weight, entry), …], with probability proportional to its weight."""
    return chance.choices([entry for _, entry in table], [weight for weight, _ in table])[0]
