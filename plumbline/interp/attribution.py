"""Direct logit attribution: a logit as the sum of what each part of the model wrote into the stream.

    logit = u · norm(resid_L) + c,   resid_L = embed + Σ_l (Σ_h z_h W_O,h + b_O + mlp_out)   ⇒   logit = Σ over parts

with the scale of the final norm (and of norms that stand between a part and the stream) held as it was.   Elhage et al. 2021,
"A mathematical framework for transformer circuits".   The sum is the logit itself, to rounding: `gap` says how far it is off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from plumbline.interp.linear import FrozenNorm, Seen, frozen_norm, read_direction
from plumbline.models.hooks import Insides
from plumbline.models.parts import Layer


@dataclass(frozen=True)
class Attribution:
    """`parts`: name → share of the logit (or difference of logits), in the order of the computation.   `logit` is the model's own."""

    parts: dict[str, float]
    logit: float

    @property
    def gap(self) -> float:
        """By how much the parts' sum misses the logit."""
        return abs(sum(self.parts.values()) - self.logit)

    def heads(self, layers: int, heads: int) -> list[list[float]]:
        """Shares of heads, by layer; 0 where a layer's heads could not be told apart."""
        return [[self.parts.get(f"blocks.{i}.attn.head.{h}", 0.0) for h in range(heads)] for i in range(layers)]


@torch.no_grad()
def attribute(model: Any, tokens: Tensor | Sequence[int], token: int, *, against: int | None = None, position: int = -1) -> Attribution:
    """What makes the logit of `token` (minus that of `against`) at a position of one sequence; before a soft cap, if the model has one."""
    insides = Insides.of(model)
    ids = insides.tokens(tokens)[:1]
    layers = insides.parts.layers
    modules = {n for layer in layers for n in (layer.out, layer.attn.module) if n is not None}
    seen = Seen(insides, [*modules, insides.parts.norm])
    keep = ["hook_embed", "blocks.0.hook_resid_pre", *insides.chosen(lambda n: n.endswith(("mlp_out", "attn_out", "hook_z")))]
    seen_by_name = seen.run(ids, position, keep)[1]
    at = {name: value[0, position] for name, value in seen_by_name.items()}
    u_D, constant = read_direction(insides, token, against)
    final = frozen_norm(insides.model.get_submodule(insides.parts.norm), seen.given[insides.parts.norm])
    r_D = final.pull(u_D)
    parts = _embedding(at["hook_embed"].double(), at["blocks.0.hook_resid_pre"].double(), r_D)
    for i, layer in enumerate(layers):
        parts |= _attention(insides, seen, layer, i, at, r_D)
        parts[f"blocks.{i}.mlp"] = (at[f"blocks.{i}.hook_mlp_out"].double() @ r_D).item()
    parts["ln_final.bias"] = (final.bias_D @ u_D).item()
    parts["unembed.bias"] = constant
    logits_V = insides.unembed_normed(seen.gave[insides.parts.norm], capped=False).double()
    logit = logits_V[token] - (logits_V[against] if against is not None else 0)
    return Attribution({name: value for name, value in parts.items() if value or "bias" not in name}, logit.item())


def _embedding(embed_D: Tensor, stream_D: Tensor, r_D: Tensor) -> dict[str, float]:
    """The stream begins as the (scaled) embedding, or as that and something of the position."""
    scale = (stream_D @ embed_D) / (embed_D @ embed_D)
    rest_D = stream_D - scale * embed_D
    if rest_D.norm() <= 1e-5 * stream_D.norm():
        return {"embed": (stream_D @ r_D).item()}
    return {"embed": (embed_D @ r_D).item(), "pos_embed": ((stream_D - embed_D) @ r_D).item()}


def _attention(insides: Insides, seen: Seen, layer: Layer, i: int, at: dict[str, Tensor], r_D: Tensor) -> dict[str, float]:
    """Each head's share, and that of biases; of the whole where heads go through something that is not linear."""
    name, added_D = f"blocks.{i}.attn", at[f"blocks.{i}.hook_attn_out"].double()
    if layer.out is None:
        return {name: (added_D @ r_D).item()}
    projected_D = seen.gave[layer.out]
    norm: FrozenNorm | None = None
    if not torch.equal(projected_D, seen.gave[layer.attn.module]):
        if not torch.equal(projected_D, seen.given[layer.attn.module]):
            return {name: (added_D @ r_D).item()}
        norm = frozen_norm(insides.model.get_submodule(layer.attn.module), projected_D)
    pulled_D = (norm.pull(r_D) if norm is not None else r_D) * layer.attn.scale
    z_HD = at[f"blocks.{i}.attn.hook_z"]
    apart_HD = torch.block_diag(*z_HD.double()).to(z_HD.dtype)  # row h: z with all heads but h at zero
    out = insides.model.get_submodule(layer.out)
    bias_D = out(torch.zeros_like(apart_HD[:1]))[0].double()
    shares = ((out(apart_HD).double() - bias_D) @ pulled_D).tolist()
    bias = (bias_D @ pulled_D).item()
    if norm is not None:
        bias += layer.attn.scale * (norm.bias_D @ r_D).item()
    return {**{f"{name}.head.{h}": share for h, share in enumerate(shares)}, f"{name}.bias": bias}
