"""Maximum causal entropy: the figures of another implementation, a horizon by hand, brute force over paths, and recovered behaviour."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from plumbline.core.errors import UserError
from plumbline.values import irl

# ReasonablePOMDP of the package `imitation` (tests/algorithms/test_mce_irl.py): transitions, rewards, start and horizon as stated there.
# 0 leads to 1 or 2 or the bad state 3; 1 and 2 to 4, perhaps by 3; 3 to 4; 4 back to 0.
NEXT_SAS = np.array(
    [
        [[0, 0.9, 0.1, 0, 0], [0, 0, 0, 1, 0], [0, 0.1, 0.9, 0, 0]],
        [[0, 0, 0, 0.05, 0.95], [0, 0, 0, 1, 0], [0, 0, 0, 0, 1]],
        [[0, 0, 0, 0.05, 0.95], [0, 0, 0, 1, 0], [0, 0, 0, 0, 1]],
        [[0, 0, 0, 0, 1]] * 3,
        [[1, 0, 0, 0, 0]] * 3,
    ]
)
REWARD_S = np.array([1.0, 2.0, 2.0, -20.0, 3.0])
START_S = np.array([0.5, 0, 0, 0, 0.5])


def test_the_figures_of_imitation():
    value_HS, policy_HSA = irl.soft_plan(NEXT_SAS, REWARD_S, horizon=20)
    assert value_HS[0] == pytest.approx([53.2983, 54.836443, 54.836443, 33.649463, 54.744662], abs=1e-6)
    visits_S = irl.occupancy(NEXT_SAS, policy_HSA, START_S).sum(0)
    assert visits_S == pytest.approx([6.998829, 3.397594, 3.397594, 0.405233, 6.800749], abs=1e-6)
    assert visits_S.sum() == pytest.approx(21)  # 20 decisions visit 21 states


def test_one_and_two_decisions_by_hand():
    # stay or go between two states, r = (0, 1).   H = 1: V = r + log 2.   H = 2, s = 0: Q = 0 + V_1(s'), so V = log(2 + 2e)
    both = np.array([[[1, 0], [0, 1]], [[0, 1], [1, 0]]], dtype=float)
    value_HS, policy_HSA = irl.soft_plan(both, [0.0, 1.0], horizon=2)
    assert value_HS[1] == pytest.approx([np.log(2), 1 + np.log(2)])
    assert value_HS[0] == pytest.approx([np.log(2 + 2 * np.e), 1 + np.log(2 + 2 * np.e)])
    assert policy_HSA[0, 0] == pytest.approx([1 / (1 + np.e), np.e / (1 + np.e)])  # e of return for going, 1 for staying
    assert policy_HSA[1] == pytest.approx(np.full((2, 2), 0.5))  # the last decision is not paid for


@pytest.mark.parametrize("seed", range(3))
def test_deterministic_moves_make_paths_as_likely_as_the_exponent_of_their_return(seed: int):
    draw, horizon = np.random.default_rng(seed), 4
    to_SA, reward_S = draw.integers(0, 3, (3, 2)), draw.normal(size=3)
    next_SAS = np.eye(3)[to_SA]
    value_HS, policy_HSA = irl.soft_plan(next_SAS, reward_S, horizon=horizon)
    weights, chances = [], []
    for moves in product(range(2), repeat=horizon):
        at, total, chance = 0, 0.0, 1.0
        for step, move in enumerate(moves):
            total, chance, at = total + reward_S[at], chance * policy_HSA[step, at, move], to_SA[at, move]
        weights.append(np.exp(total))
        chances.append(chance)
    assert chances == pytest.approx(np.array(weights) / sum(weights))
    assert value_HS[0, 0] == pytest.approx(np.log(sum(weights)))


def test_shifting_rewards_changes_values_and_no_policy():
    value_HS, policy_HSA = irl.soft_plan(NEXT_SAS, REWARD_S, horizon=6, gamma=0.9)
    shifted_HS, same_HSA = irl.soft_plan(NEXT_SAS, REWARD_S + 2, horizon=6, gamma=0.9)
    assert same_HSA == pytest.approx(policy_HSA)
    assert shifted_HS[0] - value_HS[0] == pytest.approx(2 * (1 - 0.9**6) / (1 - 0.9))


@pytest.mark.parametrize("gamma", [1.0, 0.9])
def test_the_expert_is_matched_and_its_policy_found(gamma: float):
    true_HSA = irl.soft_plan(NEXT_SAS, REWARD_S / 4, horizon=8, gamma=gamma)[1]
    expert_K = irl.occupancy(NEXT_SAS, true_HSA, START_S, gamma=gamma)[:-1].sum(0)
    found = irl.fit(NEXT_SAS, np.eye(5), START_S, expert_K, horizon=8, gamma=gamma)
    assert found.gap < 1e-5
    reached = irl.occupancy(NEXT_SAS, true_HSA, START_S)[:-1] > 0
    assert found.policy_HSA[reached] == pytest.approx(true_HSA[reached], abs=1e-4)  # the dual is convex: one policy, many rewards


def test_a_deterministic_expert_needs_the_pull_to_zero():
    paths = [[0, 1, 4, 0], [4, 0, 1, 4]]
    expert_K = irl.collected(paths, np.eye(5))
    assert expert_K == pytest.approx([1.5, 1, 0, 0, 1.5])  # of 8 visits 3, 2, 0, 0, 3; two paths
    found = irl.fit(NEXT_SAS, np.eye(5), START_S, expert_K, horizon=4, l2=0.1)
    # at the optimum learner − expert + l2·w = 0
    assert found.learner_K - expert_K == pytest.approx(-0.1 * found.weights_K, abs=1e-5)
    assert found.weights_K[3] < 0 < found.weights_K[1]


def test_what_cannot_be_fitted_is_refused():
    with pytest.raises(UserError, match="horizon is 0"):
        irl.soft_plan(NEXT_SAS, REWARD_S, horizon=0)
    with pytest.raises(UserError, match="no demonstrations"):
        irl.collected([], np.eye(5))
