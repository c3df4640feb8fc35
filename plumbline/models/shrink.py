"""A tiny copy of any architecture, in which nothing can hide: few layers, a window of 8, strong random weights.

With fresh weights attention is nearly uniform and logits nearly equal, so a wrong mask moves a log-probability by 1e-4 and passes for
rounding.   Here weights have the size 1/√fan_in and logits a standard deviation of at least 3: a wrong mask moves them by whole nats.
"""

from __future__ import annotations

import copy
from typing import Any

import torch

WINDOW = 8
ORIGINAL = 24  # positions after which a rotary embedding that grows with length begins to grow
VOCABULARY = 96
LOGIT_STD = 4.0
SMALL = {
    "hidden_size": 64, "n_embd": 64, "d_model": 64, "word_embed_proj_dim": 64, "intermediate_size": 96, "ffn_dim": 96, "n_inner": 96,
    "num_attention_heads": 4, "n_head": 4, "num_heads": 4, "head_dim": 16, "query_pre_attn_scalar": 16,
    "num_local_experts": 4, "num_experts": 4, "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 32, "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 16,
    "linear_value_head_dim": 16, "state_size": 8, "ssm_state_size": 8, "chunk_size": 8, "time_step_rank": 4,
}  # fmt: skip
TOKENS = ("pad_token_id", "bos_token_id", "eos_token_id", "unk_token_id")


def shrunk(config: Any, *, narrow: bool = True) -> Any:
    """The config of a tiny model of the same architecture.   `narrow=False` keeps its widths and only shortens it."""
    small = copy.deepcopy(config.get_text_config())
    if narrow:
        _narrow(small)
    small.vocab_size = VOCABULARY
    for name in TOKENS:
        if getattr(small, name, None) is not None:
            setattr(small, name, 0)
    _few_layers(small)
    if getattr(small, "sliding_window", None):
        small.sliding_window = WINDOW
    _short_rope(small)
    return small


def _narrow(config: Any) -> None:
    heads, shared = (vars(config).get(name) or 1 for name in ("num_attention_heads", "num_key_value_heads"))
    for name, value in SMALL.items():
        if isinstance(vars(config).get(name), int):
            setattr(config, name, min(value, getattr(config, name)))
    if vars(config).get("num_key_value_heads"):
        config.num_key_value_heads = max(1, config.num_attention_heads * shared // heads)
    if {"expand", "num_heads", "head_dim"} <= set(vars(config)):  # Mamba 2: its heads fill the expanded width
        config.num_heads = config.expand * config.hidden_size // config.head_dim
        config.n_groups = 1


def _few_layers(config: Any) -> None:
    """The shortest beginning of the layers that holds every kind of them."""
    kinds = list(vars(config).get("layer_types") or [])
    count = max([kinds.index(k) + 1 for k in set(kinds)], default=2)
    count = max(2, count)
    for name in ("num_hidden_layers", "n_layer"):
        if name in vars(config):
            setattr(config, name, min(count, getattr(config, name)))
    if kinds:
        config.layer_types = kinds[:count]


def _short_rope(config: Any) -> None:
    parameters = getattr(config, "rope_parameters", None)
    if not isinstance(parameters, dict):
        return
    for rope in [parameters, *(p for p in parameters.values() if isinstance(p, dict))]:
        if rope.get("original_max_position_embeddings"):
            rope["original_max_position_embeddings"] = ORIGINAL
        for name in ("short_factor", "long_factor"):
            if rope.get(name):
                width = int(config.head_dim if getattr(config, "head_dim", None) else config.hidden_size // config.num_attention_heads)
                width = int(width * rope.get("partial_rotary_factor", 1.0)) // 2
                rope[name] = (list(rope[name]) * width)[:width]
        if "dynamic" in str(rope.get("rope_type", "")):
            config.max_position_embeddings = ORIGINAL
    if getattr(config, "original_max_position_embeddings", None):
        config.original_max_position_embeddings = ORIGINAL


@torch.no_grad()
def strengthen(model: Any, seed: int = 0, std: float = LOGIT_STD) -> Any:
    """Redraw matrices with size 1/√fan_in and scale the head until logits have this standard deviation; returns the model."""
    noise = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        if parameter.dim() >= 2:
            parameter.copy_(torch.randn(parameter.shape, generator=noise) * parameter.shape[-1] ** -0.5)
        elif parameter.dim() == 1 and parameter.is_floating_point():
            parameter.add_(torch.randn(parameter.shape, generator=noise) * 0.05)
    embedding: Any = model.get_input_embeddings()
    torch.nn.init.normal_(embedding.weight, generator=noise)
    ids = torch.randint(1, model.config.get_text_config().vocab_size, (2, 16), generator=noise)
    for _ in range(4):  # with tied weights, and under a soft cap, the scale does not act linearly
        found = model(input_ids=ids.to(embedding.weight.device)).logits.float().std().item()
        model.get_output_embeddings().weight.mul_(std / found)
    return model.eval()
