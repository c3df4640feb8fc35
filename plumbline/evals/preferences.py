"""Held-out preference accuracy of a model on comparisons, beside the baselines that it has to beat.

sum       log π(y⁺|x) > log π(y⁻|x)                                    what the policy finds likelier
mean      the same per token                                           so that length alone decides nothing
implicit  log π/ref (y⁺) > log π/ref (y⁻), DPO's implicit reward       Rafailov et al. 2023 (2305.18290), eq. 5
shorter   the shorter completion wins;   chance is one half;   a tie of any score counts one half
words     bag of words: logistic regression on the completions of *training* comparisons
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from plumbline.core.batches import Group
from plumbline.core.errors import UserError
from plumbline.core.nouns import Comparison
from plumbline.evals import stats
from plumbline.evals.logps import Scorer, sums
from plumbline.evals.stats import Figure


def agreement(margin_N: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 where the first wins, 0 where it loses, one half for a tie."""
    return np.where(np.abs(margin_N) < 1e-9, 0.5, (margin_N > 0).astype(float))


def preference_accuracy(model: Scorer, groups: Sequence[Group], reference: Scorer | None = None) -> dict[str, Figure]:
    """Accuracy by each rule that needs the model, and by "shorter wins"; comparisons that say "same" are left out."""
    decided = [g for g in groups if g.preference != 0.5]
    if not decided:
        raise UserError("the evaluation file holds no comparison that prefers one side", 'Use rows with "chosen" and "rejected".')
    sign = np.array([1.0 if g.preference > 0.5 else -1.0 for g in decided])
    length = np.array([[len(c) for c in g.completions[:2]] for g in decided], dtype=float)
    logp = sums(model, decided)[:, :2]
    margins = {"sum": logp[:, 0] - logp[:, 1], "mean": (logp / length)[:, 0] - (logp / length)[:, 1]}
    if reference is not None:
        gain = logp - sums(reference, decided)[:, :2]
        margins["implicit"] = gain[:, 0] - gain[:, 1]
    margins["shorter"] = length[:, 1] - length[:, 0]
    return {name: stats.mean(agreement(sign * m)) for name, m in margins.items()}


def bag_of_words(train: Sequence[Comparison], test: Sequence[Comparison]) -> Figure:
    """Accuracy on `test` of logistic regression over word counts of the completions, fitted on the differences of `train`."""
    try:
        from sklearn.feature_extraction.text import CountVectorizer
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise UserError("the bag-of-words baseline needs scikit-learn", "pip install scikit-learn") from error
    words = CountVectorizer(binary=True, min_df=2)
    words.fit([c for row in train for c in row.completions[:2]])
    x_train, x_test = (
        words.transform([r.completions[0] for r in rows]) - words.transform([r.completions[1] for r in rows]) for rows in (train, test)
    )
    both = np.concatenate([x_train.toarray(), -x_train.toarray()])
    fitted = LogisticRegression(C=0.05, max_iter=2000, fit_intercept=False).fit(both, np.repeat([1, 0], len(train)))
    return stats.mean(agreement(np.asarray(fitted.decision_function(x_test))))
