"""The vocabulary projection: log-probabilities of given tokens without ever keeping `tokens × vocabulary`.

    z = cap·tanh((W h + b)·scale / cap) / temperature        logp = z[target] − logsumexp(z)

Forward and backward walk over the states in chunks.   Backward computes the logits again; with p = softmax(z) and upstream g,

    ∂/∂z = g · (onehot(target) − p),    ∂/∂h = (∂/∂z) W,    ∂/∂W = (∂/∂z)ᵀ h

Where W is frozen (adapters), ∂/∂h up to the factor g is formed in the forward pass, so the logits are computed once only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

CHUNK_NUMBERS = 4_194_304  # logits alive at once (16 MiB in float32): fits near the caches, independent of the vocabulary


@dataclass(frozen=True, slots=True)
class Scaling:
    """What a model does to its logits before the softmax: times `scale`, then the soft cap, then over the temperature."""

    scale: float = 1.0
    cap: float = 0.0
    temperature: float = 1.0


def _logits(states_CH: Tensor, weight_VH: Tensor, bias_V: Tensor | None, scaling: Scaling) -> Tensor:
    """(C, V) float32 logits of a chunk."""
    z_CV = torch.addmm(bias_V, states_CH, weight_VH.t()) if bias_V is not None else states_CH @ weight_VH.t()
    z_CV = z_CV.float()
    if scaling.scale != 1.0:
        z_CV = z_CV.mul_(scaling.scale)
    if scaling.cap:
        z_CV = z_CV.div_(scaling.cap).tanh_().mul_(scaling.cap)
    if scaling.temperature != 1.0:
        z_CV = z_CV.div_(scaling.temperature)
    return z_CV


def _grad_logits(z_CV: Tensor, lse_C: Tensor, targets_C: Tensor, scaling: Scaling) -> Tensor:
    """∂logp/∂(W h + b), (C, V), from the final logits."""
    slope_CV = None
    if scaling.cap:  # d cap·tanh(x/cap) / dx = 1 − tanh²
        slope_CV = 1 - (z_CV * (scaling.temperature / scaling.cap)).square_()
    grad_CV = z_CV.sub_(lse_C[:, None]).exp_().neg_()
    grad_CV[torch.arange(len(targets_C), device=targets_C.device), targets_C] += 1.0
    if slope_CV is not None:
        grad_CV.mul_(slope_CV)
    factor = scaling.scale / scaling.temperature
    return grad_CV if factor == 1.0 else grad_CV.mul_(factor)


def _chunks(count: int, vocabulary: int) -> list[slice]:
    size = max(16, CHUNK_NUMBERS // vocabulary)
    return [slice(i, min(i + size, count)) for i in range(0, count, size)]


class _TokenLogps(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states_PH: Tensor, weight_VH: Tensor, bias_V: Tensor | None, targets_P: Tensor, scaling: Scaling) -> Tensor:
        logp_P = torch.empty(len(states_PH), dtype=torch.float32, device=states_PH.device)
        lse_P = torch.empty_like(logp_P)
        early = ctx.needs_input_grad[0] and not ctx.needs_input_grad[1]
        slope_PH = torch.empty_like(states_PH) if early else states_PH.new_empty(0)
        for at in _chunks(len(states_PH), len(weight_VH)):
            z_CV = _logits(states_PH[at], weight_VH, bias_V, scaling)
            lse_P[at] = z_CV.logsumexp(1)
            logp_P[at] = z_CV.gather(1, targets_P[at, None])[:, 0] - lse_P[at]
            if early:
                slope_PH[at] = _grad_logits(z_CV, lse_P[at], targets_P[at], scaling).to(weight_VH.dtype) @ weight_VH
        ctx.early, ctx.scaling = early, scaling
        ctx.save_for_backward(slope_PH if early else states_PH, weight_VH, bias_V, targets_P, lse_P)
        return logp_P

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad_P,) = grads
        states_PH, weight_VH, bias_V, targets_P, lse_P = ctx.saved_tensors
        if ctx.early:
            return (states_PH * grad_P[:, None].to(states_PH.dtype), None, None, None, None)
        grad_PH = torch.empty_like(states_PH) if ctx.needs_input_grad[0] else None
        grad_VH = torch.zeros_like(weight_VH) if ctx.needs_input_grad[1] else None
        grad_V = torch.zeros_like(bias_V) if bias_V is not None and ctx.needs_input_grad[2] else None
        for at in _chunks(len(states_PH), len(weight_VH)):
            z_CV = _logits(states_PH[at], weight_VH, bias_V, ctx.scaling)
            grad_CV = _grad_logits(z_CV, lse_P[at], targets_P[at], ctx.scaling).mul_(grad_P[at, None]).to(weight_VH.dtype)
            if grad_PH is not None:
                torch.mm(grad_CV, weight_VH, out=grad_PH[at])
            if grad_VH is not None:
                grad_VH.addmm_(grad_CV.t(), states_PH[at])
            if grad_V is not None:
                grad_V += grad_CV.sum(0)
        return grad_PH, grad_VH, grad_V, None, None


def token_logps(states_PH: Tensor, head: nn.Module, targets_P: Tensor, scaling: Scaling) -> Tensor:
    """(P,) float32 nats of each target token, given the state that predicts it."""
    if type(head) is nn.Linear:
        return _TokenLogps.apply(states_PH.to(head.weight.dtype), head.weight, head.bias, targets_P, scaling)  # pyright: ignore[reportReturnType]

    def some(states_CH: Tensor, targets_C: Tensor) -> Tensor:
        z_CV = head(states_CH).float() * scaling.scale
        z_CV = scaling.cap * torch.tanh(z_CV / scaling.cap) if scaling.cap else z_CV
        return torch.log_softmax(z_CV / scaling.temperature, 1).gather(1, targets_C[:, None])[:, 0]

    vocabulary = int(getattr(head, "out_features", 32_768))
    chunks = [checkpoint(some, states_PH[at], targets_P[at], use_reentrant=False) for at in _chunks(len(states_PH), vocabulary)]
    return torch.cat(chunks) if chunks else states_PH.new_zeros(0, dtype=torch.float32)
