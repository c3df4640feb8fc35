"""The kernel's proof: over architectures, shapes, packing and order, values and gradients equal a plain forward of each sequence."""

from __future__ import annotations

import random
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    BloomConfig,
    CohereConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GemmaConfig,
    GPT2Config,
    GptOssConfig,
    LlamaConfig,
    Mamba2Config,
    MistralConfig,
    Phi3Config,
    Qwen2Config,
    Qwen3Config,
    Qwen3NextConfig,
)

from plumbline.core.batches import Group
from plumbline.models import groups as kernel
from plumbline.models import shrink
from plumbline.models.body import Body
from plumbline.models.loading import quiet
from plumbline.models.selfcheck import Truth, one_by_one, probe

LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 10_000.0,
    "factor": 32.0,
    "short_factor": [1.0 + 0.02 * i for i in range(48)],
    "long_factor": [2.0 + i for i in range(48)],
    "original_max_position_embeddings": 4096,
}
CONFIGS: dict[str, Any] = {
    "llama": lambda: LlamaConfig(num_key_value_heads=8),
    "llama-dynamic-rope": lambda: LlamaConfig(rope_parameters={"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10_000.0}),
    "gpt2": GPT2Config,
    "qwen2": Qwen2Config,
    "qwen3": Qwen3Config,
    "gemma": GemmaConfig,
    "gemma2": Gemma2Config,
    "gemma3": Gemma3TextConfig,
    "mistral-window": lambda: MistralConfig(sliding_window=4096),
    "gpt-oss": GptOssConfig,
    "phi3-longrope": lambda: Phi3Config(
        rope_parameters=LONGROPE, max_position_embeddings=131_072, original_max_position_embeddings=4096, sliding_window=None
    ),
    "cohere": CohereConfig,
    "bloom": BloomConfig,
    "qwen3-next": Qwen3NextConfig,
    "mamba2": Mamba2Config,
}
# What the self-check finds; "padded" is right everywhere, and is tested everywhere.
RIGHT: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(CONFIGS, ("dense", "prefix")),
    "bloom": ("prefix",),
    "llama-dynamic-rope": ("dense",),
    "phi3-longrope": ("dense",),
    "qwen3-next": ("prefix",),
    "mamba2": (),
}


@cache
def strong(name: str) -> Any:
    """A tiny model of the architecture with logits of standard deviation about 4."""
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(0)
        return shrink.strengthen(AutoModelForCausalLM.from_config(shrink.shrunk(CONFIGS[name]())))


@cache
def truth(name: str) -> Truth:
    with quiet():
        return Truth.of(strong(name), probe(shrink.VOCABULARY))


def random_groups(seed: int, count: int = 4) -> list[Group]:
    """Prompts of 1–20 tokens with 1–4 completions of 1–14 tokens each."""
    noise = random.Random(seed)

    def ids(most: int) -> tuple[int, ...]:
        return tuple(noise.randrange(1, shrink.VOCABULARY) for _ in range(noise.randint(1, most)))

    return [Group(ids(20), tuple(ids(14) for _ in range(noise.randint(1, 4)))) for _ in range(count)]


def flat(logp_NT: Tensor, groups: list[Group]) -> Tensor:
    widths = [len(c) for g in groups for c in g.completions]
    for row, width in zip(logp_NT, widths, strict=True):
        assert not row[width:].any(), "padding must be 0"
    return torch.cat([row[:width] for row, width in zip(logp_NT, widths, strict=True)])


def close(got: Tensor, want: Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(got, want, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", CONFIGS)
def test_logits_are_strong(name: str) -> None:
    with torch.no_grad():
        ids = torch.randint(1, shrink.VOCABULARY, (2, 16), generator=torch.Generator().manual_seed(3))
        assert strong(name)(input_ids=ids).logits.std() >= 3


@pytest.mark.parametrize(("name", "backend"), [(n, b) for n in CONFIGS for b in (*RIGHT[n], "padded")])
def test_equals_one_by_one(name: str, backend: str) -> None:
    # Values to 1e-5 and gradients to 1e-4 of the largest.  Qwen3-Next's continuation solves its chunks from another start than the
    # plain pass: exact in float64 (test below), 5e-5 in float32.
    values, gradients = truth(name).gaps(backend)
    rough = 10 if name == "qwen3-next" else 1
    assert values <= 1e-5 * rough
    assert gradients <= 1e-4 * rough


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma3", "gpt-oss", "mistral-window", "phi3-longrope", "qwen3-next"])
def test_random_groups_packing_and_order(name: str) -> None:
    model, backend = strong(name), (*RIGHT[name], "padded")[0]
    with torch.no_grad(), quiet():
        groups = random_groups(seed=len(name))
        want = torch.cat(one_by_one(model, groups, temperature=0.7))
        together = flat(kernel.token_logps(Body.of(model), groups, backend=backend, temperature=0.7), groups)
        close(together, want, 1e-4 if name == "qwen3-next" else 1e-5)
        order = [2, 0, 3, 1]
        shuffled = [groups[i] for i in order]
        pieces = together.split([sum(map(len, g.completions)) for g in groups])
        got = flat(kernel.token_logps(Body.of(model), shuffled, backend=backend, temperature=0.7), shuffled)
        close(got, torch.cat([pieces[i] for i in order]), 1e-4 if name == "qwen3-next" else 1e-5)


def test_the_continuation_of_a_recurrent_state_is_exact_in_float64() -> None:
    from transformers import AutoModelForCausalLM

    config = shrink.shrunk(Qwen3NextConfig())
    groups = random_groups(seed=5, count=2)
    with torch.no_grad(), quiet():
        # torch's grouped product of experts takes no float64
        model = shrink.strengthen(AutoModelForCausalLM.from_config(config, experts_implementation="eager").double())
        want = torch.cat(one_by_one(model, groups)).float()
        got = flat(kernel.token_logps(Body.of(model), groups, backend="prefix"), groups)
    torch.testing.assert_close(got, want, rtol=5e-6, atol=5e-6)


@pytest.mark.parametrize("name", ["mistral-window", "gemma2", "gemma3", "gpt-oss"])
def test_a_mask_without_the_window_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # transformers takes such a mask without a word; the check must not.
    honest = Body.of
    full = staticmethod(lambda model: _without_windows(honest(model)))
    monkeypatch.setattr(Body, "of", full)
    assert not truth(name).agrees("dense")


def _without_windows(body: Body) -> Body:
    from dataclasses import replace

    return replace(body, windows={"full_attention": None})


@pytest.mark.parametrize("name", ["qwen3-next", "mamba2", "bloom"])
def test_tree_rows_are_refused_where_they_are_wrong(name: str) -> None:
    assert not truth(name).agrees("dense")


def test_an_empty_prompt_is_an_error() -> None:
    with pytest.raises(ValueError, match="row 7"):
        kernel.token_logps(Body.of(strong("llama")), [Group((), ((1, 2),), row=7)], backend="dense")


def test_hidden_states_and_input_gradients_equal_the_plain_forward() -> None:
    model = strong("gemma3")
    groups = random_groups(seed=2, count=2)
    body = Body.of(model)
    h_NTH = kernel.hidden(body, groups, backend="dense", layer=1)
    n = 0
    for group in groups:
        for completion in group.completions:
            ids = torch.tensor([[*group.prompt, *completion]])
            want = model(input_ids=ids, output_hidden_states=True).hidden_states[1][0, len(group.prompt) :]
            close(h_NTH[n, : len(completion)], want)
            n += 1
    got = kernel.input_grad(body, groups[:1], lambda logp_NT: logp_NT.sum(), backend="dense")[0]
    want = torch.zeros_like(got)
    for completion in groups[0].completions:
        leaf = model.get_input_embeddings()(torch.tensor([[*groups[0].prompt, *completion]])).detach().requires_grad_()
        logp = torch.log_softmax(model(inputs_embeds=leaf).logits[0, len(got) - 1 : -1], -1)
        value = logp.gather(1, torch.tensor(completion)[:, None]).sum()
        want += torch.autograd.grad(value, leaf)[0][0, : len(got)]
    close(got, want, 1e-4)


@pytest.mark.parametrize("name", ["llama", "mistral-window", "gemma3"])
def test_block_masks_on_a_gpu(name: str) -> None:
    if not torch.cuda.is_available():
        pytest.skip("FlexAttention has no backward pass on a CPU: needs a GPU (its rule is compared with the dense mask in test_layout)")
    import copy

    values, gradients = Truth.of(copy.deepcopy(strong(name)).cuda(), probe(shrink.VOCABULARY)).gaps("flex")
    assert values <= 1e-4
    assert gradients <= 1e-3
