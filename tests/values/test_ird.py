"""The posterior by enumeration and by hand, the plan against every policy, and lavaland."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from plumbline.core.errors import UserError
from plumbline.values import grid, ird, lavaland, mdp

# One choice, then the end: left pays feature 0 once, right feature 1, both next (γ = .5); feature 2 is met nowhere in training.
FORK = mdp.deterministic([[1, 2], [3, 3], [3, 3], [3, 3]], [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 0]], gamma=0.5, start_S=[1, 0, 0, 0])
CUBE = np.array(list(product([-1.0, 0.0, 1.0], repeat=3)))


def random_problem(seed: int, states: int = 3, actions: int = 2, features: int = 3) -> mdp.Problem:
    draw = np.random.default_rng(seed)
    rows = draw.dirichlet(np.ones(states), (states, actions))
    return mdp.Problem(rows, draw.normal(size=(states, features)), draw.dirichlet(np.ones(states)), 0.8)


def test_a_posterior_by_hand():
    # w̃ = (1, 0, 0) goes left: φ̃ = .5·(1, 0, 0).   The other proxy goes right: .5·(0, 1, 0).   β = 2: exp(w·e₀) / (exp(w₀) + exp(w₁))
    two = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    found = ird.posterior(FORK, two[0], two, beta=2.0)
    assert found.told_K == pytest.approx([0.5, 0, 0])
    e = np.e
    assert found.prob_N == pytest.approx([e / (1 + e), 1 / (1 + e)])  # e/(e+1) and 1/(1+e) add up to 1 already
    assert found.mean == pytest.approx([e / (1 + e), 1 / (1 + e), 0])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("own", [False, True])
def test_the_posterior_is_bayes_rule_term_by_term(seed: int, own: bool):
    problem, draw = random_problem(seed), np.random.default_rng(seed + 50)
    candidates, proxies, prior = draw.normal(size=(5, 3)), draw.normal(size=(4, 3)), draw.dirichlet(np.ones(5))
    proxy = draw.normal(size=3)

    def best_plan(weights: np.ndarray) -> np.ndarray:
        """By enumeration: of all deterministic policies the one of highest return."""
        plans = [ird.collected(problem, np.eye(2)[list(choice)]) for choice in product(range(2), repeat=3)]
        return max(plans, key=lambda collected: float(weights @ collected))

    unnormalised = []
    for weights, before in zip(candidates, prior, strict=True):
        total = sum(np.exp(1.5 * weights @ best_plan(p)) for p in [*proxies, proxy])
        total += np.exp(1.5 * weights @ best_plan(weights)) if own else 0
        unnormalised.append(before * np.exp(1.5 * weights @ best_plan(proxy)) / total)
    found = ird.posterior(problem, proxy, candidates, beta=1.5, prior_N=prior, proxies_MK=proxies, own=own)
    assert found.prob_N == pytest.approx(np.array(unnormalised) / sum(unnormalised))


def test_a_feature_absent_in_training_keeps_its_prior():
    prior = np.random.default_rng(0).dirichlet(np.ones(9))
    prior_N = np.outer(prior, [0.2, 0.3, 0.5]).reshape(-1)  # the third feature independent of the other two
    found = ird.posterior(FORK, [1.0, 0.0, -1.0], CUBE, beta=4.0, prior_N=prior_N)
    assert found.marginal(2) == pytest.approx({-1.0: 0.2, 0.0: 0.3, 1.0: 0.5})
    moved = found.marginal(0)
    assert abs(moved[1.0] - prior[6:].sum()) > 0.05  # one that training met does not


def test_without_beta_the_posterior_is_the_prior_and_with_more_it_tightens():
    prior_N = np.random.default_rng(1).dirichlet(np.ones(27))
    assert ird.posterior(FORK, [1.0, 0.0, 0.0], CUBE, beta=0.0, prior_N=prior_N).prob_N == pytest.approx(prior_N)
    right = CUBE[:, 0] > CUBE[:, 1]  # the weights that agree with going left
    shares = [ird.posterior(FORK, [1.0, 0.0, 0.0], CUBE, beta=beta).prob_N[right].sum() for beta in (0.0, 1.0, 4.0, 50.0)]
    assert shares == sorted(shares)
    assert shares[0] == pytest.approx(1 / 3)  # 3 of 9 pairs


def test_proxies_that_behave_alike_say_alike():
    listed = [*CUBE, [7.0, 2.0, 0.0]]  # with (1, 0, 0) goes left, so which of the two was written says nothing
    said, other = (ird.posterior(FORK, proxy, CUBE, beta=2.0, proxies_MK=listed) for proxy in ([1.0, 0.0, 0.0], [7.0, 2.0, 0.0]))
    assert said.prob_N == pytest.approx(other.prob_N)
    # every proxy once more under another name: Z̃ doubles for every w
    once = ird.posterior(FORK, [1.0, 0.0, 0.0], CUBE, beta=2.0)
    twice = ird.posterior(FORK, [1.0, 0.0, 0.0], CUBE, beta=2.0, proxies_MK=[*CUBE, *(3 * CUBE)])
    assert twice.prob_N == pytest.approx(once.prob_N)


def test_the_normaliser_has_the_proxy_in_it_once():
    # w̃ goes left and the only other proxy right, as in the first test, whether or not w̃ is listed
    two, proxy = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), [1.0, 0.0, 0.0]
    with_it = ird.posterior(FORK, proxy, two, beta=2.0, proxies_MK=two)
    without = ird.posterior(FORK, proxy, two, beta=2.0, proxies_MK=two[1:])
    assert without.prob_N == pytest.approx(with_it.prob_N)


def test_several_worlds_are_judged_by_their_mean_and_soft_plans_tend_to_the_best():
    other = mdp.Problem(FORK.next_SAS, FORK.features_SK[:, ::-1].copy(), FORK.start_S, FORK.gamma)
    both = ird.told([FORK, other], [[1.0, 0.0, 0.0]])[0]
    # in `other` feature 1 is right's still and feature 2 left's: for w̃ both pay 0, a tie: .5·(0, .5, .5); mean with (.5, 0, 0)
    assert both == pytest.approx([0.25, 0.125, 0.125])
    # softly: Q(left) − Q(right) = .5·1, so left has σ(.5 / temperature)
    assert ird.literal(FORK, [1.0, 0.0, 0.0], temperature=0.25)[0, 0] == pytest.approx(1 / (1 + np.exp(-2.0)))
    assert ird.literal(FORK, [1.0, 0.0, 0.0], temperature=0.01)[0, 0] == pytest.approx(1)


def test_samples_follow_the_posterior():
    found = ird.posterior(FORK, [1.0, 0.0, 0.0], CUBE, beta=4.0)
    draws = found.sample(4000, seed=0)
    assert draws.mean(0) == pytest.approx(found.mean, abs=0.05)  # sd below 1: 3 standard errors are .047
    assert (draws == found.sample(4000, seed=0)).all()


def test_the_cautious_plan_mixes_by_hand():
    # w ∈ {(1, 0, 0), (0, 1, 0)}: p left is worth .5p to one and .5(1 − p) to the other: best at ½, worst case .25; nothing told
    policy_SA, worst = ird.plan(FORK, np.eye(3)[:2], np.zeros(3))
    assert worst == pytest.approx(0.25)
    assert policy_SA[0] == pytest.approx([0.5, 0.5])
    assert ird.plan_pure(FORK, np.eye(3)[:2], np.zeros(3))[1] == pytest.approx(0)  # unmixed, one of the two always gets nothing
    # told φ̃ = .5·e₀: the first loses .5(1 − p), the second gains: left for sure, worst case 0
    policy_SA, worst = ird.plan(FORK, np.eye(3)[:2], [0.5, 0, 0])
    assert worst == pytest.approx(0)
    assert policy_SA[0] == pytest.approx([1, 0])


@pytest.mark.parametrize("seed", range(5))
def test_no_policy_has_a_better_worst_case(seed: int):
    problem, draw = random_problem(seed), np.random.default_rng(seed + 9)
    weights, told_K = draw.normal(size=(4, 3)), draw.normal(size=3)

    def worst_of(policy_SA: np.ndarray) -> float:
        return float((weights @ (ird.collected(problem, policy_SA) - told_K)).min())

    policy_SA, worst = ird.plan(problem, weights, told_K)
    assert worst_of(policy_SA) == pytest.approx(worst, abs=1e-7)  # the policy is worth what the program says
    pure = [worst_of(np.eye(2)[list(choice)]) for choice in product(range(2), repeat=3)]
    mixed = [worst_of(draw.dirichlet(np.ones(2), 3)) for _ in range(300)]
    assert worst >= max(pure + mixed) - 1e-9
    unmixed_SA, unmixed = ird.plan_pure(problem, weights, told_K)
    assert unmixed == pytest.approx(max(pure)) == worst_of(unmixed_SA)  # of the policies that do not mix, the best by enumeration
    assert worst >= worst_of(ird.plan_each_step(problem, weights, told_K)) - 1e-9
    # one sample alone is planned for as it stands: the maximin is its optimal return
    alone = ird.plan(problem, weights[:1], told_K)[1]
    assert alone == pytest.approx(problem.start_S @ mdp.solve(problem, problem.reward(weights[0]))[0] - weights[0] @ told_K)


def test_the_plan_ignores_repeated_samples_and_moves_with_what_was_told():
    problem, weights = random_problem(1), np.random.default_rng(3).normal(size=(3, 3))
    worst = ird.plan(problem, weights, np.zeros(3))[1]
    assert ird.plan(problem, np.repeat(weights, 5, axis=0), np.zeros(3))[1] == pytest.approx(worst)
    # a feature of 1 everywhere, with a weight of its own in each sample, cancels against φ̃'s: 1/(1 − γ) = 5
    wide = mdp.Problem(problem.next_SAS, np.column_stack([problem.features_SK, np.ones(3)]), problem.start_S, problem.gamma)
    shifted = np.column_stack([weights, [3.0, -8.0, 0.5]])
    assert ird.plan(wide, shifted, [0, 0, 0, 5.0])[1] == pytest.approx(worst)


def test_the_chance_of_ever_being_there():
    # from 0: half to 1 (the goal), a quarter stay, a quarter to 2 for ever: P = .5 + .25 P = 2/3
    chain = mdp.Problem(np.array([[[0.25, 0.5, 0.25]], [[0, 1, 0]], [[0, 0, 1.0]]]), np.eye(3), np.array([1.0, 0, 0]), 0.9)
    assert ird.reaches(chain, np.ones((3, 1)), [1]) == pytest.approx(2 / 3)
    assert ird.reaches(chain, np.ones((3, 1)), [0]) == 1


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(UserError, match="proxy"):
        ird.posterior(FORK, [1.0, 0.0], CUBE, beta=1.0)


def test_lavaland_is_read_as_drawn():
    train, test = lavaland.world(lavaland.TRAIN), lavaland.world(lavaland.TEST)
    assert not train.states("~")  # nobody thought of lava
    way = grid.path(train, ird.literal(train.problem, lavaland.PROXY))
    assert {train.kind(state) for state in way} == {"S", ".", "T"}
    assert grid.draw_path(train, way).splitlines()[1:5] == ["#S,,,,,T#", "#*,,,,,*#", "#*,,,,,*#", "#*******#"]
    # 12 moves: dirt at t = 0 … 11 and the target at 12, of which the indicator is TARGET
    gamma = lavaland.GAMMA
    dirt = (1 - gamma**12) / (1 - gamma)
    assert ird.told([train.problem], [lavaland.PROXY])[0] == pytest.approx([dirt, 0, lavaland.TARGET * gamma**12, 0])
    assert "~" in {test.kind(state) for state in grid.path(test, ird.literal(test.problem, lavaland.PROXY))}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_caution_goes_round_and_the_letter_and_the_mean_go_through(seed: int):
    found = lavaland.outcome(seed, 60)
    assert found.crosses == pytest.approx({"literal": 1, "mean": 1, "averse": 0})
    assert found.arrives["averse"] == pytest.approx(1)  # it does not merely stay at home


def test_a_designer_who_saw_lava_and_wrote_0_is_believed():
    found = lavaland.outcome(0, 60, seen=True)
    assert found.crosses["averse"] == pytest.approx(1)
