"""Losses that learn from comparisons.   Log-probabilities are sums over a completion, in nats."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def dpo_loss(logp_N2: Tensor, ref_N2: Tensor, *, beta: float, preference_N: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """−log σ(m),   m = β[(log π − log ref)(y⁺) − (log π − log ref)(y⁻)].   Rafailov et al. 2023 (2305.18290), eq. 7.

    With p, the probability that the first is better (1 plainly, ½ a tie):   −p log σ(m) − (1 − p) log σ(−m).
    That is the conservative loss of Mitchell, "A note on DPO with noisy preferences" (2023), its ε being 1 − p, of each pair.

    In: (pairs, 2) nats, the preferred first.   Out: loss_N, margin_N.
    """
    if logp_N2.shape != ref_N2.shape or logp_N2.dim() != 2 or logp_N2.shape[1] != 2:
        raise ValueError(f"dpo_loss compares pairs: (N, 2) and (N, 2) wanted, {tuple(logp_N2.shape)} and {tuple(ref_N2.shape)} given")
    margin_N, p_N = margins(beta * (logp_N2 - ref_N2), preference_N)
    return -p_N * F.logsigmoid(margin_N) - (1 - p_N) * F.logsigmoid(-margin_N), margin_N


def ipo_loss(logp_N2: Tensor, ref_N2: Tensor, *, tau: float, preference_N: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """(h − (2p − 1)/(2τ))²,   h = (log π − log ref)(y⁺) − (log π − log ref)(y⁻).   Azar et al. 2023 (2310.12036), eq. 17.

    In: (pairs, 2) nats, the preferred first.   Out: loss_N, margin h_N.
    """
    margin_N, p_N = margins(logp_N2 - ref_N2, preference_N)
    return (margin_N - (2 * p_N - 1) / (2 * tau)) ** 2, margin_N


def slic_loss(logp_N2: Tensor, *, delta: float, preference_N: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """(2p − 1) max(0, δ − h),   h = log π(y⁺) − log π(y⁻).   Zhao et al. 2023 (2305.10425), eq. 1, for p = 1; of a tie it is 0.

    In: (pairs, 2) nats, the preferred first.   Out: loss_N, margin h_N.
    """
    margin_N, p_N = margins(logp_N2, preference_N)
    sure_N = 2 * p_N - 1
    return sure_N.abs() * F.relu(delta - sure_N.sign() * margin_N), margin_N


def margins(x_N2: Tensor, preference_N: Tensor | None) -> tuple[Tensor, Tensor]:
    """First less second, and the probability that the first is better, 1 where none is stated."""
    if x_N2.dim() != 2 or x_N2.shape[1] != 2:
        raise ValueError(f"pairs are compared: (N, 2) wanted, {tuple(x_N2.shape)} given")
    margin_N = x_N2[:, 0] - x_N2[:, 1]
    p_N = torch.ones_like(margin_N) if preference_N is None else preference_N
    if p_N.shape != margin_N.shape:
        raise ValueError(f"a preference for each of {len(margin_N)} pairs wanted, {tuple(p_N.shape)} given")
    return margin_N, p_N
