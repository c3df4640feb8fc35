"""Which rewards make an agent want what the human wants: half-spaces of weights, and their exact union under ties.

An agent is aligned when every policy that is optimal for it is optimal for the human: opt'(s) ⊆ opt(s) in every state.   With
q_π(s, a) = φ(s) + γ Σ_s' P(s'|s, a) μ_π(s')  the successor features of taking a and then following π, so that Q_π(s, a) = w · q_π(s, a):

    ARP(w) = {w' : w' · (q_π*(s, a) − q_π*(s, b)) > 0   for every s, a ∈ opt(s), b ∉ opt(s)}               Brown et al. 2021, 2012.01557

is exact where the human's optimal policy π* is the only one.   Where actions tie it depends on which π* is followed, and errs both ways:
the agent follows its own taste among the ties, not π*.   Exact is the union over deterministic π that choose among opt(s):

    R_π = {w' : w' · (q_π(s, π(s)) − q_π(s, b)) ≥ 0  for b ∈ opt(s),   > 0  for b ∉ opt(s)},      w' aligned  ⇔  w' ∈ ∪_π R_π

⇒ the agent's own optimal policy is such a π, nothing beats it, and what the human rejects is not optimal for the agent, so strictly worse.
⇐ in R_π no single change improves π, so π is optimal for the agent (Bellman), and whatever the human rejects is strictly worse than it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linprog

from plumbline.core.errors import UserError
from plumbline.values import mdp
from plumbline.values.mdp import TIE, Floats, Problem

Mask = NDArray[np.bool_]
SLACK = 1e-7  # of unit normals: HiGHS keeps constraints to within that


def scaled(weights_K: ArrayLike) -> Floats:
    """The same wants with the largest weight ±1 (nothing wanted stays nothing), so that tolerances mean the same for every agent."""
    weights = np.asarray(weights_K, dtype=np.float64)
    if not np.isfinite(weights).all():
        raise UserError(f"weights {weights.tolist()}", "Give finite numbers.")
    return weights / (np.abs(weights).max() or 1.0)


def optimal(problem: Problem, weights_K: ArrayLike) -> Mask:
    """(S, A) the optimal actions; of a positive multiple of the weights the same ones."""
    return mdp.optimal(problem, scaled(weights_K))


def aligned(problem: Problem, human_K: ArrayLike, agent_K: ArrayLike) -> bool:
    """Ground truth, from both exact Q: whatever is optimal for the agent is optimal for the human, in every state."""
    return bool((optimal(problem, agent_K) <= optimal(problem, human_K)).all())


@dataclass(frozen=True)
class HalfSpaces:
    """w · normal > 0, with unit normals.   `pairs_N3`: the (s, a, b) that each one is of: in s, a is better than b."""

    normals_NK: Floats
    pairs_N3: NDArray[np.int64]

    def keep(self, rows: NDArray[np.int64]) -> HalfSpaces:
        """Only those."""
        return HalfSpaces(self.normals_NK[rows], self.pairs_N3[rows])

    def minimal(self) -> HalfSpaces:
        """The same region without what others imply."""
        return self.keep(needed(self.normals_NK))

    def contains(self, weights_K: ArrayLike) -> bool:
        """Whether all of them hold, strictly."""
        return bool((self.normals_NK @ scaled(weights_K) > TIE).all())


def better_than(problem: Problem, policy_SA: ArrayLike, order_SAB: Mask) -> HalfSpaces:
    """The half-space of every (s, a, b) marked in `order_SAB`, with `policy_SA` followed afterwards, but for those that bind nothing."""
    pairs_N3 = np.argwhere(order_SAB)
    q_SAK = counts_of_actions(problem, policy_SA)
    state, better, worse = pairs_N3.T
    normals_NK = q_SAK[state, better] - q_SAK[state, worse]
    length_N = np.linalg.norm(normals_NK, axis=1)
    binds = length_N > TIE
    return HalfSpaces(normals_NK[binds] / length_N[binds, None], pairs_N3[binds])


def counts_of_actions(problem: Problem, policy_SA: ArrayLike) -> Floats:
    """(S, A, K) q_π(s, a): the features to come, discounted, of a now and the policy from then on."""
    return problem.features_SK[:, None] + problem.gamma * problem.next_SAS @ mdp.successor_features(problem, policy_SA)


def needed(normals_NK: Floats) -> NDArray[np.int64]:
    """Rows that remain when duplicates go, and then every half-space that the others imply.

    Forwards, a row is kept unless the kept ones imply it, so that the programs stay small; then one goes if the other kept ones imply it.
    """
    _, first = np.unique(normals_NK.round(9) + 0.0, axis=0, return_index=True)
    kept: list[int] = []
    for row in sorted(first.tolist()):
        if not implied(normals_NK[row], normals_NK[kept]):
            kept.append(row)
    for row in list(kept):
        others = [other for other in kept if other != row]
        kept = others if implied(normals_NK[row], normals_NK[others]) else kept
    return np.asarray(kept, dtype=np.int64)


def implied(normal_K: Floats, others_NK: Floats) -> bool:
    """min h · w = 0 over {w : the others ≥ 0, |w| ≤ 1}: then h = Σ λ_i n_i, λ ≥ 0 (Farkas); if they are > 0 so is h, as it is not 0."""
    if not len(others_NK):
        return False
    found = linprog(normal_K, A_ub=-others_NK, b_ub=np.zeros(len(others_NK)), bounds=(-1, 1), method="highs")
    return found.status == 0 and float(found.fun) >= -SLACK


def aligned_halfspaces(problem: Problem, weights_K: ArrayLike) -> HalfSpaces:
    """All half-spaces of the single polytope; among ties π* draws evenly, as in the paper's experiments."""
    best_SA = optimal(problem, weights_K)
    return better_than(problem, mdp.uniform(best_SA), best_SA[:, :, None] & ~best_SA[:, None, :])


def aligned_polytope(problem: Problem, weights_K: ArrayLike) -> HalfSpaces:
    """The paper's aligned reward polytope, minimal.   Exact without ties of optimal actions; with them use `aligned_region`."""
    return aligned_halfspaces(problem, weights_K).minimal()


@dataclass(frozen=True)
class Piece:
    """R_π: `strict` against what the human rejects, `weak` among what the human allows."""

    strict: HalfSpaces
    weak: HalfSpaces

    def contains(self, weights_K: ArrayLike) -> bool:
        """Whether the weights lie in it, borders of `weak` included."""
        return self.strict.contains(weights_K) and bool((self.weak.normals_NK @ scaled(weights_K) >= -TIE).all())


@dataclass(frozen=True)
class Region:
    """∪ R_π for the human whose optimal actions are `allowed_SA`: exactly the weights of aligned agents."""

    problem: Problem
    allowed_SA: Mask

    def piece(self, chosen_S: ArrayLike) -> Piece:
        """R_π of the deterministic policy that takes `chosen_S`."""
        taken_SA = np.eye(self.problem.actions, dtype=bool)[np.asarray(chosen_S)]
        rivals_SA = self.allowed_SA & ~taken_SA
        strict = better_than(self.problem, taken_SA, taken_SA[:, :, None] & ~self.allowed_SA[:, None, :])
        return Piece(strict, better_than(self.problem, taken_SA, taken_SA[:, :, None] & rivals_SA[:, None, :]))

    def pieces(self, *, limit: int = 4096) -> list[Piece]:
        """All of them, one for each way to break the human's ties; actions that lead to the same place count as one."""
        ways = [self._different(state) for state in range(self.problem.states)]
        if (count := prod(map(len, ways))) > limit:
            raise UserError(f"the region has {count} pieces, more than {limit}", "Ask `contains`, which needs only one of them.")
        return [self.piece(chosen) for chosen in product(*ways)]

    def _different(self, state: int) -> list[int]:
        allowed = np.flatnonzero(self.allowed_SA[state])
        _, first = np.unique(self.problem.next_SAS[state, allowed], axis=0, return_index=True)
        return allowed[np.sort(first)].tolist()

    def contains(self, weights_K: ArrayLike) -> bool:
        """Without listing them: improve a policy among the allowed actions until no allowed change helps; only that piece can hold w'."""
        reward_S = self.problem.reward(scaled(weights_K))
        chosen_S = self.allowed_SA.argmax(1)
        while True:
            value_S = mdp.values_of(self.problem, reward_S, np.eye(self.problem.actions)[chosen_S])
            q_SA = np.where(self.allowed_SA, mdp.action_values(self.problem, reward_S, value_S), -np.inf)
            better_S = q_SA.max(1) > value_S + TIE * max(1.0, float(np.abs(value_S).max()))
            if not better_S.any():
                return self.piece(chosen_S).contains(weights_K)
            chosen_S = np.where(better_S, q_SA.argmax(1), chosen_S)


def aligned_region(problem: Problem, weights_K: ArrayLike) -> Region:
    """Exactly the weights of the agents that are aligned with these, ties or not."""
    return Region(problem, optimal(problem, weights_K))
