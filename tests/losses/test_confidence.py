"""The confidence loss by hand, what turning pairs round does to it, and how much of a batch is hardened."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from plumbline.losses.confidence import balanced_cut, confidence_loss, risen
from plumbline.losses.reward import bradley_terry_loss

FLOATS = st.floats(-20, 20).map(lambda x: round(x, 3))
SHARES = st.floats(0, 1).map(lambda x: round(x, 3))
PAIRS = st.lists(st.tuples(FLOATS, SHARES), min_size=1, max_size=9)


def of(pairs: list[tuple[float, float]]) -> tuple[Tensor, Tensor]:
    margin, weak = zip(*pairs, strict=True)
    return torch.tensor(margin, dtype=torch.float64), torch.tensor(weak, dtype=torch.float64)


def test_by_hand():
    # f = σ(log 3) = ¾, weak label 0.2, α ¼, t ½: hardened 1
    # CE(f, 0.2) = −0.2 log ¾ − 0.8 log ¼ = 0.057536 + 1.109035 = 1.166572;   CE(f, 1) = −log ¾ = 0.287682
    # ¾ · 1.166572 + ¼ · 0.287682 = 0.946849
    loss_N, hard_N = confidence_loss(torch.tensor([math.log(3)]), torch.tensor([0.2]), alpha=0.25)
    assert loss_N.item() == pytest.approx(0.946849, abs=1e-5)
    assert hard_N.item() == 1.0
    # with t = 0.8 the same prediction is hardened to 0:   ¾ · 1.166572 + ¼ · (−log ¼ = 1.386294) = 1.221502
    loss_N, hard_N = confidence_loss(torch.tensor([math.log(3)]), torch.tensor([0.2]), alpha=0.25, cut=math.log(0.8 / 0.2))
    assert loss_N.item() == pytest.approx(1.221502, abs=1e-5)
    assert hard_N.item() == 0.0


def test_without_alpha_it_is_the_plain_loss_and_with_all_of_it_the_weak_labels_count_for_nothing():
    margin_N, weak_N = torch.tensor([-2.0, 0.3, 5.0]), torch.tensor([0.9, 0.5, 0.1])
    plain_N, _ = bradley_terry_loss(torch.stack([margin_N, torch.zeros(3)], 1), weak_N)
    torch.testing.assert_close(confidence_loss(margin_N, weak_N, alpha=0.0)[0], plain_N)
    own_N = confidence_loss(margin_N, weak_N, alpha=1.0)[0]
    torch.testing.assert_close(own_N, torch.log1p(torch.exp(-margin_N.abs())))  # −log of how sure it is
    torch.testing.assert_close(own_N, confidence_loss(margin_N, 1 - weak_N, alpha=1.0)[0])


@given(PAIRS, st.floats(0, 1), FLOATS)
def test_turning_every_pair_round_turns_the_hardened_label_round_and_changes_no_loss(pairs, alpha, cut):
    margin_N, weak_N = of(pairs)
    loss_N, hard_N = confidence_loss(margin_N, weak_N, alpha=alpha, cut=cut)
    turned_N, other_N = confidence_loss(-margin_N, 1 - weak_N, alpha=alpha, cut=-cut)
    torch.testing.assert_close(turned_N, loss_N)
    torch.testing.assert_close(other_N, 1 - hard_N)


@given(PAIRS, st.floats(0, 1))
def test_the_gradient_is_how_far_the_prediction_is_from_the_mixed_label_which_has_none_itself(pairs, alpha):
    margin_N, weak_N = of(pairs)
    margin_N.requires_grad_(True)
    loss_N, hard_N = confidence_loss(margin_N, weak_N, alpha=alpha)
    assert not hard_N.requires_grad
    (slope_N,) = torch.autograd.grad(loss_N.sum(), margin_N)
    torch.testing.assert_close(slope_N, torch.sigmoid(margin_N.detach()) - (1 - alpha) * weak_N - alpha * hard_N)


@given(st.lists(FLOATS, min_size=1, max_size=12, unique=True), st.floats(0, 1))
def test_the_cut_hardens_the_share_that_is_asked_for_to_the_nearest_example(margins, share):
    margin_N = torch.tensor(margins, dtype=torch.float64)
    _, hard_N = confidence_loss(margin_N, torch.full_like(margin_N, 0.5), alpha=1.0, cut=balanced_cut(margin_N, share))
    assert abs(hard_N.sum().item() - share * len(margins)) <= 0.5
    assert set(hard_N.tolist()) <= {0.0, 1.0}


def test_half_of_a_balanced_batch_is_hardened_whatever_the_model_prefers():
    margin_N = torch.tensor([7.0, 8.0, 9.0, 10.0])  # at t = ½ all four would be
    assert balanced_cut(margin_N, 0.5) == 8.5
    assert balanced_cut(torch.tensor([1.0, 1.0]), 0.5) == 1.0  # a tie at the cut
    assert confidence_loss(torch.tensor([1.0, 1.0]), torch.tensor([0.0, 1.0]), alpha=1.0, cut=1.0)[1].tolist() == [0.5, 0.5]


def test_alpha_rises_in_a_line_and_stays():
    assert [risen(0.75, k, 3) for k in range(6)] == pytest.approx([0.0, 0.25, 0.5, 0.75, 0.75, 0.75])
    assert risen(0.75, 0, 0) == 0.75


def test_shapes_and_shares_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="a weak label for each"):
        confidence_loss(torch.zeros(3), torch.zeros(2), alpha=0.5)
    for margin_N, share in ((torch.zeros(3), 1.5), (torch.zeros(3), -0.5), (torch.zeros(0), 0.5), (torch.zeros(2, 2), 0.5)):
        with pytest.raises(ValueError, match="log-odds and a share"):
            balanced_cut(margin_N, share)


def test_the_cut_is_a_step_beyond_the_ends_where_none_or_all_is_hardened_and_even_odds_where_none_is_given():
    both = torch.tensor([1.0, 2.0], requires_grad=True)  # and no warning: the cut has no gradient
    assert balanced_cut(both, 0.0) == 3.0
    assert balanced_cut(both, 1.0) == 0.0
    assert balanced_cut(both, 0.5) == 1.5
    assert confidence_loss(torch.tensor([-0.5, 0.5]), torch.tensor([0.5, 0.5]), alpha=1.0)[1].tolist() == [0.0, 1.0]
