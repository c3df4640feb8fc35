"""Inverse reward design: a stated reward is evidence of what was meant, about the worlds that its designer had in mind and no others.

    P(w | w̃) ∝ P(w) exp(β w · φ̃) / Z̃(w),      φ̃ = E[Σ γ^t φ(s_t)] of the plan that is optimal for w̃ in training
    Z̃(w) = Σ_{w̃'} exp(β w · φ̃(w̃')) over all proxies where they can be listed (exact), or over sampled ones and w̃ itself
    plan: max_ξ min_k (w_k · φ(ξ) − w_k · φ̃),   w_k drawn from the posterior
Hadfield-Menell, Milli, Abbeel, Russell & Dragan 2017, arXiv 1711.02827.   A feature that no training plan meets is 0 in φ̃ and in every
term of Z̃: the two cancel over it, and its weight keeps its prior.

What differs from the paper.   Its sampled Z̃ adds to the samples the plan of the candidate w itself: `own=True`; ours adds w̃, so that
no proxy is likelier than 1.   It plans one trajectory (`plan_pure`), or pays each step its own worst weight (`plan_each_step`); `plan`
is over all policies, mixed ones included, by a linear program over occupancies (Syed, Bowling & Schapire 2008): no worse in the worst case.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linprog, milp
from scipy.special import logsumexp

from plumbline.core.errors import UserError
from plumbline.values import mdp
from plumbline.values.mdp import Floats


@dataclass(frozen=True)
class Posterior:
    """N candidates `weights_NK` with P(w | w̃) `prob_N`.   `told_K`: φ̃, what the proxy's plan collects in training."""

    weights_NK: Floats
    prob_N: Floats
    told_K: Floats

    @property
    def mean(self) -> Floats:
        """E[w | w̃]: by linearity, the reward of an agent that maximises expected reward."""
        return self.prob_N @ self.weights_NK

    def sample(self, draws: int, *, seed: int) -> Floats:
        """(draws, K) weights drawn from the posterior, with replacement."""
        return self.weights_NK[np.random.default_rng(seed).choice(len(self.prob_N), draws, p=self.prob_N)]

    def marginal(self, feature: int) -> dict[float, float]:
        """P(w_feature = value | w̃) for each value that a candidate has."""
        values, index_N = np.unique(self.weights_NK[:, feature], return_inverse=True)
        return dict(zip(values.tolist(), np.bincount(index_N, weights=self.prob_N).tolist(), strict=True))


def literal(problem: mdp.Problem, weights_K: ArrayLike, *, temperature: float = 0.0) -> Floats:
    """(S, A) the plan of an agent that takes w at its word, even over ties; soft-optimal, ∝ exp(Q/temperature), above 0."""
    if temperature <= 0:
        return mdp.uniform(mdp.optimal(problem, weights_K))
    value_S = np.zeros(problem.states)
    while True:
        q_SA = mdp.action_values(problem, problem.reward(weights_K), value_S)
        soft_S = temperature * logsumexp(q_SA / temperature, axis=1)
        if np.abs(soft_S - value_S).max() <= 1e-10 * max(1.0, np.abs(soft_S).max()):
            return np.exp((q_SA - soft_S[:, None]) / temperature)
        value_S = soft_S


def collected(problem: mdp.Problem, policy_SA: ArrayLike) -> Floats:
    """(K,) φ of a policy: the discounted features that it is expected to collect from the start."""
    return problem.start_S @ mdp.successor_features(problem, policy_SA)


def told(training: Sequence[mdp.Problem], weights_MK: ArrayLike, *, temperature: float = 0.0) -> Floats:
    """(M, K) φ̃ of each row of weights: what its plans collect, mean over the training problems."""
    rows_MK = np.atleast_2d(np.asarray(weights_MK, dtype=np.float64))
    plans = [[collected(p, literal(p, row, temperature=temperature)) for p in training] for row in rows_MK]
    return np.asarray(plans, dtype=np.float64).mean(1)


def posterior(
    training: mdp.Problem | Sequence[mdp.Problem],
    proxy_K: ArrayLike,
    candidates_NK: ArrayLike,
    *,
    beta: float,
    prior_N: ArrayLike | None = None,
    proxies_MK: ArrayLike | None = None,
    temperature: float = 0.0,
    own: bool = False,
) -> Posterior:
    """P(w | w̃).   `beta`: how near optimal designers choose; 0 gives the prior, even unless `prior_N` says otherwise.

    `proxies_MK`: what the designer could have written; w̃ is added unless it is there.   Without it all candidates: exact where they
    are all there are.   `own`: each candidate's Z̃ counts its own optimal plan as well, as the paper's does.
    """
    problems = [training] if isinstance(training, mdp.Problem) else list(training)
    proxy, candidates = np.asarray(proxy_K, dtype=np.float64), np.asarray(candidates_NK, dtype=np.float64)
    prior = np.full(len(candidates), 1 / len(candidates)) if prior_N is None else np.asarray(prior_N, dtype=np.float64)
    if candidates.ndim != 2 or candidates.shape[1:] != proxy.shape or prior.shape != candidates.shape[:1]:
        raise UserError(f"candidates {candidates.shape}, proxy {proxy.shape}, prior {prior.shape}", "Give (N, K), (K,) and (N,).")
    if not 0 <= beta < np.inf:
        raise UserError(f"beta is {beta}", "Give at least 0: below it, the worst designers would be the likeliest.")
    proxies = candidates if proxies_MK is None else np.asarray(proxies_MK, dtype=np.float64)
    if not (proxies == proxy).all(1).any():
        proxies = np.vstack([proxies, proxy])
    told_K, told_MK = told(problems, proxy, temperature=temperature)[0], told(problems, proxies, temperature=temperature)
    score_NM = beta * candidates @ told_MK.T
    if own:
        own_NK = told(problems, candidates, temperature=temperature)
        score_NM = np.hstack([score_NM, beta * (candidates * own_NK).sum(1, keepdims=True)])
    with np.errstate(divide="ignore"):
        logp_N = np.log(prior) + beta * candidates @ told_K - logsumexp(score_NM, axis=1)
    return Posterior(candidates, np.exp(logp_N - logsumexp(logp_N)), told_K)


def plan(problem: mdp.Problem, weights_kK: ArrayLike, told_K: ArrayLike) -> tuple[Floats, float]:
    """(policy (S, A), worst case) of max_π min_k w_k · (φ(π) − φ̃), exactly: over occupancies d ≥ 0, maximise t subject to

    Σ_a d(s, a) − γ Σ d(s', a) P(s|s', a) = P₀(s) and t ≤ w_k · (Σ d φ − φ̃) for every k.   Where d is 0 the policy draws evenly.
    """
    flow_SX, pays_kX, told_k = _program(problem, weights_kK, told_K)
    pairs = problem.states * problem.actions
    found = linprog(
        np.append(np.zeros(pairs), -1.0),
        A_ub=np.hstack([-pays_kX, np.ones((len(told_k), 1))]),
        b_ub=-told_k,
        A_eq=np.hstack([flow_SX, np.zeros((problem.states, 1))]),
        b_eq=problem.start_S,
        bounds=[(0, None)] * pairs + [(None, None)],
        method="highs",
    )
    d_SA = np.clip(found.x[:-1].reshape(problem.states, problem.actions), 0, None)
    seen_S = d_SA.sum(1, keepdims=True)
    policy_SA = np.where(seen_S > mdp.TIE, d_SA / np.maximum(seen_S, mdp.TIE), 1 / problem.actions)
    return policy_SA / policy_SA.sum(1, keepdims=True), float(-found.fun)


def plan_pure(problem: mdp.Problem, weights_kK: ArrayLike, told_K: ArrayLike) -> tuple[Floats, float]:
    """The same among policies that do not mix: where moves are sure, the paper's one trajectory ξ.   A mixed-integer program in d, b, t:

    as in `plan`, and d(s, a) ≤ b(s, a) / (1 − γ) with Σ_a b(s, a) = 1, b ∈ {0, 1}.   Slower: for small worlds.
    """
    flow_SX, pays_kX, told_k = _program(problem, weights_kK, told_K)
    states, actions, pairs = problem.states, problem.actions, problem.states * problem.actions
    none_SX, one_XX, worse_k = np.zeros((states, pairs)), np.eye(pairs), np.full(len(told_k), -np.inf)
    limits = [  # (matrix, least, most); all unknowns are at least 0, so t is the difference of the last two
        (np.hstack([flow_SX, none_SX, np.zeros((states, 2))]), problem.start_S, problem.start_S),
        (np.hstack([none_SX, np.repeat(np.eye(states), actions, axis=1), np.zeros((states, 2))]), 1, 1),
        (np.hstack([one_XX, -one_XX / (1 - problem.gamma), np.zeros((pairs, 2))]), -np.inf, 0),
        (np.hstack([-pays_kX, np.zeros_like(pays_kX), np.tile([1.0, -1.0], (len(told_k), 1))]), worse_k, -told_k),
    ]
    whole = np.repeat([0, 1, 0], [pairs, pairs, 2])
    found = milp(np.append(np.zeros(2 * pairs), [-1.0, 1.0]), integrality=whole, constraints=limits)
    policy_SA = np.eye(actions)[found.x[pairs : 2 * pairs].reshape(states, actions).argmax(1)]
    return policy_SA, float((pays_kX @ _occupancy(problem, policy_SA).reshape(-1) - told_k).min())


def _program(problem: mdp.Problem, weights_kK: ArrayLike, told_K: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """The flow of occupancies over the X = S·A pairs, what each distinct sample pays for a pair, and w_k · φ̃."""
    rows_kK = np.unique(np.atleast_2d(np.asarray(weights_kK, dtype=np.float64)), axis=0)
    flow_SX = np.repeat(np.eye(problem.states), problem.actions, axis=1) - problem.gamma * problem.next_SAS.reshape(-1, problem.states).T
    pays_kX = np.repeat(rows_kK @ problem.features_SK.T, problem.actions, axis=1)
    return flow_SX, pays_kX, rows_kK @ np.asarray(told_K, dtype=np.float64)


def _occupancy(problem: mdp.Problem, policy_SA: Floats) -> Floats:
    visits_S = np.linalg.solve(np.eye(problem.states) - problem.gamma * mdp.under(problem, policy_SA).T, problem.start_S)
    return visits_S[:, None] * policy_SA


def plan_each_step(problem: mdp.Problem, weights_kK: ArrayLike, told_K: ArrayLike) -> Floats:
    """(S, A) optimal for r(s) = min_k w_k · (φ(s) − (1 − γ) φ̃): every step at its own worst weight, which is the more timid plan."""
    rows_kK = np.atleast_2d(np.asarray(weights_kK, dtype=np.float64))
    usual_K = (1 - problem.gamma) * np.asarray(told_K, dtype=np.float64)
    return mdp.uniform(mdp.best(mdp.solve(problem, (rows_kK @ (problem.features_SK - usual_K).T).min(0))[1]))


def reaches(problem: mdp.Problem, policy_SA: ArrayLike, states: Sequence[int]) -> float:
    """The probability that the policy ever is in one of these states: P = 1 there, P = Σ P_π P elsewhere, least solution."""
    goal_S = np.isin(np.arange(problem.states), states)
    step_SS = np.where(goal_S[:, None], 0.0, mdp.under(problem, policy_SA))
    can_S = goal_S.copy()
    for _ in range(problem.states):
        can_S = can_S | (step_SS[:, can_S].sum(1) > mdp.TIE)
    live = np.flatnonzero(can_S & ~goal_S)
    chance_S = goal_S.astype(np.float64)
    chance_S[live] = np.linalg.solve(np.eye(len(live)) - step_SS[np.ix_(live, live)], step_SS[np.ix_(live, np.flatnonzero(goal_S))].sum(1))
    return float(problem.start_S @ chance_S)
