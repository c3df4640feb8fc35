"""The losses of thumbs by hand, and what must hold for every input."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import tensor

from plumbline.losses.thumbs import kto_loss

GAINS = st.lists(st.floats(-30, 30, width=32), min_size=1, max_size=6)


def test_kto_by_hand():
    # gains 2 and 2, point 1, β 0.5: desirable 3·σ(0.5·(2 − 1)) = 3·0.62246 = 1.86738, loss 3 − 1.86738 = 1.13262;
    # undesirable 2·σ(0.5·(1 − 2)) = 2·0.37754 = 0.75508, loss 2 − 0.75508 = 1.24492
    loss_N, value_N = kto_loss(tensor([2.0, 2.0]), tensor([1.0, 0.0]), 1.0, beta=0.5, weight_N=tensor([3.0, 2.0]))
    assert value_N.tolist() == pytest.approx([1.86738, 0.75508], abs=1e-5)
    assert loss_N.tolist() == pytest.approx([1.13262, 1.24492], abs=1e-5)


def test_at_the_point_nothing_is_gained_or_lost():
    loss_N, value_N = kto_loss(tensor([0.7, 0.7]), tensor([1.0, 0.0]), 0.7, beta=2.0, weight_N=tensor([1.0, 4.0]))
    assert value_N.tolist() == pytest.approx([0.5, 2.0])  # λ σ(0)
    assert loss_N.tolist() == pytest.approx([0.5, 2.0])


def test_gradient_by_hand():
    # dL/dg = −λ s β σ(x)(1 − σ(x)), x = β s (g − z): at β 0.5, g − z = 1 it is 0.62246·0.37754·0.5 = 0.117502, for both signs of s
    gain_N = tensor([2.0, 2.0], requires_grad=True)
    kto_loss(gain_N, tensor([1.0, 0.0]), 1.0, beta=0.5, weight_N=tensor([1.0, 3.0]))[0].sum().backward()
    assert gain_N.grad is not None
    assert gain_N.grad.tolist() == pytest.approx([-0.117502, 3 * 0.117502], abs=1e-5)


@given(GAINS, st.floats(0, 5), st.floats(0.05, 2))
def test_a_thumb_turned_round_shares_the_weight(gains: list[float], point: float, beta: float):
    gain_N, one_N = tensor(gains), torch.ones(len(gains))
    (up_N, _), (down_N, _) = (kto_loss(gain_N, good * one_N, point, beta=beta, weight_N=one_N) for good in (1.0, 0.0))
    assert (up_N + down_N).tolist() == pytest.approx([1.0] * len(gains), abs=1e-5)  # σ(x) + σ(−x) = 1
    assert all(0 <= x <= 1 for x in up_N.tolist())


@given(GAINS, st.floats(0.05, 2))
def test_a_higher_point_makes_gains_smaller(gains: list[float], beta: float):
    gain_N, one_N = tensor(gains), torch.ones(len(gains))
    low, high = (kto_loss(gain_N, one_N, point, beta=beta, weight_N=one_N)[1] for point in (0.0, 1.0))
    assert bool((high <= low).all())


@pytest.mark.parametrize(("gain", "thumb", "weight"), [((2, 1), (2, 1), (2, 1)), ((2,), (1,), (2,)), ((2,), (2,), (1,))])
def test_shapes_are_asserted(gain: tuple[int, ...], thumb: tuple[int, ...], weight: tuple[int, ...]):
    with pytest.raises(ValueError, match="a number for each completion"):  # the last two would broadcast without a word
        kto_loss(torch.zeros(gain), torch.zeros(thumb), 0.0, beta=1.0, weight_N=torch.ones(weight))


def test_far_away_it_is_flat_and_finite():
    loss_N, _ = kto_loss(tensor([1e4, -1e4]), tensor([1.0, 1.0]), 0.0, beta=1.0, weight_N=torch.ones(2))
    assert loss_N.tolist() == [0.0, 1.0]
    assert math.isfinite(loss_N.sum().item())
