"""Active reward learning: stays among the rewards that are possible, asks what splits them, and ends knowing the plan."""

from __future__ import annotations

import numpy as np
import pytest

from plumbline.core.errors import UserError
from plumbline.values import active, grid, halfspaces, mdp, verification


@pytest.mark.parametrize("seed", range(4))
def test_what_is_learned_gives_the_agent_s_own_plan(seed: int):
    problem = grid.square(4, 5, gamma=0.9, seed=seed)
    human_K, other_K = np.random.default_rng(seed).normal(size=(2, 5))
    learned = active.learn(problem, verification.Planner(problem, human_K), seed=seed)
    assert learned.aligned(problem, human_K)
    assert learned.aligned(problem, other_K) == halfspaces.aligned(problem, other_K, human_K)
    assert (learned.normals_NK @ human_K >= 0).all()  # every answer is the agent's own
    assert learned.questions == len(learned.normals_NK) > 2


def test_it_asks_more_than_verification_needs():
    problem = grid.square(6, 5, gamma=0.9, seed=0)
    human_K = np.random.default_rng(0).normal(size=5)
    learned = active.learn(problem, verification.Planner(problem, human_K), seed=0)
    assert learned.questions > verification.arp_pref(problem, human_K).questions


def test_walks_stay_inside_and_fill_the_region():
    draw = np.random.default_rng(0)
    normals_NK = np.array([[1.0, 0.0], [0.0, 1.0]])
    rows = np.concatenate([active.walked(np.array([[0.9, 0.1]]), normals_NK, draw) for _ in range(60)])
    assert (rows >= 0).all()
    assert (rows <= 1).all()
    assert rows.mean(0) == pytest.approx([0.5, 0.5], abs=4 * (1 / 12 / 960) ** 0.5)  # even on the quarter [0, 1]²: mean ½, variance 1/12


def test_the_question_splits_the_draws_most_evenly():
    # 0 → 1, 2 or 3, which stay, a feature each.   Three draws want 1, one wants 2, two want 3: the even split is 1 against the rest
    problem = mdp.deterministic([[1, 2, 3], [1] * 3, [2] * 3, [3] * 3], np.eye(4), gamma=0.5)
    weights_MK = np.array([[0, 1, 0, 0.0]] * 3 + [[0, 0, 1, 0.0]] + [[0, 0, 0, 1.0]] * 2)
    found = active.question(problem, weights_MK, np.random.default_rng(0))
    assert found is not None
    one_K, other_K = found
    gap_K = np.abs(one_K - other_K)
    assert gap_K.tolist() == pytest.approx([0.0, gap_K[1], 0.0, gap_K[1]])  # 1 against 3: three for, two against, one without a view
    assert gap_K[1] > 0


def test_nothing_is_asked_where_all_want_the_same():
    problem = grid.square(3, 2, gamma=0.9, seed=0)
    assert active.question(problem, np.array([[1.0, 0.0], [2.0, 0.0]]), np.random.default_rng(0)) is None


def test_an_agent_that_is_never_settled_is_said():
    problem = grid.square(4, 5, gamma=0.9, seed=0)
    with pytest.raises(UserError, match="1 questions did not settle"):
        active.learn(problem, verification.Planner(problem, [1.0, 0.5, 0.2, -0.3, 0.1]), limit=1)


def test_random_squares_have_every_kind_and_stay_at_the_edge():
    problem = grid.square(4, 5, gamma=0.9, seed=7)
    assert problem.features_SK.sum(0).min() >= 1
    assert (problem.features_SK.sum(1) == 1).all()
    up, right, down, left = range(4)  # the order of MOVES
    leads_SA = problem.next_SAS.argmax(2)
    assert leads_SA[0, [up, right, down, left]].tolist() == [0, 1, 4, 0]
    assert leads_SA[15, [up, right, down, left]].tolist() == [11, 15, 15, 14]
