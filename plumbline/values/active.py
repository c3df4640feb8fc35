"""Active reward learning: ask an agent what tells most about its reward, until its policy is known; only then compare it with the human's.

    W_0 = [−1, 1]^K,   W_{i+1} = {w ∈ W_i : the agent's answer is what w would say}
    ask the pair of futures (μ_π(s), μ_π'(s)) that splits draws of W_i most evenly: the most volume goes whatever the answer, and a sure
    answer tells most bits (Sadigh, Dragan, Sastry & Seshia 2017, "Active preference-based learning of reward functions", RSS)
    stop when all draws of W_i want the same: no pair splits them

It is what verification (`verification.arp_pref`) is compared with in Brown et al. 2021, arXiv 2012.01557: the same kind of question to the
same agent, but chosen without knowing what the human wants.   π, π' are the plans of two draws, so futures need not be listed.   Answers
are sure: for agents that may err, W would be a posterior.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from plumbline.core.errors import UserError
from plumbline.values import halfspaces, mdp
from plumbline.values.mdp import TIE, Floats, Problem
from plumbline.values.verification import Prefers

DRAWS = 16  # of the rewards that are still possible; more stop later, never earlier on average
WALK = 60  # steps of hit-and-run from one draw to the next


@dataclass(frozen=True)
class Learned:
    """After so many `questions`: the mean of the rewards that are left, and the answers as half-spaces w · normal ≥ 0."""

    questions: int
    weights_K: Floats
    normals_NK: Floats

    def aligned(self, problem: Problem, human_K: ArrayLike) -> bool:
        """Whether who wants what was learnt wants what the human wants."""
        return halfspaces.aligned(problem, human_K, self.weights_K)


def learn(problem: Problem, agent: Prefers, *, seed: int = 0, limit: int = 500) -> Learned:
    """Ask until every draw has the same plan.   `limit`: of questions, beyond which something is wrong."""
    draw, width = np.random.default_rng(seed), problem.features_SK.shape[1]
    normals_NK = np.zeros((0, width))
    weights_MK = walked(draw.uniform(-1, 1, (DRAWS, width)), normals_NK, draw)
    while True:
        futures = question(problem, weights_MK, draw)
        if futures is None:
            return Learned(len(normals_NK), weights_MK.mean(0), normals_NK)
        if len(normals_NK) == limit:
            raise UserError(
                f"{limit} questions did not settle what the agent wants", "Give a higher limit, or an agent whose answers agree."
            )
        one_K, other_K = futures
        normal_K = (one_K - other_K) * (1 if agent.prefers(one_K, other_K) >= 0 else -1)
        normals_NK = np.vstack([normals_NK, normal_K / np.linalg.norm(normal_K)])
        weights_MK = walked(weights_MK[weights_MK @ normals_NK[-1] >= 0], normals_NK, draw)


def question(problem: Problem, weights_MK: Floats, draw: np.random.Generator) -> tuple[Floats, Floats] | None:
    """The two futures on which the draws disagree most evenly, one of the best at random; None where they all agree."""
    mu_MSK = np.stack([plan_counts(problem, weights_K) for weights_K in weights_MK])
    one, other = np.triu_indices(len(weights_MK), 1)
    gap_PSK = mu_MSK[one] - mu_MSK[other]
    votes_PSM = gap_PSK @ weights_MK.T
    split_PS = np.minimum((votes_PSM > TIE).sum(2), (votes_PSM < -TIE).sum(2))
    if not split_PS.any():
        return None
    pair, state = np.unravel_index((split_PS + draw.random(split_PS.shape) / 2).argmax(), split_PS.shape)
    return mu_MSK[one[pair], state], mu_MSK[other[pair], state]


def plan_counts(problem: Problem, weights_K: ArrayLike) -> Floats:
    """(S, K) μ of one optimal plan from every state."""
    chosen_S = halfspaces.optimal(problem, weights_K).argmax(1)
    return mdp.successor_features(problem, np.eye(problem.actions)[chosen_S])


def walked(inside_MK: Floats, normals_NK: Floats, draw: np.random.Generator) -> Floats:
    """(DRAWS, K) even draws of {w ∈ [−1, 1]^K : normals · w ≥ 0} by hit-and-run from points inside (Smith 1984)."""
    at_MK = inside_MK[draw.integers(0, len(inside_MK), DRAWS)]
    width = at_MK.shape[1]
    walls_CK = np.vstack([normals_NK, np.eye(width), -np.eye(width)])  # walls · w + room ≥ 0
    room_C = np.concatenate([np.zeros(len(normals_NK)), np.ones(2 * width)])
    for _ in range(WALK):
        way_MK = draw.normal(size=at_MK.shape)
        slope_MC, left_MC = way_MK @ walls_CK.T, np.maximum(at_MK @ walls_CK.T + room_C, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            ends_MC = -left_MC / slope_MC
        least_M = np.where(slope_MC > 0, ends_MC, -np.inf).max(1)
        most_M = np.where(slope_MC < 0, ends_MC, np.inf).min(1)
        at_MK = at_MK + (least_M + (most_M - least_M) * draw.random(len(at_MK)))[:, None] * way_MK
    return at_MK
