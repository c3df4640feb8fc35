"""Pessimism about a reward that was learned: what comparisons leave open of a linear head is held against a reply.

    P(w | data) ∝ exp(−|w|² / 2v) Π σ(w · d_i),   d_i = φ(better) − φ(worse)          ≈ N(ŵ, (Σ σ_i(1 − σ_i) d_i d_iᵀ + I/v)⁻¹)   Laplace
    r(x, y) = mean_k w_k · (φ(x, y) − φ̄) − c · std_k w_k · (φ(x, y) − φ̄),             w_k drawn from it, φ̄ the mean of training

It is inverse reward design (Hadfield-Menell et al. 2017, arXiv 1711.02827) for a reward model: comparisons are evidence about the replies
that they compared, and a direction that no comparison moved along keeps its prior.   φ̄ is subtracted as w · φ̃ is there: a reward is
known only up to a constant.   `ird.plan` takes the worst draw; a reply alone has no plan, and mean less spread is smoother in the draws.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from plumbline.core.errors import UserError
from plumbline.core.nouns import Game, Scores
from plumbline.values.mdp import Floats

Features = Callable[[Sequence[Game]], Floats]  # N games → (N, K)
STEPS = 100


@dataclass(frozen=True)
class HeadPosterior:
    """N(`mean_K`, `cov_KK`) over w, for features less `centre_K`, divided by `scale_K`."""

    mean_K: Floats
    cov_KK: Floats
    centre_K: Floats
    scale_K: Floats

    def says(self, heads_DK: Floats, features_NK: Floats) -> Floats:
        """(D, N) what each head gives each reply."""
        return heads_DK @ ((features_NK - self.centre_K) / self.scale_K).T

    def sample(self, draws: int, *, seed: int) -> Floats:
        """(draws, K) heads."""
        root_KK = np.linalg.cholesky(self.cov_KK)
        return self.mean_K + np.random.default_rng(seed).normal(size=(draws, len(self.mean_K))) @ root_KK.T


def fit(better_NK: Floats, worse_NK: Floats, *, prior: float = 1.0) -> HeadPosterior:
    """The posterior of a head after comparisons.   `prior`: the variance v of each weight, of features in units of their own spread."""
    if better_NK.shape != worse_NK.shape or not len(better_NK):
        raise UserError(f"features of {better_NK.shape} better and {worse_NK.shape} worse replies", "Give one or more pairs, (N, K) each.")
    if not (np.isfinite(better_NK).all() and np.isfinite(worse_NK).all() and 0 < prior < np.inf):
        raise UserError(f"a feature is not finite, or the prior variance {prior} not above 0", "Give finite features and such a variance.")
    every_MK = np.vstack([better_NK, worse_NK])
    spread_K = every_MK.std(0)
    scale_K = np.where(spread_K > 0, spread_K, 1.0)
    gaps_NK = (better_NK - worse_NK) / scale_K
    mean_K = np.zeros(gaps_NK.shape[1])
    slope_K, hessian_KK = _curvature(mean_K, gaps_NK, prior)
    for _ in range(STEPS):  # damped Newton: the objective is convex, a full step may be too long
        step_K, length = np.linalg.solve(hessian_KK, slope_K), 1.0
        while _loss(mean_K - length * step_K, gaps_NK, prior) > _loss(mean_K, gaps_NK, prior) - 1e-4 * length * (slope_K @ step_K):
            length /= 2
            if length < 1e-8:
                break
        mean_K = mean_K - length * step_K
        slope_K, hessian_KK = _curvature(mean_K, gaps_NK, prior)
        if np.abs(slope_K).max() < 1e-9 * len(gaps_NK):
            break
    return HeadPosterior(mean_K, np.asarray(np.linalg.inv(hessian_KK), dtype=np.float64), every_MK.mean(0), scale_K)


def _loss(w_K: Floats, gaps_NK: Floats, prior: float) -> float:
    return float(np.logaddexp(0, -gaps_NK @ w_K).sum() + w_K @ w_K / (2 * prior))


def _curvature(w_K: Floats, gaps_NK: Floats, prior: float) -> tuple[Floats, Floats]:
    """Gradient and Hessian of −log posterior."""
    wrong_N = 1 / (1 + np.exp(gaps_NK @ w_K))
    hessian_KK = (gaps_NK * (wrong_N * (1 - wrong_N))[:, None]).T @ gaps_NK + np.eye(len(w_K)) / prior
    return w_K / prior - gaps_NK.T @ wrong_N, hessian_KK


@final
class Pessimist:
    """A reward: the mean of what the draws say less `caution` times their spread; 0 is the mean alone."""

    def __init__(self, features: Features, posterior: HeadPosterior, *, caution: float = 1.0, draws: int = 64, seed: int = 0) -> None:
        self.features, self.posterior, self.caution = features, posterior, caution
        self.heads_DK = posterior.sample(draws, seed=seed)

    def __call__(self, games: Sequence[Game]) -> Scores:
        """N games; the draws are in the scores too."""
        says_DN = self.posterior.says(self.heads_DK, self.features(games))
        parts = {"mean": says_DN.mean(0).tolist(), "spread": says_DN.std(0).tolist()}
        return Scores(parts, weights={"spread": -self.caution}, draws=says_DN.tolist())
