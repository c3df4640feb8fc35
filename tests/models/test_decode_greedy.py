"""Greedy decoding is Hugging Face's `generate`, wherever the two best logits are further apart than rounding (1e-5)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
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
from transformers import AutoModelForCausalLM as Auto

from plumbline.core.nouns import Sampling
from plumbline.models import decode, lean, steppers

VOCABULARY, NEW = 61, 14


class Numbers:
    """A tokenizer whose text is its ids: `"3 5 8"` is (3, 5, 8)."""

    bos_id, eos_id, pad_id, vocab_size, has_template = None, 2, 0, VOCABULARY, False

    def context_ids(self, context: str) -> list[int]:
        return [int(w) for w in context.split()]

    def completion_ids(self, context: str, completion: str, *, complete: bool = True) -> list[int]:
        return [*self.context_ids(completion), *([self.eos_id] if complete else [])]

    def decode(self, ids: Any) -> str:
        return " ".join(str(i) for i in ids if i > 2)


SIZE = {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 3, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
HEADS = {"intermediate_size": 48, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64}
LINEAR = {
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
WINDOWED = {"head_dim": 8, "sliding_window": 5}
GROWING = {"rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0] * 4, "long_factor": [3.0] * 4}
CONFIGS: dict[str, tuple[PretrainedConfig, str]] = {
    "llama": (LlamaConfig(**SIZE, **HEADS), "lean"),
    "llama-mha": (LlamaConfig(**SIZE, **{**HEADS, "num_key_value_heads": 4}, tie_word_embeddings=True), "lean"),
    "qwen2": (Qwen2Config(**SIZE, **HEADS), "lean"),
    "qwen3": (Qwen3Config(**SIZE, **HEADS, head_dim=16), "lean"),
    "mistral": (MistralConfig(**SIZE, **HEADS, sliding_window=None), "lean"),
    "mistral-window": (MistralConfig(**SIZE, **HEADS, **WINDOWED), "padded"),
    "qwen2-window": (Qwen2Config(**SIZE, **HEADS, use_sliding_window=True, sliding_window=5, max_window_layers=1), "padded"),
    "gpt2": (GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=64, bos_token_id=1, eos_token_id=2), "padded"),
    "gemma2": (Gemma2Config(**SIZE, **HEADS, **WINDOWED, attn_implementation="eager"), "padded"),
    "gemma3": (Gemma3TextConfig(**SIZE, **HEADS, **WINDOWED), "padded"),
    "bloom": (BloomConfig(vocab_size=VOCABULARY, hidden_size=32, n_layer=2, n_head=4, bos_token_id=1, eos_token_id=2), "padded"),
    "qwen3-next": (Qwen3NextConfig(**SIZE, **HEADS, **LINEAR), "bucketed"),
    "mamba": (MambaConfig(**SIZE, state_size=8), "bucketed"),
    "phi3-long": (Phi3Config(**SIZE, **HEADS, original_max_position_embeddings=12, rope_parameters=GROWING), "recomputed"),
}


def lm_of(config: PretrainedConfig) -> Any:
    """A random model with logits spread enough that greedy decisions are decisions."""
    torch.manual_seed(0)
    model = Auto.from_config(config).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.dim() > 1 and "A_log" not in name and "conv" not in name:
                p.mul_(4 if "embed" not in name else 20)
    return SimpleNamespace(model=model, tokenizer=Numbers())


def prompts_of(count: int) -> list[list[int]]:
    g = torch.Generator().manual_seed(1)
    return [torch.randint(3, VOCABULARY, (3 + 2 * i,), generator=g).tolist() for i in range(count)]


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
    model = steppers.bare(lm.model)
    with torch.inference_mode():
        assert ("lean" if lean.serves(model) else steppers.kind_of(model, 9 + NEW)) == kind
    replies = decode.sample(lm, [" ".join(map(str, p)) for p in prompts], 2, Sampling(temperature=0, max_tokens=NEW))
    told = 0
    for prompt, (reply, again) in zip(prompts, replies, strict=True):
        theirs, margins = by_hand(lm.model, prompt)
        sure = next((i for i, m in enumerate(margins) if m < 1e-5), len(theirs))
        assert list(reply.ids[:sure]) == theirs[:sure]
        assert again.ids[:sure] == reply.ids[:sure]
        told += sure
    assert told > 2 * NEW  # not true for want of decisions
