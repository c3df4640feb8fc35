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
    reward_N2 = beta * (logp_N2 - ref_N2)
    margin_N = reward_N2[:, 0] - reward_N2[:, 1]
    p_N = torch.ones_like(margin_N) if preference_N is None else preference_N
    if p_N.shape != margin_N.shape:
        raise ValueError(f"a preference for each of {len(margin_N)} pairs wanted, {tuple(p_N.shape)} given")
    return -p_N * F.logsigmoid(margin_N) - (1 - p_N) * F.logsigmoid(-margin_N), margin_N
