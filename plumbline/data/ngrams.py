"""Text as words, and runs of words as 64-bit numbers: what near-duplicates and diversity are counted in.

Words are lower case, without punctuation; a letter of a script that is written without spaces is a word.   Hashes are the same on every
machine and in every process.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
_NO_SPACES = "\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
_WORD = re.compile(rf"[{_NO_SPACES}]|(?:(?![{_NO_SPACES}])\w)+")


def words(text: str) -> list[str]:
    """The words of a text."""
    return _WORD.findall(text.lower())


@lru_cache(maxsize=1 << 18)
def _number(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=8).digest(), "little")


def numbers(text: str) -> Hashes:
    """(W,) a number per word; of a text without words, one for the whole."""
    said = words(text) or [text.strip()]
    return np.fromiter(map(_number, said), dtype=np.uint64, count=len(said))


def mixed(x: Hashes) -> Hashes:
    """Every bit of the result depends on every bit of x, one to one (the finaliser of SplitMix64, Steele et al. 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def runs(numbers_W: Hashes, n: int) -> Hashes:
    """(W − n + 1,) a number per run of n words, in the order of the text."""
    count = max(0, len(numbers_W) - n + 1)
    found = np.full(count, n, dtype=np.uint64)
    for k in range(n):
        found = mixed(found * np.uint64(0x9E3779B97F4A7C15) + numbers_W[k : k + count])
    return found


def shingles(numbers_W: Hashes, n: int) -> Hashes:
    """The set of a text's runs of n words, ascending; of a shorter text, one number for the whole."""
    return np.unique(runs(numbers_W, min(n, len(numbers_W))))
