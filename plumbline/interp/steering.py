"""Steering by a mean difference: a direction in the stream, added to it or taken out of it while the model writes.

    v = mean over A of resid_l(last token) − mean over B           add:  resid_l ← resid_l + c v          ablate:  x ← x − v̂ v̂ᵀ x

added at one layer, ablated from every write to the stream.   Turner et al. 2023 (2308.10248); Arditi et al. 2024, "Refusal in language
models is mediated by a single direction" (2406.11717).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, final

import torch
from torch import Tensor

from plumbline.core.batches import Part
from plumbline.core.errors import UserError
from plumbline.core.nouns import Ask, Reply
from plumbline.models.hooks import HookPoint, Insides
from plumbline.models.lm import LM

Fwd = list[tuple[Any, Callable[..., Tensor]]]
Rows = Sequence[Sequence[int]]


@torch.no_grad()
def states(model: Any, rows: Rows, layer: int, *, position: int = -1) -> Tensor:
    """(N, d_model) the stream before block `layer` (after the last one: its number) at a position of each row of tokens."""
    insides = Insides.of(model)
    if not 0 <= layer <= insides.layers:
        raise UserError(f"there is no layer {layer}", f"Give 0 to {insides.layers}: the stream before that block.")
    return _read(insides, rows, [_stream(insides, layer)], position)[:, 0]


@torch.no_grad()
def all_states(model: Any, rows: Rows, *, position: int = -1) -> Tensor:
    """(N, layers + 1, d_model) the same for every layer."""
    insides = Insides.of(model)
    return _read(insides, rows, [_stream(insides, layer) for layer in range(insides.layers + 1)], position)


def _stream(insides: Insides, layer: int) -> str:
    return f"blocks.{layer}.hook_resid_pre" if layer < insides.layers else f"blocks.{layer - 1}.hook_resid_post"


def _read(insides: Insides, rows: Rows, names: Sequence[str], position: int) -> Tensor:
    seen = (insides.run(row, keep=names)[1] for row in rows)
    return torch.stack([torch.stack([cache[name][0, position] for name in names]) for cache in seen])


def direction(model: Any, toward: Rows, away: Rows, layer: int, *, position: int = -1) -> Tensor:
    """(d_model,) mean state of the one set of rows minus that of the other."""
    if not toward or not away:
        raise UserError("steering: one of the two sets is empty", "Give texts of both kinds.")
    insides = Insides.of(model)
    v_D = states(insides, toward, layer, position=position).mean(0) - states(insides, away, layer, position=position).mean(0)
    if not v_D.norm() > 0:
        raise UserError(f"steering: at layer {layer} both sets have the same mean state", "Give texts that differ, or another layer.")
    return v_D


def random_like(v_D: Tensor, seed: int) -> Tensor:
    """A direction of the same length by lot: what any push of this size does."""
    noise = torch.randn(v_D.shape, generator=torch.Generator().manual_seed(seed)).to(v_D)
    return noise * v_D.norm() / noise.norm()


def adding(v_D: Tensor, layer: int, *, scale: float = 1.0) -> Fwd:
    """Hooks that add the direction to the stream before a block, at every position."""

    def add(x: Tensor, hook: HookPoint) -> Tensor:
        return x + scale * v_D

    return [(f"blocks.{layer}.hook_resid_pre", add)]


def ablating(v_D: Tensor) -> Fwd:
    """Hooks that take the direction out of everything that is written to the stream."""
    unit_D = v_D / v_D.norm()

    def project(x: Tensor, hook: HookPoint) -> Tensor:
        return x - (x @ unit_D)[..., None] * unit_D

    return [(lambda n: n == "blocks.0.hook_resid_pre" or n.endswith(("attn_out", "mlp_out")), project)]


@final
class Steered:
    """A model that answers, and is scored, with functions in place at its streams.   Whatever measures a model measures this one."""

    def __init__(self, lm: LM, fwd_hooks: Fwd) -> None:
        self.lm, self.fwd_hooks, self.insides = lm, fwd_hooks, Insides.of(lm)
        self.name, self.tokenizer = f"{lm.name}, steered", lm.tokenizer

    def answer(self, asks: Sequence[Ask]) -> list[Reply]:
        """One reply per ask, in order."""
        with self.insides.hooked(self.fwd_hooks):
            return self.lm.answer(asks)

    def token_logps(self, scored: Part) -> Tensor:
        """(N, T) nats of the completions' tokens, in order, 0 where a completion has ended."""
        with self.insides.hooked(self.fwd_hooks):
            return self.lm.token_logps(scored)
