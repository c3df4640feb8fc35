"""How a model takes one more token, as one seam: a prefill of distinct prompts, then steps over the rows that are alive.

`Padded`     Hugging Face's forward and cache, prompts of different lengths padded on the left (attention-only models)
`Recomputed` the whole sequence again at every step, rows of one length: right for anything, slow
Rows of one length through `Padded` need no padding at all, which is how recurrent states (Mamba, linear attention) are served.
`lean.Lean` is the fast path of Llama-like models.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, Literal, Protocol, cast

import torch
from transformers import DynamicCache

Kind = Literal["lean", "padded", "bucketed", "recomputed"]


class Stepper(Protocol):
    """`logits_RV` after the prefill; rows are the prompts in order, each as often as `copies` says."""

    logits_RV: torch.Tensor

    def step(self, token_R: torch.Tensor) -> torch.Tensor:
        """Feed one token per row; logits of the next."""
        ...

    def keep(self, row_R: torch.Tensor) -> None:
        """Go on with these rows only."""
        ...


def _copies_index(copies: Sequence[int], device: torch.device) -> torch.Tensor:
    return torch.arange(len(copies), device=device).repeat_interleave(torch.tensor(copies, device=device))


def takes(model: Any) -> frozenset[str]:
    """Names of the parameters of a model's forward."""
    return frozenset(inspect.signature(model.forward).parameters)


def kind_of(model: Any, longest: int) -> Kind:
    """Which of the Hugging Face ways is right for this architecture and this length (prompt and reply together)."""
    config = model.config.get_text_config(decoder=True)
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type") in ("dynamic", "longrope"):
        original = rope.get("original_max_position_embeddings") or config.max_position_embeddings
        if longest > original:  # the rotation of early tokens changes as the text grows: a cache would be stale
            return "recomputed"
    if not takes(model) & {"past_key_values", "cache_params"}:
        return "recomputed"
    try:
        linear = DynamicCache(config=model.config).is_linear
    except (AttributeError, KeyError, NotImplementedError):
        return "recomputed"
    return "bucketed" if any(linear) or "cache_params" in takes(model) else "padded"


class Padded:
    """Hugging Face's forward with its own cache; no padding, and no mask, where all prompts are of one length."""

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]], copies: Sequence[int], longest: int) -> None:
        del longest
        self.model, self.names = model, takes(model)
        device = model.get_input_embeddings().weight.device
        width = max(map(len, prompts))
        ids_PT = torch.tensor([[0] * (width - len(p)) + list(p) for p in prompts], device=device)
        mask_PT = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=device)
        self.cache = DynamicCache(config=model.config)
        self.mask_RT: torch.Tensor | None = None if bool(mask_PT.all()) else mask_PT
        logits_PV = self._forward(ids_PT, (mask_PT.cumsum(1) - 1).clamp(min=0))
        index_R = _copies_index(copies, device)
        self._select(index_R)
        self.position_R = mask_PT.sum(1)[index_R]
        self.logits_RV = logits_PV[index_R]

    def _forward(self, ids_RT: torch.Tensor, position_RT: torch.Tensor) -> torch.Tensor:
        offered = {
            "attention_mask": self.mask_RT,
            "position_ids": position_RT,
            "past_key_values": self.cache,
            "cache_params": self.cache,
            "logits_to_keep": 1,
        }
        return self.model(input_ids=ids_RT, use_cache=True, **{k: v for k, v in offered.items() if k in self.names}).logits[:, -1]

    def _select(self, index_R: torch.Tensor) -> None:
        self.cache.reorder_cache(cast(torch.LongTensor, index_R))
        if self.mask_RT is not None:
            self.mask_RT = self.mask_RT[index_R]

    def step(self, token_R: torch.Tensor) -> torch.Tensor:
        """One token more for every row."""
        if self.mask_RT is not None:
            self.mask_RT = torch.cat([self.mask_RT, self.mask_RT.new_ones(len(token_R), 1)], 1)
        logits_RV = self._forward(token_R[:, None], self.position_R[:, None])
        self.position_R = self.position_R + 1
        return logits_RV

    def keep(self, row_R: torch.Tensor) -> None:
        """Drop the rows that are not named."""
        self._select(row_R)
        self.position_R = self.position_R[row_R]


class Recomputed:
    """No cache at all: rows of one length, the whole text at every step."""

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]], copies: Sequence[int], longest: int) -> None:
        del longest
        self.model, self.names = model, takes(model)
        self.ids_RT = torch.tensor([list(p) for p in prompts], device=model.get_input_embeddings().weight.device)
        index_R = _copies_index(copies, self.ids_RT.device)
        self.logits_RV = self._forward()[index_R]
        self.ids_RT = self.ids_RT[index_R]

    def _forward(self) -> torch.Tensor:
        extra = {"logits_to_keep": 1} if "logits_to_keep" in self.names else {}
        return self.model(input_ids=self.ids_RT, use_cache=False, **extra).logits[:, -1]

    def step(self, token_R: torch.Tensor) -> torch.Tensor:
        """One token more for every row."""
        self.ids_RT = torch.cat([self.ids_RT, token_R[:, None]], 1)
        return self._forward()

    def keep(self, row_R: torch.Tensor) -> None:
        """Drop the rows that are not named."""
        self.ids_RT = self.ids_RT[row_R]
