"""From logits to tokens: bias, temperature, top-k, top-p, then a draw in two stages by Gumbel noise.

    p = softmax((z + bias) / τ), cut to the k most probable, cut to the smallest set that holds top_p, renormalised
    block ~ Σ_{v in block} p_v,   token ~ p_v within the block

The two stages draw exactly from p and need √V noise numbers twice in place of V, yet (unlike an inverse CDF) decide by
comparisons of log-masses, so a draw changes only where two scores lie as close as the rounding of the logits.
Order and edge cases of the cuts are those of Hugging Face `generate`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F

from plumbline.core.errors import UserError
from plumbline.core.nouns import Sampling

Noise = Callable[[int], torch.Tensor]  # count → (R, count) Gumbel noise of this step
Draw = tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # token_R, logp_R as drawn, logp_R of the untempered model


def check(sampling: Sampling) -> None:
    """Refuse settings that mean nothing."""
    rules = (
        ("temperature", sampling.temperature >= 0 and math.isfinite(sampling.temperature), "0 (greedy) or more"),
        ("top_p", 0 < sampling.top_p <= 1, "above 0 and at most 1"),
        ("top_k", sampling.top_k >= 0, "0 (off) or more"),
        ("max_tokens", sampling.max_tokens >= 1, "1 or more"),
        ("stop", all(sampling.stop), "strings that are not empty"),
    )
    for name, fine, wanted in rules:
        if not fine:
            raise UserError(f"sampling: {name}={getattr(sampling, name)!r} cannot be", f"It must be {wanted}.")


def shape(logits_RV: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """Logits of the distribution that is drawn from; the very tensor that came in where nothing changes it."""
    z_RV = logits_RV
    if sampling.logit_bias:
        bias_V = z_RV.new_zeros(z_RV.shape[1])
        for token, value in sampling.logit_bias.items():
            if not 0 <= token < len(bias_V):
                raise UserError(f"sampling: logit_bias names token {token}", f"The model's vocabulary has {len(bias_V)} tokens.")
            bias_V[token] = value
        z_RV = z_RV + bias_V
    if sampling.temperature == 0:  # greedy: no cut can change the first
        return z_RV
    if sampling.temperature != 1:
        z_RV = z_RV / sampling.temperature
    if 0 < sampling.top_k < z_RV.shape[1]:
        z_RV = z_RV.masked_fill(z_RV < z_RV.topk(sampling.top_k).values[:, -1:], -math.inf)
    return z_RV if sampling.top_p == 1 else _nucleus(z_RV, sampling.top_p)


def _nucleus(z_RV: torch.Tensor, top_p: float) -> torch.Tensor:
    """Keep the smallest set of most probable tokens whose probabilities reach `top_p`."""
    sorted_RV, order_RV = z_RV.sort(descending=True, stable=True)
    before_RV = sorted_RV.softmax(-1).cumsum(-1) - sorted_RV.softmax(-1)
    cut_RV = torch.zeros_like(z_RV, dtype=torch.bool).scatter(1, order_RV, before_RV >= top_p)
    return z_RV.masked_fill(cut_RV, -math.inf)


def _blocks(z_RV: torch.Tensor) -> torch.Tensor:
    """(R, V) → (R, B, S), blocks of about √V tokens; the last is filled up with −∞."""
    size = 1 << max(1, round(math.log2(z_RV.shape[1]) / 2))
    if z_RV.shape[1] % size:
        z_RV = F.pad(z_RV, (0, size - z_RV.shape[1] % size), value=-math.inf)
    return z_RV.unflatten(1, (-1, size))


def _first_best(z_RV: torch.Tensor) -> torch.Tensor:
    """argmax in two stages, several times faster than torch's own on CPU; the first of equals, as there."""
    z_RBS = _blocks(z_RV)
    block_R = z_RBS.amax(-1).argmax(-1)
    inside_R = z_RBS[torch.arange(len(z_RV), device=z_RV.device), block_R].argmax(-1)
    return block_R * z_RBS.shape[2] + inside_R


def _two_stages(z_RV: torch.Tensor, noise: Noise) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens drawn from softmax(z) and their log-probabilities."""
    z_RBS = _blocks(z_RV)
    rows, _, size = z_RBS.shape
    peak_R = z_RV.amax(-1)
    mass_RB = (z_RBS - peak_R[:, None, None]).exp_().sum(-1)
    gumbel = noise(mass_RB.shape[1] + size)
    block_R = (mass_RB.log() + gumbel[:, size:]).argmax(-1)
    at_R = torch.arange(rows, device=z_RV.device)
    inside_R = (z_RBS[at_R, block_R] + gumbel[:, :size]).argmax(-1)
    return block_R * size + inside_R, z_RBS[at_R, block_R, inside_R] - peak_R - mass_RB.sum(-1).log()


def draw(logits_RV: torch.Tensor, sampling: Sampling, noise: Noise) -> Draw:
    """One token per row.   Greedy (temperature 0) draws from a point mass, so its `logp` is 0; `raw` is the model's own."""
    raw_RV = logits_RV.float()
    z_RV = shape(raw_RV, sampling)
    if sampling.temperature == 0:
        token_R = _first_best(z_RV)
        logp_R = torch.zeros_like(raw_RV[:, 0])
    else:
        token_R, logp_R = _two_stages(z_RV, noise)
    plain = z_RV is raw_RV and sampling.temperature != 0
    raw_R = logp_R if plain else raw_RV.gather(1, token_R[:, None])[:, 0] - raw_RV.logsumexp(-1)
    if not bool(torch.isfinite(raw_R).all()):
        raise UserError("the model's logits are not finite while sampling", "Look at its weights: training may have diverged.")
    return token_R, logp_R, raw_R
