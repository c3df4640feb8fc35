"""The logit lens: what the model would say if it stopped after a layer.

    logp_l = log softmax(W_U norm(resid_l))          resid_l the stream before block l, resid_L after the last

nostalgebraist 2020, "interpreting GPT: the logit lens".   The last row is the model's own answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from plumbline.models.hooks import Insides


@dataclass(frozen=True)
class Lens:
    """`logp_SLV`: of each stream (before every block, after the last), at each position, for each token."""

    streams: tuple[str, ...]
    logp_SLV: Tensor

    def top(self, count: int = 1) -> tuple[Tensor, Tensor]:
        """(S, L, count) probabilities of the likeliest tokens, and their ids."""
        found = self.logp_SLV.topk(count)
        return found.values.exp(), found.indices

    def rank(self, token: int) -> Tensor:
        """(S, L) how many tokens are likelier than this one."""
        return (self.logp_SLV > self.logp_SLV[..., token : token + 1]).sum(-1)


@torch.no_grad()
def logit_lens(model: Any, tokens: Tensor | Sequence[int]) -> Lens:
    """The lens over one sequence."""
    insides = Insides.of(model)
    names = [f"blocks.{i}.hook_resid_pre" for i in range(insides.layers)] + [f"blocks.{insides.layers - 1}.hook_resid_post"]
    _, cache = insides.run(insides.tokens(tokens)[:1], keep=names)
    logp_SLV = torch.stack([insides.unembed(cache[name][0]).log_softmax(-1) for name in names])
    return Lens(tuple(names), logp_SLV)
