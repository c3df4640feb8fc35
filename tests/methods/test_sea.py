"""SEA: who is chosen by hand-set heads, what is asked, what is learned from it, and that it needs fewer labels than asking at random."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
import torch
from tiny_lm import FewRounds, TinyLM
from torch import Tensor

from plumbline.core.batches import Group
from plumbline.core.errors import UserError
from plumbline.core.methods import Step
from plumbline.core.nouns import Comparison, Prompt, Reply, Sampling
from plumbline.core.rollouts import Draw, Running
from plumbline.methods import duels
from plumbline.methods.learners import Fit, Learn
from plumbline.methods.sea import sea
from plumbline.models.epistemic import Epistemic

PROMPTS = [Prompt(text) for text in ("1", "2 3", "4 4 4", "5 1", "6 2 2 3", "3 6")]
SHORT, RUNNING = Draw(max_tokens=3), Running(5)


# -- who is chosen

# Three heads on three replies.   Favourites: 0, 1, 1.
HEADS = torch.tensor([[2.0, 0.0, 1.0], [0.0, 3.0, 1.0], [0.5, 1.0, -1.0]])


def test_win_variance_by_hand():
    # σ(r(0) − r(1)) of the heads: σ(2) = .880797, σ(−3) = .047426, σ(−.5) = .377541; mean .435255
    # squared distances .198508, .150413, .003331: their mean .117417
    variance = duels.win_variance(HEADS)
    assert variance[0, 1].item() == pytest.approx(0.117417, abs=1e-5)
    assert torch.allclose(variance, variance.T)
    assert variance.diagonal().tolist() == [0, 0, 0]


def test_the_first_arm_is_drawn_as_often_as_it_is_the_best_in_the_posterior():
    """Twenty heads of which 1, 3, 6, 10 like replies 0 … 3 best: shares .05, .15, .3, .5."""
    favourites = [0] + [1] * 3 + [2] * 6 + [3] * 10
    reward_EK = torch.eye(4)[favourites]
    for choose in (duels.explore, duels.best_arm):
        chance = Random(0)
        counts = Counter(choose(reward_EK, chance)[0] for _ in range(2000))
        for arm, share in enumerate((0.05, 0.15, 0.3, 0.5)):
            assert abs(counts[arm] / 2000 - share) < 4 * math.sqrt(share * (1 - share) / 2000)


def test_the_second_arm_of_explore_is_the_favourite_of_a_head_that_disagrees():
    """Given the first, a second head is drawn until it disagrees: of the rest P(b | a) is its share among heads that do not like a."""
    favourites = [0] + [1] * 3 + [2] * 6
    chance, counts = Random(1), Counter()
    for _ in range(3000):
        first, second = duels.explore(torch.eye(3)[favourites], chance)
        assert first != second
        counts[first, second] += 1
    given_2 = counts[2, 0] + counts[2, 1]
    assert abs(counts[2, 1] / given_2 - 0.75) < 4 * math.sqrt(0.1875 / given_2)  # 3 of the 4 heads that do not like 2
    assert {duels.explore(torch.eye(3)[[1, 1]], Random(k)) for k in range(30)} == {(1, 0), (1, 2)}  # all agree: any other


def test_best_arm_contrasts_with_whom_the_favourite_is_least_known_to_beat():
    variance = duels.win_variance(HEADS)
    for seed in range(8):
        first, second = duels.best_arm(HEADS, Random(seed))
        assert second == max((k for k in range(3) if k != first), key=lambda k: float(variance[first, k]))
    # against 1, of reply 0: .117417 (above); of reply 2: σ(1) = .731059, σ(−2) = .119203, σ(−2) = .119203; variance .083193
    assert variance[1, 2].item() == pytest.approx(0.083193, abs=1e-5)
    assert {duels.best_arm(HEADS, Random(k)) for k in range(20)} >= {(1, 0)}


def test_uncertainty_takes_the_pair_of_the_greatest_variance():
    first, second = duels.uncertainty(HEADS, Random(0))
    variance = duels.win_variance(HEADS)
    assert variance[first, second] == variance.max()
    assert len(set(duels.uncertainty(torch.ones(3, 4), Random(0)))) == 2  # nothing is uncertain: still two different replies


def test_believed_is_one_heads_best_and_worst():
    assert {duels.believed(HEADS, Random(k)) for k in range(20)} == {(0, 1), (1, 0), (1, 2)}


def test_apl_asks_where_entropy_is_high_and_implicit_rewards_are_far_apart():
    entropy = [1.0, 9.0, 8.0, 2.0, 7.0, 6.0, 3.0, 0.0]  # the half: prompts 1, 2, 4, 5
    gains = [[0.0, 99.0], [1.0, 1.5, 0.0], [0.0, 4.0], [0.0, 50.0], [-3.0, 3.0, 0.0], [0.2, 0.1], [0.0, 9.0], [0.0, 9.0]]
    # gaps 1.5, 4, 6, .1: the half of these are prompts 2 and 4, the likelier reply (relative to the reference) first
    assert duels.apl(entropy, gains) == [(2, (1, 0)), (4, (1, 0))]
    assert duels.apl([1.0], [[0.0, 0.0]]) == [(0, (0, 1))]  # before anything was learned all gaps are 0


# -- what is asked and learned


class Longest:
    """Prefers the reply with the larger sum of tokens; a tie is said."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, tuple[str, ...]]] = []
        self.announced: list[int] = []

    def announce(self, questions: Sequence[Any]) -> None:
        self.announced.append(len(questions))

    def compare(self, context: Any, completions: Sequence[str]) -> Comparison:
        self.asked.append((context, tuple(completions)))
        values = [sum(map(int, text.split())) for text in completions]
        order = tuple(sorted(completions, key=lambda text: -sum(map(int, text.split()))))
        return Comparison(context, order, 0.5 if values[0] == values[1] else 0.9)


def read(groups: Sequence[Group]) -> Tensor:
    return torch.tensor([[1.0, float(sum(c)), float(len(c)), float(g.prompt[0])] for g in groups for c in g.completions])


def belief() -> Epistemic:
    return Epistemic(read, 4, heads=5, hidden=8, seed=1)


def run(policy: TinyLM, epistemic: Epistemic, oracle: Any, *, rounds: int = 1, running: Running = RUNNING, **settings: Any) -> list[Step]:
    reference = TinyLM(1).requires_grad_(False)
    settings = {"proposals": 6, "sampling": SHORT, **settings}
    return list(sea(policy, reference, epistemic, oracle, FewRounds([PROMPTS] * rounds, running), **settings))


STRATEGIES = ["explore", "best-arm", "uncertainty", "apl", "passive", "xpo"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_asks_about_different_replies_and_learns(strategy: str):
    policy, epistemic, oracle, updates = TinyLM(1), belief(), Longest(), []
    steps = run(policy, epistemic, oracle, running=Running(5, update=lambda: updates.append(1)), strategy=strategy)
    assert oracle.asked
    assert all(len(set(pair)) == 2 for _, pair in oracle.asked)
    assert oracle.announced == [len(oracle.asked)]
    assert steps[0].metrics == {"labels": len(oracle.asked), "own": 0}
    by_heads = strategy in duels.BY_BELIEF
    assert {role for s in steps for role in s.updates} == ({policy, epistemic} if by_heads else {policy})
    assert epistemic.labels == (len(oracle.asked) if by_heads else 0)
    assert len(updates) == 1 + 5 * by_heads
    if strategy == "apl":
        assert len(oracle.asked) <= 2  # half of the half of six prompts


def test_the_preferred_is_learned_as_the_first_with_its_preference():
    policy, oracle = TinyLM(1), Longest()
    seen: list[Group] = []
    list(run(policy, belief(), oracle, strategy="explore", running=Running(5, learning=lambda batch: seen.extend(batch.groups))))
    assert len(seen) == len(oracle.asked)
    for group in seen:
        first, second = (sum(c) for c in group.completions)
        assert first >= second
        assert group.preference == (0.5 if first == second else 0.9)


def test_the_replay_holds_the_features_of_what_was_asked():
    epistemic, oracle = belief(), Longest()
    run(TinyLM(1), epistemic, oracle, strategy="best-arm")
    raw = epistemic.pairs_R2H / epistemic.pairs_R2H[..., :1]  # the first feature was 1 before features were scaled
    asked = {frozenset(sum(map(int, t.split())) for t in pair) for _, pair in oracle.asked}
    assert {frozenset(round(float(x)) for x in row) for row in raw[..., 1]} == asked
    assert all(a >= b or p == 0.5 for (a, b), p in zip(raw[..., 1].tolist(), epistemic.preference_R.tolist(), strict=True))


def test_at_most_the_share_is_labelled_by_the_model_and_only_after_the_burn_in():
    epistemic, oracle = belief(), Longest()
    steps = run(TinyLM(1), epistemic, oracle, rounds=3, strategy="explore", own=0.3, burn_in=6)
    counts = [(s.metrics["labels"], s.metrics["own"]) for s in steps if "labels" in s.metrics]
    assert counts == [(6, 0), (5, 1), (5, 1)]  # ⌊.3 · 6⌋ = 1
    assert epistemic.labels == 16 == len(oracle.asked)
    for strategy in ("uncertainty", "passive"):
        steps = run(TinyLM(1), belief(), Longest(), rounds=2, strategy=strategy, own=1.0, burn_in=0)
        assert all(s.metrics["own"] == 0 for s in steps if "own" in s.metrics)


def test_what_the_model_labels_itself_is_a_heads_best_over_its_worst_and_is_not_remembered():
    epistemic, oracle, seen = belief(), Longest(), []
    run(TinyLM(1), epistemic, oracle, strategy="explore", own=1.0, burn_in=0, running=Running(5, learning=lambda b: seen.extend(b.groups)))
    assert not oracle.asked
    assert epistemic.labels == 0
    assert len(seen) == 6
    for group in seen:
        assert group.preference == 1.0
        reward_E2 = belief()(epistemic.features([group]))
        assert (reward_E2[:, 0] > reward_E2[:, 1]).any()  # one head at least thinks so


@pytest.mark.parametrize("loss", ["dpo", "ipo", "slic"])
def test_any_comparison_loss_learns(loss: Any):
    policy = TinyLM(1)
    steps = run(policy, belief(), Longest(), strategy="passive", learn=Learn(loss=loss, delta=5.0))
    taught = [s for s in steps if s.loss is not None]
    if loss == "dpo":  # policy and reference are equal: every margin is 0, every loss log 2
        assert sum(s.loss.item() for s in taught) == pytest.approx(math.log(2))
    taught[0].loss.backward()
    assert policy.embed.grad is not None
    assert policy.embed.grad.abs().max() > 0


def test_xpo_makes_the_references_reply_less_likely():
    """α Σ log π(y') is added to the loss, so its descent lowers log π of the reference's replies: the sign of optimism."""
    policy, seen = TinyLM(1), []
    how = Learn(xpo=0.5)
    steps = run(policy, belief(), Longest(), strategy="xpo", learn=how, running=Running(5, learning=lambda b: seen.append(b)))
    (bonus,) = (s for s in steps if s.loss is not None and not s.metrics)
    (batch,) = seen
    mine = [[k for k in (0, 1) if batch.columns["second_arm"][2 * g + k] == 1.0] for g in range(len(batch.groups))]
    assert all(len(ks) == 1 for ks in mine)
    logps = [policy.one(group.prompt, group.completions[ks[0]]).sum() for group, ks in zip(batch.groups, mine, strict=True)]
    expected = 0.5 * sum(logps, torch.zeros(())) / len(logps)
    assert bonus.loss.item() == pytest.approx(expected.item(), rel=1e-9)
    before = expected.item()
    bonus.loss.backward()
    with torch.no_grad():
        for p in policy.parameters():
            assert p.grad is not None
            p -= 1e-2 * p.grad
    after = [policy.one(group.prompt, group.completions[ks[0]]).sum().item() for group, ks in zip(batch.groups, mine, strict=True)]
    assert 0.5 * sum(after) / len(after) < before


def test_a_round_without_any_duel_asks_nothing():
    class Same(TinyLM):
        def sample(self, prompts: Sequence[Prompt], n: int, sampling: Sampling) -> list[list[Reply]]:
            return [[Reply("3 0", (3, 0), (-1.0, -1.0))] * n for _ in prompts]

    oracle = Longest()
    steps = run(Same(1), belief(), oracle, strategy="best-arm")
    assert not oracle.asked
    assert [s.loss for s in steps] == [None]


def test_a_round_drawn_again_asks_the_same():
    found = []
    for _ in range(2):
        oracle = Longest()
        run(TinyLM(1), belief(), oracle, strategy="explore")
        found.append(oracle.asked)
    assert found[0] == found[1]


def test_settings_that_mean_nothing_are_refused():
    wrong: list[dict[str, Any]] = [{"strategy": "best"}, {"proposals": 1}, {"own": 1.5}, {"burn_in": -1}]
    for settings in wrong:
        with pytest.raises(UserError):
            run(TinyLM(1), belief(), Longest(), **settings)
    for make in (lambda: Learn(loss="ppo"), lambda: Learn(passes=0), lambda: Fit(updates=0), lambda: Fit(pull=-1.0)):  # pyright: ignore[reportArgumentType]
        with pytest.raises(UserError):
            make()


# -- fewer labels

ARMS, WIDTH, LABELS = 40, 6, 24


def simple_regret(seed: int, choose: duels.Chooser) -> list[float]:
    """After each label: how far the arm that the heads think best is below the best, in standard deviations of the arms' values."""
    noise, chance = torch.Generator().manual_seed(seed), Random(seed)
    x_KH, w_H = torch.randn(ARMS, WIDTH, generator=noise), torch.randn(WIDTH, generator=noise)
    x_KH = x_KH * x_KH.square().mean(1, keepdim=True).rsqrt()
    value_K = x_KH @ w_H / (x_KH @ w_H).std()
    heads = Epistemic(read, WIDTH, heads=10, hidden=16, seed=seed)
    adam, regrets = torch.optim.Adam(heads.parameters(), lr=2e-3), []
    for _ in range(LABELS):
        a, b = choose(heads(x_KH).detach(), chance)
        heads.remember(x_KH[[a, b]][None], [float(value_K[a] > value_K[b])])
        for _ in range(6):
            loss, _ = heads.loss(heads.draw(64, chance), pull=0.1)
            adam.zero_grad()
            loss.backward()
            adam.step()
        regrets.append(float(value_K.max() - value_K[heads(x_KH).mean(0).argmax()]))
    return regrets


def test_fewer_labels_than_at_random_for_the_same_simple_regret():
    """A linear bandit of 40 arms: the same heads, replay and fits, only the pair that is asked about differs."""

    def at_random(reward_EK: Tensor, chance: Random) -> duels.Pair:
        a, b = chance.sample(range(reward_EK.shape[1]), 2)
        return a, b

    def needed(choose: duels.Chooser) -> int:
        """Labels from which on the mean regret of five bandits stays within a fifth."""
        mean_T = [sum(column) / 5 for column in zip(*(simple_regret(seed, choose) for seed in range(5)), strict=True)]
        return next((t + 1 for t in range(LABELS) if max(mean_T[t:]) <= 0.2), LABELS + 1)

    active, passive = needed(duels.best_arm), needed(at_random)
    assert active <= 0.6 * passive
