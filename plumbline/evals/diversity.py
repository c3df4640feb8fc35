"""How alike texts are: Self-BLEU, and how many of them differ.

    BLEU(h, R)   = exp(min(0, 1 − r/c)) · Π_{k ≤ 4} p_k^{1/4}          p_k: the share of h's runs of k words that stand in R, each at most
                                                                      as often as in one of R; c: words of h; r: those of the nearest of R
    Self-BLEU(T) = mean over n texts of T of BLEU(text, m others)     0 all different … 1 all alike

Papineni et al. 2002; Zhu et al. 2018, arXiv 1802.01886.   It rises with the number of references, so two sets are comparable only at the
same n and m: both are fixed here, drawn by a seed, and said with the figure.   A p_k of 0 counts as a tenth of one run, as "method 1" of
Chen and Cherry 2014; of a text that shares no word BLEU is 0.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from plumbline.evals import stats
from plumbline.evals.stats import Figure

WORD = re.compile(r"\w+|[^\w\s]")
ORDER = 4
EPSILON = 0.1
TEXTS, REFERENCES = 200, 50


def tokens(text: str) -> list[str]:
    """Words and marks in lower case."""
    return WORD.findall(text.lower())


def _runs(words: Sequence[str], k: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[i : i + k]) for i in range(len(words) - k + 1))


class Tokenised:
    """A text with its runs counted once."""

    def __init__(self, text: str) -> None:
        self.words = tokens(text)
        self.runs = [_runs(self.words, k) for k in range(1, ORDER + 1)]


def bleu(text: Tokenised, references: Sequence[Tokenised]) -> float:
    """BLEU-4 of a text against several, smoothed."""
    logs = 0.0
    for k, mine in enumerate(text.runs):
        most: Counter[tuple[str, ...]] = Counter()
        for reference in references:
            theirs = reference.runs[k]
            for run in mine:
                most[run] = max(most[run], theirs[run])
        shared = sum(min(count, most[run]) for run, count in mine.items())
        if k == 0 and not shared:
            return 0.0
        logs += math.log((shared or EPSILON) / max(1, sum(mine.values()))) / ORDER
    c = len(text.words)
    r = min((len(x.words) for x in references), key=lambda length: (abs(length - c), length))
    return math.exp(min(0.0, 1 - r / c) + logs)


@dataclass(frozen=True)
class Diversity:
    """`bleu`: Self-BLEU of each text that was looked at.   `n`, `references`: how many were, against how many.   `distinct`: of all."""

    bleu: tuple[float, ...]
    n: int
    references: int
    distinct: int
    texts: int

    @property
    def self_bleu(self) -> Figure:
        """Its mean with an interval over texts."""
        return stats.mean(self.bleu)

    def __str__(self) -> str:
        return f"Self-BLEU {self.self_bleu.mean:.3f} ({self.n} questions, {self.references} references), {self.distinct} distinct"


def diversity(texts: Sequence[str], *, n: int = TEXTS, references: int = REFERENCES, seed: int = 0) -> Diversity | None:
    """Of `n` of the texts against `references` others each, as far as there are so many; None of fewer than two."""
    said = [text for text in texts if tokens(text)]
    if len(said) < 2:
        return None
    chance, read = Random(f"self-bleu {seed}"), [Tokenised(text) for text in said]
    m = min(references, len(said) - 1)
    looked = chance.sample(range(len(said)), min(n, len(said)))
    found = []
    for i in looked:
        others = [j + (j >= i) for j in chance.sample(range(len(said) - 1), m)]
        found.append(bleu(read[i], [read[j] for j in others]))
    return Diversity(tuple(found), len(looked), m, len(set(said)), len(said))
