"""Figures with intervals: means over prompts and seeds, bootstrapped over both.

Scores come as a matrix of seeds × prompts.   Prompts are shared by the seeds, so rows and columns are drawn again
independently (a crossed bootstrap, Owen 2007, "The pigeonhole bootstrap", Ann. Appl. Stat. 1(2)); a comparison draws
*differences*, so what a prompt or a seed does to both arms cancels.

The percentile interval of a crossed bootstrap is somewhat wide for many seeds (Owen shows at most 3×: each variance
component counted once more) and narrow for very few: with one seed it speaks of prompts only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

DRAWS = 2000


@dataclass(frozen=True, slots=True)
class Figure:
    """A mean with its 95 % interval.   `n` is the number of prompts (times seeds where there are several)."""

    mean: float
    lo: float
    hi: float
    n: int

    def json(self) -> dict[str, float]:
        """As every command prints it."""
        return {"mean": round(self.mean, 6), "lo": round(self.lo, 6), "hi": round(self.hi, 6), "n": self.n}

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.lo:.3f}, {self.hi:.3f}], n={self.n}"

    def signed(self) -> str:
        """With its sign, for differences."""
        return f"{self.mean:+.3f} [{self.lo:+.3f}, {self.hi:+.3f}], n={self.n}"


def as_json(value: Any) -> Any:
    """Figures, in mappings as deep as they come, as every command prints them."""
    return value.json() if isinstance(value, Figure) else {k: as_json(v) for k, v in value.items()}


def _matrix(scores: ArrayLike) -> NDArray[np.float64]:
    x_SP = np.atleast_2d(np.asarray(scores, dtype=np.float64))
    if x_SP.ndim != 2 or x_SP.size == 0:
        raise ValueError(f"scores must be prompts or seeds × prompts and not empty, not shape {x_SP.shape}")
    return x_SP


def _counts(size: int, draws: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """How often each of `size` units is drawn, per bootstrap draw; a single unit is kept as it is."""
    if size == 1:
        return np.ones((draws, 1))
    return rng.multinomial(size, np.full(size, 1 / size), size=draws).astype(np.float64)


def mean(scores: ArrayLike, *, draws: int = DRAWS, seed: int = 0) -> Figure:
    """Mean of prompts, or of seeds × prompts, with its percentile bootstrap interval."""
    x_SP = _matrix(scores)
    rng = np.random.default_rng(seed)
    w_DS, w_DP = _counts(x_SP.shape[0], draws, rng), _counts(x_SP.shape[1], draws, rng)
    means_D = np.einsum("ds,sp,dp->d", w_DS, x_SP, w_DP, optimize=True) / (w_DS.sum(1) * w_DP.sum(1))
    lo, hi = np.percentile(means_D, [2.5, 97.5])
    return Figure(float(x_SP.mean()), float(lo), float(hi), x_SP.size)


def difference(after: ArrayLike, before: ArrayLike, *, draws: int = DRAWS, seed: int = 0) -> Figure:
    """Paired mean difference `after − before`; a `before` of one row is compared with every seed of `after`."""
    a_SP, b_SP = _matrix(after), _matrix(before)
    if a_SP.shape[1] != b_SP.shape[1]:
        raise ValueError(f"not paired: {a_SP.shape[1]} prompts against {b_SP.shape[1]}")
    return mean(a_SP - b_SP, draws=draws, seed=seed)


def win_rate(after: ArrayLike, before: ArrayLike, *, tie: float = 1e-9, draws: int = DRAWS, seed: int = 0) -> Figure:
    """Share of prompts on which `after` scores higher; a tie counts one half."""
    gap_SP = _matrix(after) - _matrix(before)
    return mean(np.where(np.abs(gap_SP) <= tie, 0.5, (gap_SP > 0).astype(float)), draws=draws, seed=seed)


def by_key(scores: ArrayLike, keys: Sequence[str]) -> dict[str, Figure]:
    """One figure per distinct key of the prompts (family, split …), in order of first appearance."""
    x_SP = _matrix(scores)
    names = np.asarray(keys)
    return {k: mean(x_SP[:, names == k]) for k in dict.fromkeys(keys)}
