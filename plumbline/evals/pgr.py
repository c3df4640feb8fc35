"""Performance gap recovered: how much of what lies between a weak supervisor and a strong ceiling the strong student got.

    PGR = (student − weak) / (ceiling − weak)         Burns et al. 2023, arXiv 2312.09390, §3

Three parts, each a score per prompt of the same prompts (or seeds × prompts): the supervisor trained on the truth, the student trained
on the supervisor's labels, the strong model trained on the truth.   A share of nothing is no number: where the interval of the gap
reaches 0, PGR is refused, and only the parts are given.   Intervals are 95 %, of a bootstrap over seeds and prompts (see evals/stats.py);
the draws of the share take numerator and denominator from the same seeds and prompts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from plumbline.evals import stats
from plumbline.evals.stats import Figure

DRAWS = 2000


@dataclass(frozen=True)
class Recovered:
    """The three parts, the two paired differences, and the share; `share` is None where `refused` says why."""

    weak: Figure
    student: Figure
    ceiling: Figure
    gained: Figure
    gap: Figure
    share: Figure | None
    refused: str

    def json(self) -> dict[str, Any]:
        """As every command prints it."""
        parts = {"weak": self.weak, "student": self.student, "ceiling": self.ceiling, "student over weak": self.gained, "gap": self.gap}
        return {**stats.as_json(parts), "pgr": self.share.json() if self.share else None, "refused": self.refused}

    def __str__(self) -> str:
        return str(self.share) if self.share else self.refused

    def lines(self) -> list[str]:
        """A line for the share, and one for each of its parts."""
        parts = [("weak supervisor", str(self.weak)), ("student", str(self.student)), ("strong ceiling", str(self.ceiling))]
        parts += [("student − weak", self.gained.signed()), ("ceiling − weak", self.gap.signed())]
        return [f"performance gap recovered: {self}", *(f"    {name:16} {words}" for name, words in parts)]


def recovered(weak: ArrayLike, student: ArrayLike, ceiling: ArrayLike, *, draws: int = DRAWS, seed: int = 0) -> Recovered:
    """PGR of scores of the same prompts, or of seeds × prompts."""
    weak_SP, student_SP, ceiling_SP = (np.atleast_2d(np.asarray(x, dtype=np.float64)) for x in (weak, student, ceiling))
    if not weak_SP.shape == student_SP.shape == ceiling_SP.shape:
        raise ValueError(f"the parts are of other prompts: {weak_SP.shape}, {student_SP.shape}, {ceiling_SP.shape}")
    gained, gap = (stats.difference(x_SP, weak_SP, draws=draws, seed=seed) for x_SP in (student_SP, ceiling_SP))
    refused = _refused(gap)
    share = None if refused else _share(student_SP - weak_SP, ceiling_SP - weak_SP, draws, seed)
    return Recovered(stats.mean(weak_SP), stats.mean(student_SP), stats.mean(ceiling_SP), gained, gap, share, refused)


def _refused(gap: Figure) -> str:
    """Why there is nothing to recover a share of, or nothing."""
    if gap.lo > 0:
        return ""
    how = "the ceiling is below the supervisor" if gap.hi < 0 else "the gap from supervisor to ceiling is within noise"
    return f"refused: {how} ({gap.signed()})"


def _share(gained_SP: NDArray[np.float64], gap_SP: NDArray[np.float64], draws: int, seed: int) -> Figure:
    """The ratio of the means, and the middle 95 % of it over seeds and prompts drawn again for both alike."""
    rng = np.random.default_rng(seed)
    w_DS, w_DP = (rng.multinomial(n, np.full(n, 1 / n), size=draws).astype(np.float64) for n in gap_SP.shape)
    gained_D, gap_D = (np.einsum("ds,sp,dp->d", w_DS, x_SP, w_DP, optimize=True) for x_SP in (gained_SP, gap_SP))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio_D = gained_D / gap_D
    lo, hi = np.percentile(ratio_D[np.isfinite(ratio_D)], [2.5, 97.5])
    return Figure(float(gained_SP.mean() / gap_SP.mean()), float(lo), float(hi), gap_SP.size)


def compared(scores: Mapping[str, ArrayLike], students: Sequence[str]) -> dict[str, Recovered]:
    """Of scores by model, among them "weak" and "ceiling", what each of the students that are there recovered."""
    return {name: recovered(scores["weak"], scores[name], scores["ceiling"]) for name in students if name in scores}
