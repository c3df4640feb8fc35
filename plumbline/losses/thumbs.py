"""Losses that learn from thumbs: this completion is desirable, or it is not.   Log-probabilities are sums over a completion, in nats."""

from __future__ import annotations

import torch
from torch import Tensor


def kto_loss(gain_N: Tensor, desirable_N: Tensor, point: Tensor | float, *, beta: float, weight_N: Tensor) -> tuple[Tensor, Tensor]:
    """λ_y − v(x, y),   v = λ_D σ(β(g − z)) of a desirable completion, λ_U σ(β(z − g)) of an undesirable one,   g = log π/ref (y|x).

    Ethayarajh et al. 2024 (2402.01306), eq. 8; z, the `point` from which gains and losses are felt, is no part of the gradient.

    In: (completions,) nats, 1 or 0, nats, and λ of each.   Out: loss_N, value_N.
    """
    if gain_N.dim() != 1 or gain_N.shape != desirable_N.shape or gain_N.shape != weight_N.shape:
        shapes = tuple(gain_N.shape), tuple(desirable_N.shape), tuple(weight_N.shape)
        raise ValueError(f"kto_loss takes a number for each completion: three times (N,) wanted, {shapes} given")
    sign_N = 2 * desirable_N - 1
    value_N = weight_N * torch.sigmoid(sign_N * beta * (gain_N - point))
    return weight_N - value_N, value_N
