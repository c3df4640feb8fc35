"""Stochastic few-shot: examples for the attacker's prompt, drawn among earlier questions with probability ∝ exp(score / temperature).

    P(i) = exp(s_i / T) / Σ_j exp(s_j / T),   drawn without replacement        Perez et al. 2022, arXiv 2202.03286, §3.1 (T = 1/10 there)

The k largest of s_i / T + Gumbel noise are such a draw (Kool et al. 2019, arXiv 1903.06059).   A high temperature takes any question, a
low one only what scored highest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random

from plumbline.core.errors import UserError


def weights(scores: Sequence[float], temperature: float) -> list[float]:
    """P of each to be drawn first."""
    _check(temperature)
    top = max(scores)
    raised = [math.exp((s - top) / temperature) for s in scores]
    return [x / sum(raised) for x in raised]


def chosen(scores: Sequence[float], k: int, temperature: float, chance: Random) -> list[int]:
    """Places of `k` different examples (of all, where there are fewer), in the order of the draw."""
    _check(temperature)
    keys = [s / temperature - math.log(-math.log(min(max(chance.random(), 1e-300), 1 - 1e-16))) for s in scores]
    return sorted(range(len(keys)), key=lambda i: -keys[i])[:k]


def _check(temperature: float) -> None:
    if not (temperature > 0 and math.isfinite(temperature)):
        raise UserError(f"the temperature of the examples is {temperature}", "Give a number above 0; .1 is the paper's.")
