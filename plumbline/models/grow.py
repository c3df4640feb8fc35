"""A larger Llama that says what a smaller one says: wider, with more heads and deeper, as the beginning of its training.

Net2Net (Chen, Goodfellow, Shlens 2015, 1511.05641), for a residual stream: what is added writes nothing at first (its output weights
are 0) and reads at random (its input weights are drawn), so that the function is kept and the gradient of every new weight is not 0.
An RMSNorm divides by the mean over more entries, of which the new ones are 0: its weights shrink by √(old / new).
"""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor
from transformers import LlamaForCausalLM

from plumbline.core.errors import UserError
from plumbline.models import loading
from plumbline.models.tokenizer import HFTokenizer

SPREAD = 0.02
"""Standard deviation of the weights that are drawn, as in a Llama from random weights."""


def grow(
    small: str | os.PathLike[str], out: str | os.PathLike[str], *, hidden: int, layers: int, heads: int, ffn: int, seed: int = 0
) -> Path:
    """Write to `out` the model of `small` (tied embeddings, as many key heads as heads) at a larger shape; returns its path.

    Raises `UserError` where the shape is smaller in any way, or its heads are of another width.
    """
    with loading.quiet():
        model = LlamaForCausalLM.from_pretrained(small, dtype=torch.float32)
        config = type(model.config).from_pretrained(small)
    was = (config.hidden_size, config.num_hidden_layers, config.num_attention_heads, config.intermediate_size)
    if any(n < o for n, o in zip((hidden, layers, heads, ffn), was, strict=True)) or hidden // heads != was[0] // was[2]:
        raise UserError(
            f"{small} (hidden, layers, heads, ffn: {was}) cannot grow to {(hidden, layers, heads, ffn)}",
            "A grown model is nowhere smaller, and hidden / heads stays the same.",
        )
    config.hidden_size, config.num_hidden_layers, config.intermediate_size = hidden, layers, ffn
    config.num_attention_heads = config.num_key_value_heads = heads
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        large = LlamaForCausalLM(config)
        old = model.state_dict()
        large.load_state_dict({name: _grown(name, like, old.get(name)) for name, like in large.state_dict().items()})
    path = Path(out)
    with loading.quiet():
        large.save_pretrained(path)
    HFTokenizer.load(small).hf.save_pretrained(path)
    return path


WRITES = ("o_proj.weight", "down_proj.weight", "embed_tokens.weight", "lm_head.weight")
"""What adds to the residual stream (or reads the logits off it): its new entries are 0."""


def _grown(name: str, like: Tensor, old: Tensor | None) -> Tensor:
    """The weight `name` at the shape of `like`: `old` in its first rows and columns, elsewhere what keeps the function."""
    if name.endswith("norm.weight"):
        return torch.ones_like(like) if old is None else _norm(like, old)
    new = torch.zeros_like(like) if name.endswith(WRITES) else torch.randn_like(like) * SPREAD
    if old is not None:
        new[tuple(slice(0, n) for n in old.shape)] = old
    return new


def _norm(like: Tensor, old: Tensor) -> Tensor:
    new = old.mean().expand_as(like).clone()
    new[: len(old)] = old
    return new * (len(old) / len(like)) ** 0.5
