"""Losses that fit a reward to what people say: comparisons, rankings, and ratings from 1 to 5.   Rewards and latents are real numbers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from plumbline.losses.preference import margins

GRADES = 5


def bradley_terry_loss(reward_N2: Tensor, preference_N: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """−p log σ(m) − (1 − p) log σ(−m),   m = r₁ − r₂.   Bradley & Terry 1952; of rewards Christiano et al. 2017 (1706.03741), §2.2.3.

    p is the probability that the first is better: 1 plainly, ½ a tie, which pulls the margin m to 0.

    In: (pairs, 2), the preferred first.   Out: loss_N, margin_N.
    """
    margin_N, p_N = margins(reward_N2, preference_N)
    return -p_N * F.logsigmoid(margin_N) - (1 - p_N) * F.logsigmoid(-margin_N), margin_N


def plackett_luce_loss(reward_NK: Tensor, sizes: Sequence[int]) -> Tensor:
    """−log Π_k exp(r_k) / Σ_{j ≥ k} exp(r_j): the best is drawn first, then the best of the rest.   Plackett 1975, Luce 1959.

    In: (rankings, K) rewards, best first; of row n the first `sizes[n]` count, what stands after them is never read.   Out: loss_N.
    Of two it is Bradley and Terry's loss.
    """
    if reward_NK.dim() != 2 or len(sizes) != len(reward_NK) or any(not 1 <= size <= reward_NK.shape[1] for size in sizes):
        raise ValueError(f"(N, K) rewards and N sizes up to K wanted, {tuple(reward_NK.shape)} and {list(sizes)[:8]} given")
    place_K = torch.arange(reward_NK.shape[1], device=reward_NK.device)
    ranked_NK = place_K < torch.tensor(list(sizes), device=reward_NK.device)[:, None]
    left_NKK = ranked_NK[:, None, :] & (place_K[None, :] >= place_K[:, None])  # at draw k (second), who is left to be drawn (third)
    lowest = torch.finfo(reward_NK.dtype).min  # finite: a row without anybody left must not become NaN, though it is not read
    rest_NK = reward_NK[:, None, :].masked_fill(~left_NKK, lowest).logsumexp(2)
    return (rest_NK - reward_NK).masked_fill(~ranked_NK, 0.0).sum(1)


def ordinal_logps(latent_N: Tensor, thresholds_N4: Tensor) -> Tensor:
    """(N, 5) log-probabilities of the grades:   P(y ≤ k) = σ(θ_k − s).   McCullagh 1980, "Regression models for ordinal data", §2.

    P(y = k) = σ(a) − σ(b) with a = θ_k − s > b = θ_{k−1} − s, computed as σ(a) σ(−b) (1 − e^{b − a}): no difference of near-equal numbers.
    """
    if latent_N.dim() != 1 or thresholds_N4.shape != (len(latent_N), GRADES - 1):
        raise ValueError(f"(N,) latents and (N, 4) thresholds wanted, {tuple(latent_N.shape)} and {tuple(thresholds_N4.shape)} given")
    gap_N4 = thresholds_N4 - latent_N[:, None]
    below_N4, above_N4 = F.logsigmoid(gap_N4), F.logsigmoid(-gap_N4)  # log P(y ≤ k), log P(y > k)
    between_N3 = torch.log(-torch.expm1(-thresholds_N4.diff(dim=1)))
    middle_N3 = below_N4[:, 1:] + above_N4[:, :-1] + between_N3
    return torch.cat([below_N4[:, :1], middle_N3, above_N4[:, -1:]], 1)


def ordinal_loss(latent_N: Tensor, thresholds_N4: Tensor, rating_N: Tensor) -> Tensor:
    """−log P(y = rating) of the cumulative logit model (see `ordinal_logps`); thresholds increase along their row.

    In: latents s, thresholds θ, ratings from 1 to 5; one between two grades (an average, say) counts as its share of each.   Out: loss_N.
    """
    if rating_N.shape != latent_N.shape:
        raise ValueError(f"a rating for each of {len(latent_N)} latents wanted, {tuple(rating_N.shape)} given")
    logp_N5 = ordinal_logps(latent_N, thresholds_N4)
    place_N = rating_N - 1
    low_N = place_N.floor().clamp(max=GRADES - 2)
    share_N = place_N - low_N
    index_N2 = torch.stack([low_N, low_N + 1], 1).long()
    logp_N2 = logp_N5.gather(1, index_N2)
    return -((1 - share_N) * logp_N2[:, 0] + share_N * logp_N2[:, 1])


def by_group(x_N: Tensor, sizes: Sequence[int]) -> Tensor:
    """(N,) numbers of groups of these sizes, one after the other → (groups, largest size), 0 where a group is smaller."""
    return torch.nn.utils.rnn.pad_sequence(list(x_N.split(list(sizes))), batch_first=True)
