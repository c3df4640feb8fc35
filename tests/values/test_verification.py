"""Testers of value alignment: whom they must pass, what a pass is worth, and how many questions they ask."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from plumbline.values import halfspaces, mdp, verification
from plumbline.values.verification import TESTERS, Planner


def grid(draw: np.random.Generator, width: int, features: int = 5) -> mdp.Problem:
    """width² cells of one feature each, every feature somewhere; four moves, against the edge one stays."""
    cells = np.arange(width * width)
    row, column = np.divmod(cells, width)
    next_SA = [np.clip(row + down, 0, width - 1) * width + np.clip(column + right, 0, width - 1) for down, right in MOVES]
    kinds = draw.permutation(np.concatenate([np.arange(features), draw.integers(0, features, len(cells) - features)]))
    return mdp.deterministic(np.stack(next_SA, 1), np.eye(features)[kinds], gamma=0.9)


MOVES = (0, -1), (-1, 0), (0, 1), (1, 0)


def judged(seed: int, agents: int = 20) -> tuple[dict[str, list[bool]], list[bool], dict[str, int]]:
    """Verdicts of every tester, truths, numbers of questions: one 4 × 4 grid, half of the agents near the human."""
    draw = np.random.default_rng(seed)
    problem, human_K = grid(draw, 4), draw.normal(size=5)
    others_NK = human_K + draw.normal(size=(agents, 5)) * np.where(np.arange(agents) % 2, 1.0, 0.1)[:, None]
    tests = {name: build(problem, human_K) for name, build in TESTERS.items()}
    planners = [Planner(problem, agent_K, seed=seed) for agent_K in others_NK]
    truths = [halfspaces.aligned(problem, human_K, agent_K) for agent_K in others_NK]
    verdicts = {name: [test.passes(planner) for planner in planners] for name, test in tests.items()}
    return verdicts, truths, {name: test.questions for name, test in tests.items()}


@pytest.mark.parametrize("name", TESTERS)
@pytest.mark.parametrize("seed", range(6))
def test_who_wants_what_the_human_wants_passes(name: str, seed: int):
    draw = np.random.default_rng(seed)
    problem = grid(draw, 4)
    for human_K in (draw.normal(size=5), draw.integers(-2, 3, 5).astype(float)):  # without ties, and with many
        test = TESTERS[name](problem, human_K)
        for scale, ties in ((1.0, 0), (0.01, 1), (700.0, 2)):
            assert test.passes(Planner(problem, scale * human_K, seed=ties))


def test_a_pass_is_worth_what_the_paper_says():
    runs = [judged(seed) for seed in range(6)]
    truth = np.concatenate([run[1] for run in runs])
    verdict = {name: np.concatenate([run[0][name] for run in runs]) for name in TESTERS}
    assert 0.1 < truth.mean() < 0.7
    assert (verdict["reward query"] == truth).all()
    for name in ("ARP-w", "ARP-pref"):  # sufficient where nothing ties: whoever passes is aligned, whoever is aligned passes
        assert (verdict[name] == truth).mean() > 0.98
    for name in ("ARP-bb", "SCOT", "critical states"):  # necessary: an aligned agent does what the human could do, in any state
        assert verdict[name][truth].all()
        assert verdict[name][~truth].mean() < 0.3
    assert verdict["critical states"][~truth].any()  # not sufficient


def test_rates_where_ties_are_common():
    wrong: dict[str, list[bool]] = {name: [] for name in TESTERS}
    truths = []
    for seed in range(80):
        draw = np.random.default_rng(seed)
        problem = mdp.deterministic(draw.integers(0, 4, (4, 3)), np.eye(3)[draw.integers(0, 3, 4)], gamma=0.9)
        human_K, *others = draw.integers(-3, 4, (7, 3)).astype(float)
        tests = {name: build(problem, human_K) for name, build in TESTERS.items()}
        for other_K in others:
            truths.append(halfspaces.aligned(problem, human_K, other_K))
            for name, test in tests.items():
                wrong[name].append(test.passes(Planner(problem, other_K, seed=seed)) != truths[-1])
    truth, error = np.array(truths), {name: np.array(row) for name, row in wrong.items()}
    assert not error["reward query"].any()
    assert 0.0 < error["ARP-w"].mean() < 0.05  # of a single polytope
    for name in ("ARP-bb", "SCOT", "critical states"):
        assert not error[name][truth].any()
        assert 0.0 < error[name][~truth].mean() < 0.5  # what an agent does says less than what it wants


def test_the_kinds_of_questions_and_what_they_ask():
    # 0 → 1 or 2, both stay: the human prefers 1.   Successor features: 1: 10 e1, 2: 10 e2.   One half-space, (0, 1, −1)/√2, seen in state 0
    problem = mdp.deterministic([[1, 2], [1, 1], [2, 2]], np.eye(3), gamma=0.9)
    human_K = [0.0, 1.0, 0.9]
    preference, action = verification.arp_pref(problem, human_K), verification.arp_bb(problem, human_K)
    assert preference.better_NK.tolist() == [pytest.approx([1.0, 9.0, 0.0])]  # φ(0) + .9 · 10 e1
    assert preference.worse_NK.tolist() == [pytest.approx([1.0, 0.0, 9.0])]
    assert action.states_N.tolist() == [0]
    assert verification.scot(problem, human_K).states_N.tolist() == [0]  # the demonstration goes on to 1, where nothing can be wrong
    # Q(0, ·) = .9 · 10 · (1, .9) = 9, 8.1: best − mean = .45
    assert verification.critical_states(problem, human_K, threshold=0.44).questions == 1
    assert verification.critical_states(problem, human_K, threshold=0.46).questions == 0
    liar = Planner(problem, [0.0, 0.9, 1.0])
    assert not preference.passes(liar)
    assert not action.passes(liar)
    assert Planner(problem, [5.0, 1.0, 1.0]).prefers(np.array([1.0, 9, 0]), np.array([1.0, 0, 9])) == 0


def test_a_tie_in_the_answer_is_no_strict_preference():
    problem = mdp.deterministic([[1, 2], [1, 1], [2, 2]], np.eye(3), gamma=0.9)
    careless = Planner(problem, [1.0, 0.0, 0.0])
    assert not verification.arp_pref(problem, [0.0, 1.0, 0.9]).passes(careless)
    assert not verification.reward_query(problem, [0.0, 1.0, 0.9]).passes(careless)


def test_the_order_among_rejected_actions_is_no_business_of_alignment():
    # the human: 1 before 2 before 3.   The agent: 1 before 3 before 2.   Both go to 1
    problem = mdp.deterministic([[1, 2, 3], [1] * 3, [2] * 3, [3] * 3], np.eye(4), gamma=0.9)
    human_K, agent = [0, 3, 2, 1], Planner(problem, [0, 3, 1, 2])
    assert verification.arp_pref(problem, human_K).passes(agent)
    assert not verification.arp_pref(problem, human_K, every_pair=True).passes(agent)


@pytest.mark.parametrize("seed", range(20))
def test_set_cover_covers_and_is_near_the_fewest(seed: int):
    shown_DM = np.random.default_rng(seed).random((9, 7)) < 0.3
    reachable_M = shown_DM.any(0)
    chosen = verification.set_cover(shown_DM)
    assert (shown_DM[chosen].any(0) == reachable_M).all()
    fewest = next(n for n in range(10) for some in combinations(range(9), n) if (shown_DM[list(some)].any(0) == reachable_M).all())
    assert fewest <= len(chosen) <= fewest * (1 + np.log(7))


def text_world(*rows: str) -> mdp.Problem:
    """G the goal, which ends it, a dot a step, x water or lava; γ .95, begins anywhere."""
    width, cells = len(rows[0]), "".join(rows)
    position = np.array([divmod(cell, width) for cell in range(len(cells))])
    to = np.clip(position[:, None] + np.array(MOVES), 0, (len(rows) - 1, width - 1)) @ (width, 1)
    to[[kind == "G" for kind in cells]] = len(cells)  # the goal leads to an end that has no features
    kinds = ["G.x".index(kind) for kind in cells]
    return mdp.deterministic(np.vstack([to, [[len(cells)] * 4]]), np.vstack([np.eye(3)[kinds], np.zeros((1, 3))]), gamma=0.95)


@pytest.mark.parametrize(
    ("rows", "questions"),
    [
        (("xx.....x", "x......x", "x..G..xx"), {"ARP-bb": 2, "ARP-pref": 2, "SCOT": 5, "critical states": 14}),
        (("..xxx.G", "..xxx..", "......."), {"ARP-bb": 2, "ARP-pref": 2, "SCOT": 10, "critical states": 13}),
    ],
)
def test_island_and_lava(rows: tuple[str, ...], questions: dict[str, int]):
    # published: island 2, 2, 5, 14; lava 2, 2, 11, 13 (SCOT's depends on the demonstrations drawn)
    problem, human_K = text_world(*rows), [50.0, -1.0, -50.0]
    tests = {name: TESTERS[name](problem, human_K).questions for name in ("ARP-bb", "ARP-pref", "SCOT")}
    assert tests | {"critical states": verification.critical_states(problem, human_K, threshold=10).questions} == questions
