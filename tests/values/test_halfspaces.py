"""The aligned region against brute force over all policies, and the two problems on which a single polytope errs."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from plumbline.core.errors import UserError
from plumbline.values import halfspaces, mdp

FEATURES = np.eye(3)[[0, 2, 1]]  # state 0 has feature 0, state 1 feature 2, state 2 feature 1
FALSELY_PASSED = [[1, 2], [1, 2], [0, 2]], (-1, 0, 0), (0, -1, -3)
FALSELY_FAILED = [[1, 1], [0, 1], [1, 2]], (0, -1, 0), (3, 1, 0)


def counts_of_policies(problem: mdp.Problem) -> np.ndarray:
    """(policies, S, K) successor features of every deterministic policy."""
    chosen_PS = np.array(list(product(range(problem.actions), repeat=problem.states)))
    next_PSS = problem.next_SAS[np.arange(problem.states), chosen_PS]
    return np.linalg.solve(np.eye(problem.states) - problem.gamma * next_PSS, problem.features_SK[None])


def optimal_policies(counts_PSK: np.ndarray, weights_K: np.ndarray) -> np.ndarray:
    """(policies,) those of which none is better anywhere."""
    value_PS = counts_PSK @ weights_K
    return (value_PS >= value_PS.max(0) - 1e-9).all(1)


def small_problem(seed: int, agents: int = 3) -> tuple[mdp.Problem, np.ndarray, np.ndarray]:
    """3–4 states, 2–3 actions, one of 3 features each, weights of a human and of `agents` in {−3 … 3}: ties are common."""
    draw = np.random.default_rng(seed)
    states, actions = draw.integers(3, 5), draw.integers(2, 4)
    problem = mdp.deterministic(draw.integers(0, states, (states, actions)), np.eye(3)[draw.integers(0, 3, states)], gamma=0.9)
    return problem, draw.integers(-3, 4, 3).astype(float), draw.integers(-3, 4, (agents, 3)).astype(float)


def judge(seed: int) -> np.ndarray:
    """(agents, 5): brute force, both Q functions, the region as asked, the union of its pieces, the single polytope."""
    problem, human_K, agents_NK = small_problem(seed)
    counts_PSK = counts_of_policies(problem)
    fine_P = optimal_policies(counts_PSK, human_K)
    region, single = halfspaces.aligned_region(problem, human_K), halfspaces.aligned_halfspaces(problem, human_K)
    pieces = region.pieces()
    rows = []
    for agent_K in agents_NK:
        brute = bool((optimal_policies(counts_PSK, agent_K) <= fine_P).all())
        union = any(piece.contains(agent_K) for piece in pieces)
        asked = region.contains(agent_K)
        rows.append([brute, halfspaces.aligned(problem, human_K, agent_K), asked, union, single.contains(agent_K)])
    return np.array(rows)


@pytest.mark.parametrize(("example", "truth"), [(FALSELY_PASSED, False), (FALSELY_FAILED, True)])
def test_where_a_single_polytope_errs(example, truth: bool):
    next_SA, human, agent = example
    problem = mdp.deterministic(next_SA, FEATURES, gamma=0.9)
    counts_PSK = counts_of_policies(problem)
    assert (optimal_policies(counts_PSK, np.array(agent)) <= optimal_policies(counts_PSK, np.array(human))).all() == truth
    assert halfspaces.aligned(problem, human, agent) == truth
    assert halfspaces.aligned_region(problem, human).contains(agent) == truth
    assert any(piece.contains(agent) for piece in halfspaces.aligned_region(problem, human).pieces()) == truth
    assert halfspaces.aligned_polytope(problem, human).contains(agent) != truth


def test_the_union_is_brute_force_on_a_thousand_problems():
    judged = np.concatenate([judge(seed) for seed in range(1000)])
    assert (judged[:, 1:4] == judged[:, :1]).all()
    aligned, single = judged[:, 0], judged[:, 4]
    assert 0.2 < aligned.mean() < 0.8  # both answers are common, so agreeing is no accident
    assert (single & ~aligned).any()  # and a single polytope errs
    assert (~single & aligned).any()  # in both directions


@pytest.mark.parametrize("seed", range(12))
def test_removing_what_others_imply_leaves_the_region(seed: int):
    problem, human_K, _ = small_problem(seed)
    every = halfspaces.aligned_halfspaces(problem, human_K)
    least = every.minimal()
    points_NK = np.random.default_rng(seed).normal(size=(400, 3))
    assert [every.contains(point) for point in points_NK] == [least.contains(point) for point in points_NK]
    for row in range(len(least.normals_NK)):  # and none of those left is implied: some point fails that one alone
        others = np.delete(least.normals_NK, row, axis=0)
        assert len(halfspaces.needed(np.vstack([others, least.normals_NK[row]]))) == len(least.normals_NK)


def test_what_others_imply_by_hand():
    # x > 0; (1, 1) is x + y; (1, 0) comes twice; (−1, 2) is not implied: at (1, 0.1) it is −0.8; with x it implies y > 0
    normals = np.array([[1.0, 0.0], [0.0, 1.0], [0.5**0.5, 0.5**0.5], [1.0, 0.0], [-1.0, 2.0]])
    assert sorted(map(tuple, normals[halfspaces.needed(normals)])) == [(-1.0, 2.0), (1.0, 0.0)]
    assert halfspaces.needed(np.zeros((0, 2))).tolist() == []


def test_scale_means_nothing_and_who_wants_nothing_is_aligned_with_nobody_who_cares():
    problem, human_K, agents_NK = small_problem(5)
    region = halfspaces.aligned_region(problem, human_K)
    for agent_K in agents_NK:
        verdicts = {region.contains(scale * agent_K) for scale in (1e-12, 1.0, 1e12)}
        assert verdicts == {halfspaces.aligned(problem, human_K, agent_K)}
    choice = mdp.deterministic([[1, 2], [1, 1], [2, 2]], np.eye(3), gamma=0.9)
    assert not halfspaces.aligned(choice, [0.0, 1.0, 0.0], np.zeros(3))
    assert not halfspaces.aligned_region(choice, [0.0, 1.0, 0.0]).contains(np.zeros(3))  # to it what the human rejects is as good
    assert halfspaces.aligned_region(choice, np.zeros(3)).contains([0.0, 1.0, 0.0])


def test_too_many_pieces_are_refused_and_asking_still_works():
    problem = mdp.deterministic([[0, 1, 2, 3]] * 4, np.eye(4), gamma=0.9)
    region = halfspaces.aligned_region(problem, np.zeros(4))
    assert len(region.pieces()) == 4**4
    with pytest.raises(UserError, match="256 pieces"):
        region.pieces(limit=100)
    assert region.contains([1.0, 0.0, 0.0, 0.0])
    same_place = mdp.deterministic([[1, 1, 1], [0, 0, 0]], np.eye(2), gamma=0.9)
    assert len(halfspaces.aligned_region(same_place, [1.0, 0.0]).pieces()) == 1
