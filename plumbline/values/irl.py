"""Maximum causal entropy inverse reinforcement learning: of all policies that collect the expert's features, the least committed one.

    Q_t(s, a) = r(s) + γ Σ_s' P(s'|s, a) V_{t+1}(s'),   V_t(s) = log Σ_a exp Q_t(s, a),   V_H = 0,   π_t = exp(Q_t − V_t)
    L(w) = Σ_s P₀(s) V_0(s) − w · f_expert,   ∇L = E_π[Σ_{t<H} γ^t φ(s_t)] − f_expert,   r = w · φ: convex in w
Ziebart 2010 (thesis), §6 and §9 (recurrences 9.1–9.3).   H decisions are paid, at s_0 … s_{H−1}; the state after the last is only visited.
These are of finite horizon and take arrays, so γ = 1 is allowed: `mdp.Problem` is of endless episodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize
from scipy.special import logsumexp

from plumbline.core.errors import UserError
from plumbline.values.mdp import Floats


@dataclass(frozen=True)
class Fit:
    """`weights_K`: the reward found.   `policy_HSA`: its policy.   `learner_K`: what that collects; `gap`: its largest miss."""

    weights_K: Floats
    policy_HSA: Floats
    learner_K: Floats
    gap: float


def soft_plan(next_SAS: ArrayLike, reward_S: ArrayLike, *, horizon: int, gamma: float = 1.0) -> tuple[Floats, Floats]:
    """(V_HS, policy_HSA) of the soft Bellman recurrence, backwards from the last decision."""
    to_SAS, pay_S = np.asarray(next_SAS, dtype=np.float64), np.asarray(reward_S, dtype=np.float64)
    if horizon < 1:
        raise UserError(f"the horizon is {horizon}", "Give the number of decisions, at least 1.")
    value_HS, policy_HSA = np.zeros((horizon, len(pay_S))), np.zeros((horizon, *to_SAS.shape[:2]))
    after_S = np.zeros(len(pay_S))
    for step in reversed(range(horizon)):
        q_SA = pay_S[:, None] + gamma * to_SAS @ after_S
        after_S = value_HS[step] = logsumexp(q_SA, axis=1)
        policy_HSA[step] = np.exp(q_SA - after_S[:, None])
    return value_HS, policy_HSA


def occupancy(next_SAS: ArrayLike, policy_HSA: ArrayLike, start_S: ArrayLike, *, gamma: float = 1.0) -> Floats:
    """(H + 1, S) γ^t P(s_t = s), the state after the last decision included: its sum over t is the measure that Ziebart calls D."""
    to_SAS, steps_HSA = np.asarray(next_SAS, dtype=np.float64), np.asarray(policy_HSA, dtype=np.float64)
    seen = [np.asarray(start_S, dtype=np.float64)]
    for policy_SA in steps_HSA:
        seen.append(gamma * np.einsum("s,sa,sat->t", seen[-1], policy_SA, to_SAS))
    return np.stack(seen)


def collected(paths: Sequence[Sequence[int]], features_SK: ArrayLike, *, gamma: float = 1.0) -> Floats:
    """(K,) the mean over demonstrated paths (states s_0 … s_{H−1}) of Σ_t γ^t φ(s_t)."""
    features = np.asarray(features_SK, dtype=np.float64)
    if not paths or not all(len(path) for path in paths):
        raise UserError("no demonstrations, or an empty one", "Give paths of at least one state.")
    return np.mean([gamma ** np.arange(len(path)) @ features[np.asarray(path)] for path in paths], axis=0)


def fit(
    next_SAS: ArrayLike,
    features_SK: ArrayLike,
    start_S: ArrayLike,
    expert_K: ArrayLike,
    *,
    horizon: int,
    gamma: float = 1.0,
    l2: float = 0.0,
) -> Fit:
    """Weights whose soft-optimal policy collects what the expert did.   `l2`: the pull to 0 that a deterministic expert makes needful."""
    features, start, expert = (np.asarray(x, dtype=np.float64) for x in (features_SK, start_S, expert_K))

    def collects(policy_HSA: Floats) -> Floats:
        return occupancy(next_SAS, policy_HSA, start, gamma=gamma)[:-1].sum(0) @ features

    def loss(weights_K: Floats) -> tuple[float, Floats]:
        value_HS, policy_HSA = soft_plan(next_SAS, features @ weights_K, horizon=horizon, gamma=gamma)
        value = start @ value_HS[0] - weights_K @ expert + 0.5 * l2 * weights_K @ weights_K
        return float(value), collects(policy_HSA) - expert + l2 * weights_K

    found = minimize(loss, np.zeros(features.shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 2000, "ftol": 1e-15, "gtol": 1e-9})
    weights_K = np.asarray(found.x, dtype=np.float64)
    policy_HSA = soft_plan(next_SAS, features @ weights_K, horizon=horizon, gamma=gamma)[1]
    learner_K = collects(policy_HSA)
    return Fit(weights_K, policy_HSA, learner_K, float(np.abs(learner_K - expert).max()))
