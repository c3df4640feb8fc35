"""The auxiliary confidence loss of weak-to-strong learning: a student that learns from weak labels, and also from its own convictions.

Everything is binary.   A student's prediction is f = σ(m), m its log-odds in nats; a weak label is a probability.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def confidence_loss(margin_N: Tensor, weak_N: Tensor, *, alpha: float, cut: Tensor | float = 0.0) -> tuple[Tensor, Tensor]:
    """(1 − α) CE(f, f_w) + α CE(f, f̂_t),   f̂_t = 1[f > t].   Burns et al. 2023 (2312.09390), eq. 1 in §4.3.2.

    CE(f, q) = −q log f − (1 − q) log(1 − f) is linear in its label q, so both terms are one cross-entropy to (1 − α) f_w + α f̂_t.
    `cut` is the log-odds of t; exactly at it f̂ is ½, so that turning every pair round turns f̂ round.   f̂ has no gradient.

    In: (N,) log-odds and probabilities.   Out: loss_N, hardened f̂_N.
    """
    if margin_N.dim() != 1 or margin_N.shape != weak_N.shape:
        raise ValueError(f"a weak label for each of N predictions wanted, {tuple(margin_N.shape)} and {tuple(weak_N.shape)} given")
    hard_N = 0.5 * (1 + torch.sign(margin_N.detach() - cut))
    label_N = (1 - alpha) * weak_N + alpha * hard_N
    return -label_N * F.logsigmoid(margin_N) - (1 - label_N) * F.logsigmoid(-margin_N), hard_N


def balanced_cut(margin_N: Tensor, share: float) -> float:
    """The log-odds above which lies `share` of a batch (to the nearest whole example): t of `confidence_loss`, for each batch anew.

    The paper hardens exactly half, the share of the positive class there; elsewhere that share is to be read off the weak labels (§4.3.2).
    """
    if not 0 <= share <= 1 or margin_N.dim() != 1 or not len(margin_N):
        raise ValueError(f"(N,) log-odds and a share from 0 to 1 wanted, {tuple(margin_N.shape)} and {share} given")
    down = margin_N.detach().double().sort(descending=True).values
    above = int(share * len(down) + 0.5)
    if above == 0:
        return float(down[0]) + 1.0
    if above == len(down):
        return float(down[-1]) - 1.0
    return float(down[above - 1] + down[above]) / 2


def risen(alpha: float, batches: float, rise: int) -> float:
    """α after `batches` batches: linear from 0, and `alpha` from batch `rise` on (the paper: a fifth of the training)."""
    return alpha * min(1.0, batches / rise) if rise else alpha
