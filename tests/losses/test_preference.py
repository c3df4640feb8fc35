"""The preference losses by hand, and what must hold for every input."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import tensor

from plumbline.losses.preference import dpo_loss, ipo_loss, slic_loss

NATS = st.floats(-50, 0, width=32)
PAIR = st.tuples(NATS, NATS)


def test_dpo_by_hand():
    # policy (−1, −3), reference (−2, −2), β 0.5: margin 0.5·[(−1+2) − (−3+2)] = 0.5·[1 + 1] = 1, loss log(1 + e⁻¹) = 0.3133
    loss_N, margin_N = dpo_loss(tensor([[-1.0, -3.0]]), tensor([[-2.0, -2.0]]), beta=0.5)
    assert margin_N.item() == pytest.approx(1.0)
    assert loss_N.item() == pytest.approx(math.log(1 + math.exp(-1)), abs=1e-6)
    assert loss_N.item() == pytest.approx(0.3133, abs=1e-4)


def test_the_reference_and_every_entry_count():
    # policy (−1, −4), reference (−3, −5), β 0.1: margin 0.1·[(−1+3) − (−4+5)] = 0.1·[2 − 1] = 0.1, loss log(1 + e^−0.1) = 0.6444
    loss_N, margin_N = dpo_loss(tensor([[-1.0, -4.0]]), tensor([[-3.0, -5.0]]), beta=0.1)
    assert margin_N.item() == pytest.approx(0.1)
    assert loss_N.item() == pytest.approx(0.6444, abs=1e-4)


def test_stated_preference_by_hand():
    # margin 1 as above, p = 0.8: 0.8·log(1 + e⁻¹) + 0.2·log(1 + e) = 0.8·0.31326 + 0.2·1.31326 = 0.51326
    loss_N, _ = dpo_loss(tensor([[-1.0, -3.0]]), tensor([[-2.0, -2.0]]), beta=0.5, preference_N=tensor([0.8]))
    assert loss_N.item() == pytest.approx(0.51326, abs=1e-5)


def test_each_pair_has_its_own_preference():
    logp_N2, ref_N2 = tensor([[-1.0, -3.0], [-1.0, -3.0]]), tensor([[-2.0, -2.0], [-2.0, -2.0]])
    loss_N, _ = dpo_loss(logp_N2, ref_N2, beta=0.5, preference_N=tensor([1.0, 0.0]))
    assert loss_N.tolist() == pytest.approx([0.31326, 1.31326], abs=1e-5)  # log(1 + e⁻¹) and log(1 + e)


def test_begins_at_log_two():
    logp_N2 = tensor([[-12.0, -3.0], [-1.0, -40.0]])
    loss_N, margin_N = dpo_loss(logp_N2, logp_N2, beta=0.7)
    assert loss_N.tolist() == pytest.approx([math.log(2)] * 2)
    assert margin_N.tolist() == [0.0, 0.0]


def test_gradient_by_hand():
    # dL/dm = −σ(−m) = −σ(−1) = −0.26894 at margin 1; dm/dlogp = (β, −β) = (0.5, −0.5)
    logp_N2 = tensor([[-1.0, -3.0]], requires_grad=True)
    dpo_loss(logp_N2, tensor([[-2.0, -2.0]]), beta=0.5)[0].sum().backward()
    assert logp_N2.grad is not None
    assert logp_N2.grad[0].tolist() == pytest.approx([-0.13447, 0.13447], abs=1e-5)


def test_a_tie_pulls_the_margin_to_zero():
    def slope(chosen: float) -> float:
        logp_N2 = tensor([[chosen, -2.0]], requires_grad=True)
        dpo_loss(logp_N2, tensor([[-2.0, -2.0]]), beta=0.5, preference_N=tensor([0.5]))[0].sum().backward()
        assert logp_N2.grad is not None
        return logp_N2.grad[0, 0].item()

    assert slope(-2.0) == 0.0  # margin 0: nothing to learn from a tie
    assert slope(-1.0) > 0 > slope(-3.0)  # descent lowers a positive margin and raises a negative one


@given(PAIR, PAIR, st.floats(0.01, 2), st.floats(0, 1))
def test_swapping_the_pair_negates_the_margin(logp: tuple[float, float], ref: tuple[float, float], beta: float, p: float):
    there, margin = dpo_loss(tensor([logp]), tensor([ref]), beta=beta, preference_N=tensor([p]))
    back, negated = dpo_loss(tensor([logp[::-1]]), tensor([ref[::-1]]), beta=beta, preference_N=tensor([1 - p]))
    assert negated.item() == -margin.item()
    assert back.item() == pytest.approx(there.item(), rel=1e-5, abs=1e-5)


@given(PAIR, PAIR, st.floats(0.01, 2))
def test_stays_finite_and_is_bounded_below_by_the_hinge(logp: tuple[float, float], ref: tuple[float, float], beta: float):
    # −log σ(m) = log(1 + e^−m) lies between max(0, −m) and max(0, −m) + log 2
    loss_N, margin_N = dpo_loss(tensor([logp]), tensor([ref]), beta=beta)
    hinge = max(0.0, -margin_N.item())
    assert hinge - 1e-4 <= loss_N.item() <= hinge + math.log(2) + 1e-4


@pytest.mark.parametrize(("logp", "ref"), [((2, 3), (2, 3)), ((2,), (2,)), ((2, 2), (1, 2)), ((2, 2, 2), (2, 2, 2))])
def test_shapes_are_asserted_at_the_door(logp: tuple[int, ...], ref: tuple[int, ...]):
    with pytest.raises(ValueError, match="compares pairs"):
        dpo_loss(torch.zeros(logp), torch.zeros(ref), beta=0.1)


@pytest.mark.parametrize("shape", [(1,), (3,), (2, 1), ()])
def test_a_preference_for_every_pair(shape: tuple[int, ...]):
    with pytest.raises(ValueError, match="a preference for each of 2 pairs"):
        dpo_loss(torch.zeros(2, 2), torch.zeros(2, 2), beta=0.1, preference_N=torch.ones(shape))


# -- IPO and SLiC


def test_ipo_by_hand():
    # policy (−1, −4), reference (−3, −5): h = (−1 + 3) − (−4 + 5) = 1; τ 0.25: (1 − 2)² = 1, of a tie (1 − 0)² = 1, reversed (1 + 2)² = 9,
    # of p = 0.75 it is (1 − 0.5/0.5)² = 0
    logp_N2, ref_N2 = tensor([[-1.0, -4.0]] * 4), tensor([[-3.0, -5.0]] * 4)
    loss_N, margin_N = ipo_loss(logp_N2, ref_N2, tau=0.25, preference_N=tensor([1.0, 0.5, 0.0, 0.75]))
    assert margin_N.tolist() == [1.0] * 4
    assert loss_N.tolist() == pytest.approx([1.0, 1.0, 9.0, 0.0])
    assert ipo_loss(ref_N2[:1], ref_N2[:1], tau=0.25)[0].tolist() == [4.0]  # where training begins: (0 − 2)²


def test_ipo_pulls_back_what_went_too_far():
    logp_N2 = tensor([[0.0, -5.0]], requires_grad=True)
    ipo_loss(logp_N2, tensor([[-1.0, -1.0]]), tau=0.5)[0].sum().backward()  # h = 5, aim 1: slope 2·(5 − 1) = 8
    assert logp_N2.grad is not None
    assert logp_N2.grad.tolist() == [[8.0, -8.0]]


def test_slic_by_hand():
    # h = −1 + 3 = 2: at δ 1 nothing, at δ 5 it is 3; reversed (p 0) at δ 1 it is 1 + 2 = 3; p 0.75 at δ 5 half of 3; of a tie 0
    pair = [[-1.0, -3.0]]
    assert slic_loss(tensor(pair), delta=1.0)[0].tolist() == [0.0]
    assert slic_loss(tensor(pair), delta=5.0)[0].tolist() == [3.0]
    assert slic_loss(tensor(pair), delta=1.0, preference_N=tensor([0.0]))[0].tolist() == [3.0]
    loss_N, margin_N = slic_loss(tensor(pair * 2), delta=5.0, preference_N=tensor([0.75, 0.5]))
    assert (loss_N.tolist(), margin_N.tolist()) == ([1.5, 0.0], [2.0, 2.0])


@given(PAIR, PAIR, st.floats(0.05, 2), st.floats(0, 1))
def test_swapping_the_pair_negates_the_margins_of_ipo_and_slic(logp: tuple[float, float], ref: tuple[float, float], scale: float, p: float):
    there, back = tensor([logp]), tensor([logp[::-1]])
    for loss in (
        lambda x, y, q: ipo_loss(x, y, tau=scale, preference_N=tensor([q])),
        lambda x, _, q: slic_loss(x, delta=scale, preference_N=tensor([q])),
    ):
        (one, margin), (two, negated) = loss(there, tensor([ref]), p), loss(back, tensor([ref[::-1]]), 1 - p)
        assert negated.item() == -margin.item()
        assert two.item() == pytest.approx(one.item(), rel=1e-4, abs=1e-4)


def test_shapes_of_ipo_and_slic_are_asserted():
    with pytest.raises(ValueError, match="pairs are compared"):
        slic_loss(torch.zeros(3), delta=1.0)
    with pytest.raises(ValueError, match="each of 2 pairs"):
        ipo_loss(torch.zeros(2, 2), torch.zeros(2, 2), tau=1.0, preference_N=torch.zeros(3))
