"""Which comparisons to ask, so that the answers pin what a linear reward wants on all of them.

N comparisons as a reward w · φ sees them: d_i = φ(better) − φ(worse), better by the values w, so that w · d_i > 0 for all i.   Who wants w'

    agrees on all of them  ⇔  w' · d_i > 0 for every i  ⇔  w' · d_i > 0 for the i that no others imply    (`halfspaces.needed`, by LP)

so right answers to those few are right answers to all (the preference test of Brown et al. 2021, arXiv 2012.01557, with replies for
futures).   Where they are more than may be asked, those are asked that catch most of many w' near w (greedy cover); what such a test lets
through is measured on other w', beside random tests of as many questions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plumbline.values.halfspaces import Mask, implied, needed
from plumbline.values.mdp import TIE, Floats

Rows = NDArray[np.int64]
SPREAD = (0.03, 3.0)  # of how far drawn rewards are off, as a share of what the values say of the comparisons
RANDOM_TESTS = 100  # of equal size, whose rates are averaged


@dataclass(frozen=True)
class Rates:
    """Of rewards that disagree with the values somewhere: the share that passes all the same, and how much of the pool those get wrong.

    `falsely_failed`: the share of those that do agree and fail.   `agree`, `differ`: how many of each were tried.
    """

    falsely_passed: float
    wrong_if_passed: float
    falsely_failed: float
    agree: int
    differ: int


def unit(gaps_NK: Floats) -> Floats:
    """Rows of length 1; a row of zeros, which says nothing of anybody, stays."""
    length_N1 = np.linalg.norm(gaps_NK, axis=1, keepdims=True)
    return gaps_NK / np.where(length_N1 > 0, length_N1, 1.0)


def pinning(gaps_NK: Floats) -> Rows:
    """The comparisons that no others imply.   Independent rows imply none of each other, and need no linear programs."""
    if np.linalg.matrix_rank(gaps_NK) == len(gaps_NK):
        return np.arange(len(gaps_NK))
    return np.sort(needed(unit(gaps_NK)))


def covered(gaps_NK: Floats, asked: Rows) -> Mask:
    """(N,) which comparisons the answers to `asked` settle for every linear reward."""
    unit_NK, found = unit(gaps_NK), np.isin(np.arange(len(gaps_NK)), asked)
    for row in np.flatnonzero(~found):
        found[row] = implied(unit_NK[row], unit_NK[asked])
    return found


def nearby(weights_K: Floats, gaps_NK: Floats, count: int, *, seed: int) -> Floats:
    """(count, K) rewards off by noise: on a comparison, σ times what the values say of one (root mean square), log σ even on SPREAD."""
    draw = np.random.default_rng(seed)
    size_K = np.sqrt((gaps_NK**2).mean(0))
    says = np.sqrt(((gaps_NK @ weights_K) ** 2).mean())
    noise_HK = draw.normal(size=(count, len(weights_K))) / np.where(size_K > 0, size_K, np.inf) * says / np.sqrt(max((size_K > 0).sum(), 1))
    sigma_H1 = np.exp(draw.uniform(np.log(SPREAD[0]), np.log(SPREAD[1]), (count, 1)))
    return weights_K + sigma_H1 * noise_HK


def right(heads_HK: Floats, gaps_NK: Floats) -> Mask:
    """(H, N) whether each reward strictly prefers the better reply."""
    says_HN = heads_HK @ gaps_NK.T
    return says_HN > TIE * np.abs(says_HN).max(1, keepdims=True)


def picked(right_HN: Mask, allowed: Rows, count: int) -> Rows:
    """`count` of the allowed rows: each catches most of those that no row caught yet; when all are caught, from the beginning."""
    wrong_HN, left = ~right_HN[~right_HN.all(1)], list(allowed)
    chosen: list[int] = []
    free_H = np.ones(len(wrong_HN), dtype=bool)
    while left and len(chosen) < count:
        caught_L = wrong_HN[free_H][:, left].sum(0)
        if not caught_L.any() and not free_H.all():
            free_H[:] = True
            continue
        chosen.append(left.pop(int(caught_L.argmax())))
        free_H &= ~wrong_HN[:, chosen[-1]]
    return np.sort(np.asarray(chosen, dtype=np.int64))


def rates(right_HN: Mask, asked: Rows) -> Rates:
    """What a test that asks these rows, and passes who is right on all, does to these rewards."""
    agrees_H, passes_H = right_HN.all(1), right_HN[:, asked].all(1)
    slipped_H, wrong_H = passes_H & ~agrees_H, (~right_HN).mean(1)
    differ, agree = int((~agrees_H).sum()), int(agrees_H.sum())
    return Rates(
        slipped_H.sum() / max(differ, 1),
        float(wrong_H[slipped_H].mean()) if slipped_H.any() else 0.0,
        int((agrees_H & ~passes_H).sum()) / max(agree, 1),
        agree,
        differ,
    )


def random_rates(right_HN: Mask, count: int, *, seed: int) -> Rates:
    """The mean of tests that ask `count` rows at random."""
    draw, rows = np.random.default_rng(seed), right_HN.shape[1]
    tried = [rates(right_HN, draw.choice(rows, count, replace=False)) for _ in range(RANDOM_TESTS)]
    passed = np.array([one.falsely_passed for one in tried])
    wrong = float(passed @ [one.wrong_if_passed for one in tried] / passed.sum()) if passed.any() else 0.0
    return Rates(float(passed.mean()), wrong, float(np.mean([one.falsely_failed for one in tried])), tried[0].agree, tried[0].differ)
