"""Activation patching: put a clean run's value into a corrupted run, one place at a time, and see how much of the answer comes back.

    effect(place) = metric(corrupted run with clean value at place)

A metric that is 0 on the corrupted and 1 on the clean run reads as a share (`between`).   Vig et al. 2020; Meng et al. 2022,
"Locating and editing factual associations in GPT" (causal tracing); arguments in the order of TransformerLens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from plumbline.core.errors import UserError
from plumbline.models.hooks import HookPoint, Insides

Metric = Callable[[Tensor], Tensor]
Cache = Mapping[str, Tensor]


def patch(model: Any, corrupted_tokens: Tensor | Sequence[int], clean_cache: Cache, metric: Metric, what: str) -> Tensor:
    """(layer, pos) metric with `what` (resid_pre, resid_mid, resid_post, attn_out, mlp_out) of one layer and position patched."""

    def at(pos: int) -> Callable[..., Tensor]:
        def put(x: Tensor, hook: HookPoint) -> Tensor:
            x = x.clone()
            x[:, pos] = clean_cache[hook.name][:, pos]
            return x

        return put

    insides = Insides.of(model)
    ids = _clean(insides, corrupted_tokens, clean_cache, f"hook_{what}")
    return _table(insides, ids, metric, f"hook_{what}", [at(p) for p in range(ids.shape[1])])


def patch_heads(model: Any, corrupted_tokens: Tensor | Sequence[int], clean_cache: Cache, metric: Metric, what: str = "z") -> Tensor:
    """(layer, head) metric with `what` (z, pattern, rot_q, rot_k, v) of one head patched at all positions."""
    axis = 1 if what == "pattern" else 2

    def at(head: int) -> Callable[..., Tensor]:
        def put(x: Tensor, hook: HookPoint) -> Tensor:
            x = x.clone()
            x.select(axis, head).copy_(clean_cache[hook.name].select(axis, head))
            return x

        return put

    insides = Insides.of(model)
    ids = _clean(insides, corrupted_tokens, clean_cache, f"attn.hook_{what}")
    return _table(insides, ids, metric, f"attn.hook_{what}", [at(h) for h in range(insides.parts.heads)])


@torch.no_grad()
def _table(insides: Insides, ids: Tensor, metric: Metric, hook: str, puts: Sequence[Callable[..., Tensor]]) -> Tensor:
    rows = [[metric(insides.run(ids, [(f"blocks.{i}.{hook}", put)])[0]) for put in puts] for i in range(insides.layers)]
    return torch.stack([torch.stack(row) for row in rows])


def _clean(insides: Insides, tokens: Tensor | Sequence[int], cache: Cache, hook: str) -> Tensor:
    """The corrupted run's tokens, if the clean run's cache has what is to be put among them."""
    ids = insides.tokens(tokens)
    for name in ("hook_embed", *(f"blocks.{i}.{hook}" for i in range(insides.layers))):
        if name not in cache:
            raise UserError(f"patching: the clean run's cache has no {name}", "Take all of what run_with_cache gives, or name it there.")
    clean = cache["hook_embed"].shape
    if clean[:2] != ids.shape:
        raise UserError(
            f"patching: the clean run has {clean[0]} texts of {clean[1]} tokens, the corrupted one {ids.shape[0]} of {ids.shape[1]}",
            "Take as many texts, that differ in words, not in their number of tokens.",
        )
    return ids


def difference(answer: int, wrong: int, position: int = -1) -> Metric:
    """Logit of the answer minus that of a wrong one, mean over the batch."""
    return lambda logits: (logits[:, position, answer] - logits[:, position, wrong]).float().mean()


def between(metric: Metric, corrupted_logits: Tensor, clean_logits: Tensor) -> Metric:
    """The metric, 0 where the corrupted run stands and 1 where the clean one does."""
    low, high = metric(corrupted_logits), metric(clean_logits)
    if (high - low).abs() < 1e-6:
        raise UserError("patching: the two texts have the same metric", "Take texts between which the answer changes.")
    return lambda logits: (metric(logits) - low) / (high - low)
