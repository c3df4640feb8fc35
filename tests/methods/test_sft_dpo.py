"""SFT and DPO against the sums of their papers, and that cutting a batch up changes nothing."""

import math
import random

import pytest
import torch
from tiny_lm import FewBatches, TinyLM, close, draw_groups, gradient
from torch import Tensor

from plumbline.core.batches import Group
from plumbline.core.errors import UserError
from plumbline.core.methods import Step
from plumbline.methods.dpo import dpo
from plumbline.methods.sft import sft

DEMOS = draw_groups(seed=3, count=9, completions=1)
PAIRS = draw_groups(seed=4, count=9, completions=2)


@pytest.fixture
def policy() -> TinyLM:
    return TinyLM(1)


@pytest.fixture
def reference() -> TinyLM:
    return TinyLM(2).requires_grad_(False)


def written_out(policy: TinyLM, loss: Tensor) -> tuple[float, Tensor]:
    return gradient(policy, (Step(x, policy) for x in [loss]))


def test_sft_is_the_mean_over_completion_tokens(policy: TinyLM):
    nats = sum(-g.weight * policy.one(g.prompt, g.completions[0]).sum() for g in DEMOS)
    tokens = sum(g.weight * len(g.completions[0]) for g in DEMOS)
    assert isinstance(nats, Tensor)
    close(gradient(policy, sft(policy, FewBatches([DEMOS]))), written_out(policy, nats / tokens))


def test_sft_reports_nats_per_token(policy: TinyLM):
    (step,) = sft(policy, FewBatches([DEMOS]))
    rows = torch.cat([-policy.one(g.prompt, g.completions[0]) for g in DEMOS])
    assert step.metrics["nll"].mean().item() == pytest.approx(rows.mean().item())


@pytest.mark.parametrize(("beta", "nll"), [(0.1, 0.0), (0.4, 0.2)])
def test_dpo_is_the_mean_over_pairs_of_sums_over_tokens(policy: TinyLM, reference: TinyLM, beta: float, nll: float):
    losses, chosen_nats = [], []
    for g in PAIRS:
        up, down = (policy.one(g.prompt, c).sum() - reference.one(g.prompt, c).sum() for c in g.completions)
        right = torch.sigmoid(beta * (up - down))
        losses.append(-g.weight * (g.preference * right.log() + (1 - g.preference) * (1 - right).log()))
        chosen_nats.append(-g.weight * max(0, 2 * g.preference - 1) * policy.one(g.prompt, g.completions[0]).sum())
    pairs = sum(g.weight for g in PAIRS)
    chosen_tokens = sum(g.weight * len(g.completions[0]) for g in PAIRS)
    by_hand = torch.stack(losses).sum() / pairs + nll * torch.stack(chosen_nats).sum() / chosen_tokens
    close(gradient(policy, dpo(policy, reference, FewBatches([PAIRS]), beta=beta, nll=nll)), written_out(policy, by_hand))


@pytest.mark.parametrize("micro_tokens", [1, 12, 25])
@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("name", ["sft", "dpo"])
def test_parts_order_and_ranks_change_nothing(policy: TinyLM, reference: TinyLM, name: str, micro_tokens: int, ranks: int):
    def run(groups: list[Group], **cut: int) -> tuple[float, Tensor]:
        data = FewBatches([groups], **cut)
        return gradient(policy, sft(policy, data) if name == "sft" else dpo(policy, reference, data, nll=0.3))

    groups = DEMOS if name == "sft" else PAIRS
    shuffled = random.Random(micro_tokens).sample(groups, len(groups))
    pieces = [run(shuffled, micro_tokens=micro_tokens, rank=r, ranks=ranks) for r in range(ranks)]
    close(run(groups), (sum(p[0] for p in pieces), torch.stack([p[1] for p in pieces]).sum(0)))


def test_dpo_begins_at_log_two(policy: TinyLM):
    (step,) = dpo(policy, TinyLM(1).requires_grad_(False), FewBatches([PAIRS]))
    assert step.loss.item() == pytest.approx(math.log(2))  # 0.6931: the policy is the reference
    assert step.metrics["margin"].tolist() == [0.0] * len(PAIRS)


def test_descent_raises_the_margin_of_what_is_preferred(policy: TinyLM, reference: TinyLM):
    pair = [Group((1, 2), ((3, 4), (5,)))]

    def margin() -> float:
        (step,) = dpo(policy, reference, FewBatches([pair]))
        step.loss.backward()
        return step.metrics["margin"].item()

    before = margin()
    with torch.no_grad():
        for p in policy.parameters():
            assert p.grad is not None
            p -= 0.1 * p.grad
    assert margin() > before


def test_a_tie_is_neither_right_nor_wrong(policy: TinyLM, reference: TinyLM):
    def pair(preference: float) -> Group:
        return Group((1, 2), ((3, 4), (5,)), preference=preference)

    (step,) = dpo(policy, reference, FewBatches([[pair(0.5), pair(1.0), pair(0.0), pair(0.9)]]))
    first = float(step.metrics["margin"][0] > 0)  # all four margins are equal: the first and last are right together, the third not
    assert step.metrics["accuracy"].tolist() == [first, 1 - first, first]
    (ties,) = dpo(policy, reference, FewBatches([[pair(0.5)]]))
    assert len(ties.metrics["accuracy"]) == 0


def test_rewards_are_what_the_margin_is_made_of(policy: TinyLM, reference: TinyLM):
    (step,) = dpo(policy, reference, FewBatches([PAIRS]), beta=0.3)
    seen = step.metrics
    torch.testing.assert_close(seen["chosen_reward"] - seen["rejected_reward"], seen["margin"])
    (step,) = dpo(policy, reference, FewBatches([[PAIRS[0]]]), beta=0.3)
    g = PAIRS[0]
    chosen = 0.3 * (policy.one(g.prompt, g.completions[0]).sum() - reference.one(g.prompt, g.completions[0]).sum())
    assert step.metrics["chosen_reward"].item() == pytest.approx(chosen.item())


def test_a_ranking_is_refused_by_its_row(policy: TinyLM, reference: TinyLM):
    with pytest.raises(UserError, match="row 12 ranks 3 completions"):
        next(dpo(policy, reference, FewBatches([[Group((1,), ((2,), (3,), (4,)), row=12)]])))


@pytest.mark.parametrize(("beta", "nll"), [(0.0, 0.0), (-1.0, 0.0), (0.1, -0.5)])
def test_dpo_in_reverse_is_refused(policy: TinyLM, reference: TinyLM, beta: float, nll: float):
    with pytest.raises(UserError, match="beta must be above 0"):
        next(dpo(policy, reference, FewBatches([PAIRS]), beta=beta, nll=nll))
