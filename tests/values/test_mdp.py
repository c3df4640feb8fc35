"""Exact solutions: by hand on a chain, and against value iteration on random problems."""

from __future__ import annotations

import numpy as np
import pytest

from plumbline.core.errors import UserError
from plumbline.values import mdp
from plumbline.values.halfspaces import aligned_polytope
from plumbline.values.verification import Planner


def random_problem(seed: int, states: int = 6, actions: int = 3, features: int = 4) -> mdp.Problem:
    draw = np.random.default_rng(seed)
    return mdp.Problem(
        draw.dirichlet(np.ones(states), (states, actions)), draw.normal(size=(states, features)), draw.dirichlet(np.ones(states)), 0.9
    )


def test_a_chain_by_hand():
    # 0 → 1 → 2 → 2 …, or stay.   r = (0, 1, 3), γ = 0.5: V(2) = 3 / (1 − .5) = 6; V(1) = 1 + .5·6 = 4; V(0) = 0 + .5·4 = 2
    chain = mdp.deterministic([[1, 0], [2, 1], [2, 2]], np.eye(3), gamma=0.5)
    value_S, q_SA = mdp.solve(chain, [0.0, 1.0, 3.0])
    assert value_S == pytest.approx([2.0, 4.0, 6.0])
    assert q_SA == pytest.approx(np.array([[2.0, 1.0], [4.0, 3.0], [6.0, 6.0]]))  # staying at 0: 0 + .5·2, at 1: 1 + .5·4
    assert mdp.optimal(chain, [0.0, 1.0, 3.0]).tolist() == [[True, False], [True, False], [True, True]]  # of the last a tie
    assert mdp.successor_features(chain, [[1, 0]] * 3) == pytest.approx(np.array([[1, 0.5, 0.5], [0, 1, 1], [0, 0, 2.0]]))


@pytest.mark.parametrize("seed", range(8))
def test_policy_iteration_is_the_limit_of_value_iteration(seed: int):
    problem = random_problem(seed)
    reward_S = problem.reward(np.random.default_rng(seed + 100).normal(size=4))
    value_S, q_SA = mdp.solve(problem, reward_S)
    limit_S = np.zeros(problem.states)
    for _ in range(600):
        limit_S = mdp.action_values(problem, reward_S, limit_S).max(1)
    assert value_S == pytest.approx(limit_S, abs=1e-9)
    assert q_SA.max(1) == pytest.approx(value_S)


@pytest.mark.parametrize("seed", range(4))
def test_values_are_weights_on_successor_features(seed: int):
    problem, draw = random_problem(seed), np.random.default_rng(seed)
    policy_SA, weights_K = draw.dirichlet(np.ones(problem.actions), problem.states), draw.normal(size=4)
    values_S = mdp.values_of(problem, problem.reward(weights_K), policy_SA)
    assert mdp.successor_features(problem, policy_SA) @ weights_K == pytest.approx(values_S)


def test_scaling_and_no_reward():
    problem, weights_K = random_problem(3), np.array([1.0, -2.0, 0.5, 0.0])
    assert (mdp.optimal(problem, 1e6 * weights_K) == mdp.optimal(problem, weights_K)).all()
    assert mdp.optimal(problem, np.zeros(4)).all()  # of nothing every action is optimal
    assert mdp.uniform([[True, True, False]]).tolist() == [[0.5, 0.5, 0.0]]


def test_what_is_no_problem_is_refused():
    with pytest.raises(UserError, match="gamma is 1"):
        mdp.deterministic([[0]], [[1.0]], gamma=1.0)
    with pytest.raises(UserError, match="state 5 of 2"):
        mdp.deterministic([[0], [5]], np.eye(2), gamma=0.9)
    with pytest.raises(UserError, match="state -1 of 2"):
        mdp.deterministic([[0], [-1]], np.eye(2), gamma=0.9)
    with pytest.raises(UserError, match=r"state 0\.5 of 2"):
        mdp.deterministic([[0], [0.5]], np.eye(2), gamma=0.9)
    with pytest.raises(UserError, match="a feature is not finite"):
        mdp.deterministic([[0], [1]], [[1.0], [np.nan]], gamma=0.9)
    with pytest.raises(UserError, match="add up to 1"):
        mdp.Problem(np.zeros((2, 1, 2)), np.eye(2), np.array([0.5, 0.5]), 0.9)


@pytest.mark.parametrize("weights", [[np.nan, 0.0], [np.inf, 0.0], [1.0], [1.0, 2.0, 3.0]])
def test_weights_are_a_finite_number_for_each_feature(weights: list[float]):
    problem = mdp.deterministic([[0, 1], [1, 0]], np.eye(2), gamma=0.9)
    for asks in (mdp.optimal, Planner, aligned_polytope):
        with pytest.raises(UserError, match=r"Give (2 )?finite numbers"):
            asks(problem, weights)
