"""Greedy decoding is Hugging Face's `generate`, wherever the two best logits are further apart than rounding (1e-5)."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from decode_models import VOCABULARY, lm_of, prompts_of
from transformers import (
    BloomConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    Phi3Config,
    PretrainedConfig,
    Qwen2Config,
    Qwen3Config,
    Qwen3NextConfig,
)

from plumbline.core.nouns import Sampling
from plumbline.models import decode, lean, steppers

NEW = 14


IDS: dict[str, Any] = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
SIZE: dict[str, Any] = {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 3, **IDS}
HEADS: dict[str, Any] = {"intermediate_size": 48, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64}
LINEAR: dict[str, Any] = {
    "head_dim": 16,
    "layer_types": ["linear_attention", "linear_attention", "full_attention"],
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16,
}
EAGER: dict[str, Any] = {"attn_implementation": "eager"}
WINDOWED: dict[str, Any] = {"head_dim": 8, "sliding_window": 5}
GROWING: dict[str, Any] = {"rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0] * 4, "long_factor": [3.0] * 4}
CONFIGS: dict[str, tuple[PretrainedConfig, str]] = {
    "llama": (LlamaConfig(**SIZE, **HEADS), "lean"),
    "llama-mha": (LlamaConfig(**SIZE, **{**HEADS, "num_key_value_heads": 4}, tie_word_embeddings=True), "lean"),
    "qwen2": (Qwen2Config(**SIZE, **HEADS), "lean"),
    "qwen3": (Qwen3Config(**SIZE, **HEADS, head_dim=16), "lean"),
    "mistral": (MistralConfig(**SIZE, **HEADS, sliding_window=None), "lean"),
    "mistral-window": (MistralConfig(**SIZE, **HEADS, **WINDOWED), "padded"),
    "qwen2-window": (Qwen2Config(**SIZE, **HEADS, use_sliding_window=True, sliding_window=5, max_window_layers=1), "padded"),
    "gpt2": (GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=64, bos_token_id=1, eos_token_id=2), "padded"),
    "gemma2": (Gemma2Config(**SIZE, **HEADS, **WINDOWED, **EAGER), "padded"),
    "gemma3": (Gemma3TextConfig(**SIZE, **HEADS, **WINDOWED), "padded"),
    "bloom": (BloomConfig(vocab_size=VOCABULARY, hidden_size=32, n_layer=2, n_head=4, bos_token_id=1, eos_token_id=2), "padded"),
    "qwen3-next": (Qwen3NextConfig(**SIZE, **HEADS, **LINEAR), "bucketed"),
    "mamba": (MambaConfig(**SIZE, state_size=8), "bucketed"),
    "phi3-long": (Phi3Config(**SIZE, **HEADS, original_max_position_embeddings=12, rope_parameters=GROWING), "recomputed"),
}


def by_hand(model: Any, prompt: list[int]) -> tuple[list[int], list[float]]:
    """`generate`, one prompt at a time, and how far apart the two best logits were at each step (plain forwards)."""
    ids = torch.tensor([prompt])
    done = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=NEW, do_sample=False, pad_token_id=0)[0, len(prompt) :]
    with torch.no_grad():
        logits = model(input_ids=torch.cat([ids[0], done])[None]).logits[0, len(prompt) - 1 : -1]
    best = logits.topk(2).values
    return done.tolist(), (best[:, 0] - best[:, 1]).tolist()


@pytest.mark.parametrize("name", CONFIGS)
def test_greedy_is_generate(name: str) -> None:
    config, kind = CONFIGS[name]
    lm, prompts = lm_of(config), prompts_of(4)
    with torch.inference_mode():
        assert ("lean" if lean.serves(lm.model) else steppers.kind_of(lm.model, 9 + NEW)) == kind
    replies = decode.sample(lm, [" ".join(map(str, p)) for p in prompts], 2, Sampling(temperature=0, max_tokens=NEW))
    told = 0
    for prompt, (reply, again) in zip(prompts, replies, strict=True):
        theirs, margins = by_hand(lm.model, prompt)
        sure = next((i for i, m in enumerate(margins) if m < 1e-5), len(theirs))
        assert list(reply.ids[:sure]) == theirs[:sure]
        assert again.ids[:sure] == reply.ids[:sure]
        told += sure
    assert told > 2 * NEW  # not true for want of decisions
