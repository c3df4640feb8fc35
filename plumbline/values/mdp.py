"""Tabular decision problems and their exact solutions.   Rewards are of states: entering or being in s at a step pays r(s) = w · φ(s).

    Q(s, a) = r(s) + γ Σ_s' P(s'|s, a) V(s'),     V(s) = max_a Q(s, a)              Puterman 1994, §6
    μ_π(s)  = φ(s) + γ Σ_s' P_π(s'|s) μ_π(s')                                       successor features: V_π = w · μ_π
                                                                                     Dayan 1993, Neural Computation 5(4); Abbeel & Ng 2004
All of it is float64 and solved by linear algebra: policy iteration ends at the exact optimum, not within a tolerance of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from plumbline.core.errors import UserError

Floats = NDArray[np.float64]
TIE = 1e-9  # of the largest |Q|: actions nearer than that are equally good


@dataclass(frozen=True)
class Problem:
    """S states, A actions, K features.   `next_SAS`: P(s'|s, a).   `features_SK`: φ(s).   `start_S`: where episodes begin.   `gamma` < 1.

    A state that ends the episode is one that leads to itself with features of 0.
    """

    next_SAS: Floats
    features_SK: Floats
    start_S: Floats
    gamma: float

    def __post_init__(self) -> None:
        states = self.next_SAS.shape[0]
        shapes = self.next_SAS.shape == (states, self.actions, states), self.features_SK.shape[:1] == self.start_S.shape == (states,)
        if not all(shapes):
            raise UserError(
                f"a problem of {self.next_SAS.shape}, {self.features_SK.shape}, {self.start_S.shape}", "Give (S, A, S), (S, K), (S,)."
            )
        if not (np.allclose(self.next_SAS.sum(2), 1) and np.isclose(self.start_S.sum(), 1) and (self.next_SAS >= 0).all()):
            raise UserError("probabilities of next states or of the start do not add up to 1", "Give distributions.")
        if not np.isfinite(self.features_SK).all():
            raise UserError("a feature is not finite", "Give a number for each feature of each state.")
        if not 0 <= self.gamma < 1:
            raise UserError(f"gamma is {self.gamma}", "Give at least 0 and less than 1: the solutions are of endless episodes.")

    @property
    def states(self) -> int:
        """S."""
        return self.next_SAS.shape[0]

    @property
    def actions(self) -> int:
        """A."""
        return self.next_SAS.shape[1]

    def reward(self, weights_K: ArrayLike) -> Floats:
        """(S,) r(s) = w · φ(s)."""
        weights = np.asarray(weights_K, dtype=np.float64)
        if weights.shape != self.features_SK.shape[1:] or not np.isfinite(weights).all():
            raise UserError(f"weights {weights.tolist()}", f"Give {self.features_SK.shape[1]} finite numbers, one for each feature.")
        return self.features_SK @ weights


def deterministic(next_SA: ArrayLike, features_SK: ArrayLike, *, gamma: float, start_S: ArrayLike | None = None) -> Problem:
    """A problem in which action a leads from s to the one state `next_SA[s, a]`; episodes begin anywhere unless `start_S` says where."""
    given_SA, features = np.asarray(next_SA), np.asarray(features_SK, dtype=np.float64)
    to_SA = given_SA.astype(np.int64)
    states = len(to_SA)
    nowhere = (to_SA != given_SA) | (to_SA < 0) | (to_SA >= states)
    if nowhere.any():
        raise UserError(f"an action leads to state {given_SA[nowhere][0]} of {states}", "States are numbered from 0.")
    begin = np.full(states, 1 / states) if start_S is None else np.asarray(start_S, dtype=np.float64)
    return Problem(np.eye(states)[to_SA], features, begin, gamma)


def under(problem: Problem, policy_SA: ArrayLike) -> Floats:
    """(S, S) P_π(s'|s) of a stochastic policy, rows of action probabilities."""
    return np.einsum("sa,sat->st", np.asarray(policy_SA, dtype=np.float64), problem.next_SAS)


def values_of(problem: Problem, reward_S: ArrayLike, policy_SA: ArrayLike) -> Floats:
    """(S,) V_π: (I − γ P_π) V = r."""
    return _gathered(problem, reward_S, policy_SA)


def successor_features(problem: Problem, policy_SA: ArrayLike) -> Floats:
    """(S, K) μ_π: (I − γ P_π) μ = φ."""
    return _gathered(problem, problem.features_SK, policy_SA)


def _gathered(problem: Problem, x: ArrayLike, policy_SA: ArrayLike) -> Floats:
    """Σ γ^t E_π[x(s_t)] from every state: (I − γ P_π)⁻¹ x, whatever is gathered."""
    left_SS = np.eye(problem.states) - problem.gamma * under(problem, policy_SA)
    return np.asarray(np.linalg.solve(left_SS, np.asarray(x, dtype=np.float64)), dtype=np.float64)


def action_values(problem: Problem, reward_S: ArrayLike, value_S: ArrayLike) -> Floats:
    """(S, A) Q from V: r(s) + γ E[V(s')]."""
    return np.asarray(reward_S, dtype=np.float64)[:, None] + problem.gamma * problem.next_SAS @ np.asarray(value_S, dtype=np.float64)


def best(q_SA: Floats) -> NDArray[np.bool_]:
    """(S, A) the actions of which none is better, ties included."""
    return q_SA >= q_SA.max(1, keepdims=True) - TIE * max(1.0, float(np.abs(q_SA).max()))


def uniform(mask_SA: ArrayLike) -> Floats:
    """The stochastic policy that draws evenly among the marked actions of each state."""
    marked = np.asarray(mask_SA, dtype=np.float64)
    return marked / marked.sum(1, keepdims=True)


def solve(problem: Problem, reward_S: ArrayLike) -> tuple[Floats, Floats]:
    """(V*, Q*) by policy iteration (Howard 1960), exact up to rounding."""
    chosen = np.zeros(problem.states, dtype=np.int64)
    while True:
        value_S = values_of(problem, reward_S, np.eye(problem.actions)[chosen])
        q_SA = action_values(problem, reward_S, value_S)
        better = q_SA.max(1) > q_SA[np.arange(problem.states), chosen] + TIE * max(1.0, float(np.abs(q_SA).max()))
        if not better.any():
            return value_S, q_SA
        chosen = np.where(better, q_SA.argmax(1), chosen)


def optimal(problem: Problem, weights_K: ArrayLike) -> NDArray[np.bool_]:
    """(S, A) every optimal action of every state under r = w · φ."""
    return best(solve(problem, problem.reward(weights_K))[1])
