"""A bag of words: how probably a reply is a good one, by which words stand in it and nothing else.

    P(up | y) = σ(b + Σ_{w in y} θ_w),      θ, b = argmin  Σ_n log(1 + e^{∓(…)}) + ‖θ‖² / 2C

Logistic regression on labelled texts.   It reads no prompt, no order and no grammar, shares nothing with a language model, and is fitted in
a second: so it judges what was optimised against a reward of another family.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

from plumbline.core.errors import UserError
from plumbline.core.nouns import Game, Label, Scores
from plumbline.data import open_rows

C = 0.3  # of an inverse variance of the weights; within .01 of the best from .1 to 3 on held-out labels of sentences
RARE = 2  # a word that fewer texts hold is left out


@final
@dataclass(frozen=True)
class Words:
    """The fitted counts and regression of scikit-learn.   The score is the probability of a thumb up."""

    counts: Any
    regression: Any

    @staticmethod
    def fit(rows: Sequence[Label], whose: str = "the labels") -> Words:
        """Fit to labelled completions."""
        try:
            from sklearn.feature_extraction.text import CountVectorizer
            from sklearn.linear_model import LogisticRegression
        except ImportError as error:
            raise UserError("a bag of words needs scikit-learn", "pip install scikit-learn") from error
        said = [row.desirable for row in rows]
        if len(set(said)) < 2:
            raise UserError(f"{whose}: all labels are the same", "Give texts with a thumb up and texts with a thumb down.")
        counts = CountVectorizer(binary=True, min_df=RARE)
        try:
            x_NW = counts.fit_transform([row.completion for row in rows])
        except ValueError as error:
            raise UserError(f"{whose}: no word stands in {RARE} of the texts", "Give more of them.") from error
        return Words(counts, LogisticRegression(C=C, max_iter=2000).fit(x_NW, said))

    @staticmethod
    def read(path: str) -> Words:
        """Fit to a file of labels."""
        if not path:
            raise UserError("words: names no file", "Write words:labels.jsonl, a file of texts with labels.")
        return Words.fit(list(open_rows(path, Label)), path)

    def __call__(self, games: Sequence[Game]) -> Scores:
        """P(up) of the last reply of each game."""
        if not games:
            return Scores({"words": []})
        x_NW = self.counts.transform([game.turns[-1].reply.text for game in games])
        return Scores({"words": self.regression.predict_proba(x_NW)[:, 1].tolist()})
