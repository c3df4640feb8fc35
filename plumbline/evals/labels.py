"""What a reward is worth on labelled replies: thumbs that it was not trained on.

order       P(score of a thumb up > score of a thumb down), ties one half: the area under the ROC curve, which needs no threshold
accuracy    share of the labels that "score above the cut" gives back, where a cut is known; beside always saying the commoner label

Intervals are bootstrapped over rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from plumbline.core.errors import UserError
from plumbline.core.interfaces import Reward
from plumbline.core.nouns import Label
from plumbline.evals import stats
from plumbline.evals.rewards import games_of
from plumbline.evals.stats import Figure
from plumbline.rewards.items import fixed

DRAWS = 1000


def of_labels(reward: Reward, rows: Sequence[Label], cut: float | None = None) -> dict[str, Figure]:
    """{"order", "accuracy", "commonest"}; the last two where `cut` says above which score a reply is good."""
    up_N = np.array([row.desirable for row in rows])
    if up_N.all() or not up_N.any():
        raise UserError("all held-out labels are the same", "Give rows with a thumb up and rows with a thumb down.")
    score_N = np.array(fixed(reward)(games_of(rows)).total)
    found = {"order": order(score_N[up_N], score_N[~up_N])}
    if cut is None:
        return found
    common = up_N.mean() >= 0.5
    return {
        **found,
        "accuracy": stats.mean(((score_N > cut) == up_N).astype(float)),
        "commonest": stats.mean((up_N == common).astype(float)),
    }


def order(up_U: NDArray[np.float64], down_D: NDArray[np.float64]) -> Figure:
    """The share of pairs of a good and a bad reply in which the good one scores higher."""
    gap_UD = up_U[:, None] - down_D[None, :]
    right_UD = np.where(gap_UD == 0, 0.5, (gap_UD > 0).astype(float))
    rng = np.random.default_rng(0)
    w_BU, w_BD = (rng.multinomial(n, np.full(n, 1 / n), size=DRAWS).astype(float) for n in right_UD.shape)
    drawn = ((w_BU @ right_UD) * w_BD).sum(1) / right_UD.size
    lo, hi = np.percentile(drawn, [2.5, 97.5])
    return Figure(float(right_UD.mean()), float(lo), float(hi), sum(right_UD.shape))
