"""A rate as a judge counts it, and as it would be if the judge never erred.

    precision P = TP / (TP + FP),   recall R = TP / (TP + FN),   specificity S = TN / (TN + FP)       of labelled replies
    corrected   = (rate + S − 1) / (R + S − 1)                                                        Rogan and Gladen 1978

On replies with as many bad ones as the labelled have, that is rate · P / R.   The interval redraws the count of the judge (binomial) and
its errors (Beta posteriors with Jeffreys' prior).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from plumbline.evals.stats import DRAWS, Figure


@dataclass(frozen=True, slots=True)
class Confusion:
    """Labelled replies: bad ones that the judge called bad (tp) or fine (fn), fine ones that it called bad (fp) or fine (tn)."""

    tp: int
    fp: int
    fn: int
    tn: int

    @staticmethod
    def of(pairs: Iterable[tuple[bool, bool]]) -> Confusion:
        """From (the judge says bad, it is bad)."""
        rows = list(pairs)
        return Confusion(*(rows.count(cell) for cell in ((True, True), (True, False), (False, True), (False, False))))

    @property
    def n(self) -> int:
        """Labelled replies."""
        return self.tp + self.fp + self.fn + self.tn

    @property
    def precision(self) -> float | None:
        """None where the judge called nothing bad."""
        return _share(self.tp, self.fp)

    @property
    def recall(self) -> float | None:
        """None where nothing is bad."""
        return _share(self.tp, self.fn)

    @property
    def specificity(self) -> float | None:
        """None where nothing is fine."""
        return _share(self.tn, self.fp)

    def __str__(self) -> str:
        return f"precision {_said(self.precision)}, recall {_said(self.recall)} on {self.n} labelled"


def _share(part: int, rest: int) -> float | None:
    return part / (part + rest) if part + rest else None


def _said(share: float | None) -> str:
    return "unknown" if share is None else f"{share:.2f}"


def corrected(hits: int, scored: int, judge: Confusion, *, draws: int = DRAWS, seed: int = 0) -> Figure | None:
    """The rate with the judge's errors taken out; None where they are not known, or the judge is no better than a coin."""
    recall, specificity = judge.recall, judge.specificity
    if not scored or recall is None or specificity is None or recall + specificity <= 1:
        return None
    rng = np.random.default_rng(seed)
    rate_D = rng.binomial(scored, hits / scored, draws) / scored
    recall_D = rng.beta(judge.tp + 0.5, judge.fn + 0.5, draws)
    specificity_D = rng.beta(judge.tn + 0.5, judge.fp + 0.5, draws)
    power_D = recall_D + specificity_D - 1
    lo, hi = np.percentile(np.clip((rate_D + specificity_D - 1)[power_D > 0] / power_D[power_D > 0], 0, 1), [2.5, 97.5])
    mean = min(1.0, max(0.0, (hits / scored + specificity - 1) / (recall + specificity - 1)))
    return Figure(mean, float(min(lo, mean)), float(max(hi, mean)), scored)
