"""The language: lower-case words and marks, ordinary spacing, a closed vocabulary.

`words` splits with ``\\w+|[^\\w\\s]``; `join` puts back what ordinary spacing is: no space before . , ? ! : ; and none around '.
So ``join(words(text)) == text`` for every text of the town, and any tokenizer of words can be used.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_WORD = re.compile(r"\w+|[^\w\s]")
_TIGHT_BEFORE = re.compile(r" ([.,?!:;])")
_TIGHT_AROUND = re.compile(r" ?' ?")


def words(text: str) -> list[str]:
    """The words and marks of a text, in order."""
    return _WORD.findall(text)


def join(items: Iterable[str]) -> str:
    """Words and marks with ordinary spacing."""
    return _TIGHT_AROUND.sub("'", _TIGHT_BEFORE.sub(r"\1", " ".join(items)))
