"""What a row that trains no language model needs of its laboratory, so that it does not reach all of `common`."""

from __future__ import annotations

from typing import Protocol


class Seed(Protocol):
    """One seed.   `alike`: the control is asked for; `count`: `n` at the size of this run."""

    @property
    def seed(self) -> int: ...
    @property
    def alike(self) -> bool: ...
    def count(self, n: int, least: int = 1) -> int: ...
