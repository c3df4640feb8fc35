"""Induction heads: heads that look from a token to what followed its earlier occurrence, and what is lost without them.

    rows  s  a b c …  a b c …        score(l, h) = mean attention from a token's second place to the place after its first
    copying = mean log-probability (nats a token) of the second half, whose every token but the first can be known only by looking back

Olsson et al. 2022, "In-context learning and induction heads", arXiv 2209.11895.   Random tokens: nothing but copying foresees them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from random import Random
from typing import Any

import torch
from torch import Tensor

from plumbline.core.errors import UserError
from plumbline.models.hooks import HookPoint, Insides

Head = tuple[int, int]
Fwd = list[tuple[Any, Callable[..., Tensor]]]


def repeated(vocabulary: Sequence[int], length: int, rows: int, seed: int, *, start: Sequence[int] = ()) -> Tensor:
    """(rows, start + 2·length) random tokens without repetition, twice over."""
    if length > len(vocabulary):
        raise UserError(f"{length} different tokens are wanted of {len(vocabulary)}", "Take shorter rows.")
    chance = Random(seed)
    halves = [chance.sample(list(vocabulary), length) for _ in range(rows)]
    return torch.tensor([[*start, *half, *half] for half in halves])


@torch.no_grad()
def induction_scores(model: Any, tokens: Tensor, length: int) -> Tensor:
    """(layer, head) mean attention from each token of the second half to the one after its first place."""
    insides = Insides.of(model)
    _, cache = insides.run(tokens, keep=insides.chosen(lambda n: n.endswith("hook_pattern")))
    seen = [cache[f"blocks.{i}.attn.hook_pattern"] for i in range(insides.layers)]
    # From place q the token after the same token's first place stands at q − length + 1: a diagonal below the main one.
    return torch.stack([p.diagonal(1 - length, dim1=-2, dim2=-1)[..., -length:].float().mean((0, 2)) for p in seen])


def strongest(scores: Tensor, count: int) -> list[Head]:
    """The heads with the highest scores."""
    flat = scores.flatten().topk(count).indices.tolist()
    return [divmod(i, scores.shape[1]) for i in flat]


def by_lot(scores: Tensor, apart_from: Collection[Head], count: int, seed: int) -> list[Head]:
    """As many other heads, drawn by lot."""
    others = [(i, h) for i in range(scores.shape[0]) for h in range(scores.shape[1]) if (i, h) not in apart_from]
    return Random(seed).sample(others, count)


def without(heads: Collection[Head]) -> Fwd:
    """Hooks that put the z of heads to its mean over batch and positions: what it says on average stays, what it says of a row goes."""

    def ablate(z: Tensor, hook: HookPoint) -> Tensor:
        z = z.clone()
        for layer, head in heads:
            if layer == hook.layer():
                z[:, :, head] = z[:, :, head].mean((0, 1))
        return z

    return [([f"blocks.{layer}.attn.hook_z" for layer in sorted({layer for layer, _ in heads})], ablate)]


@torch.no_grad()
def foreseen(model: Any, tokens: Tensor, last: int, fwd_hooks: Fwd | None = None) -> tuple[Tensor, Tensor]:
    """Of the last tokens of each row, (rows,) the share that is the likeliest, and (rows,) their mean log-probability."""
    insides = Insides.of(model)
    ids = insides.tokens(tokens)
    logp = insides.run(ids, fwd_hooks or [])[0][:, -last - 1 : -1].float().log_softmax(-1)
    said = ids[:, -last:]
    return (logp.argmax(-1) == said).float().mean(1), logp.gather(2, said[..., None])[..., 0].mean(1)


def copying(model: Any, tokens: Tensor, length: int, fwd_hooks: Fwd | None = None) -> Tensor:
    """(rows,) mean log-probability of the second half's tokens after its first."""
    return foreseen(model, tokens, length - 1, fwd_hooks)[1]
