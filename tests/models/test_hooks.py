"""Hooks on untouched models: names, shapes, and that what they show is what the model computed, against independent arithmetic."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor
from torch.testing import assert_close

from plumbline.core.errors import UserError
from plumbline.models import shrink
from plumbline.models.fresh import fresh
from plumbline.models.hooks import Insides, run_with_cache, run_with_hooks
from plumbline.models.lm import LM
from plumbline.models.loading import quiet

UNDERSTOOD = """
    Llama Mistral Mixtral Qwen2 Qwen3 Qwen2Moe Qwen3Moe Gemma Gemma2 Gemma3Text GPT2 GPTNeoX OPT Phi Phi3 Olmo Olmo2 Olmo3 Olmoe Cohere
    Cohere2 Starcoder2 StableLm Granite Glm Glm4 GptOss SmolLM3 Helium Persimmon BioGpt GPTBigCode Ernie4_5 Exaone4 SeedOss Arcee Apertus
    Jais2 Phimoe
""".split()  # noqa: SIM905
PARALLEL = {"GPTNeoX", "Phi", "Cohere", "Cohere2"}
ADDED_AFTER_A_NORM = {"Gemma2", "Gemma3Text", "Olmo2", "Olmo3", "Glm4", "Exaone4"}
OPTIONS: dict[str, dict[str, Any]] = {
    "Llama": {"num_key_value_heads": 8},
    "Granite": {"residual_multiplier": 0.22, "embedding_multiplier": 12.0, "logits_scaling": 8.0},
}


@cache
def tiny(name: str) -> Any:
    """A small model of the architecture whose every part has weight."""
    config = getattr(transformers, f"{name}Config")(**OPTIONS.get(name, {}))
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(0)
        return shrink.strengthen(transformers.AutoModelForCausalLM.from_config(shrink.shrunk(config)))


@cache
def insides(name: str) -> Insides:
    return Insides.of(tiny(name))


def ids(rows: int = 2, length: int = 11) -> Tensor:
    return torch.randint(1, shrink.VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(5))


def grouped(x: Tensor, heads: int) -> Tensor:
    return x.repeat_interleave(heads // x.shape[2], dim=2)


@pytest.mark.parametrize("name", UNDERSTOOD)
@torch.no_grad()
def test_every_value_is_what_the_model_computed(name: str) -> None:
    model, inside = tiny(name), insides(name)
    logits, cache = run_with_cache(inside, ids())
    plain = model(input_ids=ids(), use_cache=False, output_hidden_states=True)
    assert torch.equal(logits, plain.logits)
    parts = inside.parts
    for i, layer in enumerate(parts.layers):
        at = {k.removeprefix(f"blocks.{i}."): v for k, v in cache.items() if k.startswith(f"blocks.{i}.")}
        pre, post, attn, mlp = (at[f"hook_{n}"] for n in ("resid_pre", "resid_post", "attn_out", "mlp_out"))
        assert torch.equal(pre, plain.hidden_states[i])
        assert_close(pre + attn + mlp, post, atol=1e-4, rtol=1e-5)
        assert ("hook_resid_mid" in at) == (name not in PARALLEL)
        if "hook_resid_mid" in at:
            assert_close(pre + attn, at["hook_resid_mid"], atol=1e-5, rtol=1e-5)
        pattern, v, z = (at[f"attn.hook_{n}"] for n in ("pattern", "v", "z"))
        assert z.shape == v.shape == (2, 11, parts.heads, parts.d_head)
        assert at["attn.hook_rot_q"].shape == at["attn.hook_rot_k"].shape == at["attn.hook_q"].shape == at["attn.hook_k"].shape
        assert pattern.shape == (2, parts.heads, 11, 11)
        assert not pattern.triu(1).any()
        if name != "GptOss":  # its sinks take a share of every row
            assert_close(pattern.sum(-1), torch.ones_like(pattern.sum(-1)))
        assert_close((pattern @ v.transpose(1, 2)).transpose(1, 2), z, atol=1e-4, rtol=1e-4)
        assert layer.out is not None
        if name not in ADDED_AFTER_A_NORM:  # z · W_O is what is added
            assert_close(model.get_submodule(layer.out)(z.flatten(2)) * layer.attn.scale, attn, atol=1e-4, rtol=1e-4)
    assert_close(model.get_submodule(parts.norm)(cache[f"blocks.{inside.layers - 1}.hook_resid_post"]), cache["ln_final.hook_normalized"])


def test_queries_and_keys_before_the_rotary_embedding_by_hand() -> None:
    """Llama: q = W_q norm(x), per head; rotated by angles that are computed here."""
    model, inside = tiny("Llama"), insides("Llama")
    _, cache = run_with_cache(inside, ids())
    block = model.model.layers[1]
    x = block.input_layernorm(cache["blocks.1.hook_resid_pre"])
    q = (x @ block.self_attn.q_proj.weight.T).unflatten(-1, (4, 16)).detach()
    k = (x @ block.self_attn.k_proj.weight.T).unflatten(-1, (1, 16)).detach()
    assert_close(cache["blocks.1.attn.hook_q"], q)
    assert_close(cache["blocks.1.attn.hook_k"], grouped(k, 4))
    angle_LD = torch.arange(11.0)[:, None] / 10_000.0 ** (torch.arange(8.0) / 8)
    turn = torch.polar(torch.ones_like(angle_LD), angle_LD)[:, None]
    turned = torch.complex(q[..., :8], q[..., 8:]) * turn
    assert_close(cache["blocks.1.attn.hook_rot_q"], torch.cat([turned.real, turned.imag], -1), atol=1e-5, rtol=1e-4)


def test_fused_projections_are_taken_apart() -> None:
    # GPT-2 joins [q | k | v]; GPT-NeoX joins (q, k, v) head by head.
    _, cache = run_with_cache(insides("GPT2"), ids())
    block = tiny("GPT2").transformer.h[0]
    fused = block.attn.c_attn(block.ln_1(cache["blocks.0.hook_resid_pre"])).detach()
    for what, part in zip("qkv", fused.split(64, -1), strict=True):
        assert_close(cache[f"blocks.0.attn.hook_{what}"], part.unflatten(-1, (4, 16)))
    _, cache = run_with_cache(insides("GPTNeoX"), ids())
    block = tiny("GPTNeoX").gpt_neox.layers[0]
    fused = block.attention.query_key_value(block.input_layernorm(cache["blocks.0.hook_resid_pre"])).detach().unflatten(-1, (4, 3, 16))
    for i, what in enumerate("qkv"):
        assert_close(cache[f"blocks.0.attn.hook_{what}"], fused[..., i, :])


@pytest.mark.parametrize("name", ["Llama", "GPT2", "GPTNeoX", "Gemma2", "OPT", "Granite", "Persimmon", "GptOss"])
@torch.no_grad()
def test_a_value_put_back_changes_no_bit_and_another_one_arrives(name: str) -> None:
    inside = insides(name)
    plain, own = run_with_cache(inside, ids())
    other, theirs = run_with_cache(inside, ids().flip(1))
    assert torch.equal(run_with_hooks(inside, ids(), [(lambda _: True, lambda x, hook: own[hook.name].clone())]), plain)
    for point in inside.names:
        # Given a run's own values from some hook on, at all positions, the rest of the run is the other run's (streams);
        seen = run_with_hooks(inside, ids(), [(point, lambda x, hook: theirs[hook.name])])
        stream = point.endswith(("resid_pre", "resid_mid", "resid_post", "hook_normalized"))
        if stream:
            assert_close(seen, other, atol=2e-4, rtol=2e-4)
        elif not point.endswith("hook_embed"):
            assert not torch.allclose(seen, plain, atol=1e-3), point  # of the others at least something arrives


@pytest.mark.parametrize("name", ["Llama", "GPT2", "Gemma2", "GptOss"])
@torch.no_grad()
def test_all_parts_of_attention_together_make_its_z(name: str) -> None:
    """q and k (or the pattern) and v of another run give that run's attention, whichever way they are put in."""
    inside = insides(name)
    _, theirs = run_with_cache(inside, ids().flip(1))
    ways = [("q", "k", "v"), ("rot_q", "rot_k", "v"), ("pattern", "v"), ("z",)]
    for way in ways:
        names = [f"blocks.1.attn.hook_{what}" for what in way]
        _, got = inside.run(ids(), [(names, lambda x, hook: theirs[hook.name])], keep=inside.chosen(lambda n: n.startswith("blocks.1.")))
        assert_close(got["blocks.1.hook_attn_out"], theirs["blocks.1.hook_attn_out"], atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_one_head_of_a_group_is_changed_alone() -> None:
    """Four query heads share a key and value: changing what head 2 sees leaves the z of the others bit for bit what rounding allows."""
    inside = insides("Llama")
    _, own = run_with_cache(inside, ids())

    def no_third(x: Tensor, hook: Any) -> Tensor:
        x = x.clone()
        x[:, :, 2] = 0
        return x

    for what in ("v", "rot_k"):
        _, got = inside.run(ids(), [(f"blocks.0.attn.hook_{what}", no_third)], keep=["blocks.0.attn.hook_z"])
        z, before = got["blocks.0.attn.hook_z"], own["blocks.0.attn.hook_z"]
        assert_close(z[:, :, [0, 1, 3]], before[:, :, [0, 1, 3]])
        assert not torch.allclose(z[:, :, 2], before[:, :, 2], atol=1e-2)
    with pytest.raises(UserError, match="hook_rot_k"):
        run_with_hooks(inside, ids(), [("blocks.0.attn.hook_k", no_third)])


def test_gradients_flow_through_hooks() -> None:
    inside = insides("GPT2")
    leaf = torch.zeros(1, 11, 64, requires_grad=True)
    logits = run_with_hooks(inside, ids(1), [("blocks.1.hook_resid_pre", lambda x, hook: x + leaf)])
    got = torch.autograd.grad(logits[0, -1, 3], leaf)[0]
    hidden = tiny("GPT2")(input_ids=ids(1), output_hidden_states=True)
    want = torch.autograd.grad(hidden.logits[0, -1, 3], hidden.hidden_states[1])[0]
    assert_close(got, want, atol=1e-5, rtol=1e-4)


def hooks_of(model: Any) -> list[tuple[Any, ...]]:
    return [(*m._forward_hooks.values(), *m._forward_pre_hooks.values()) for m in model.modules()]


def test_the_model_is_left_as_it_was() -> None:
    model = tiny("Qwen3")
    config, hooks = model.model.layers[0].self_attn.config, hooks_of(model)

    def fails(x: Tensor, hook: object) -> Tensor:
        return x * (1 // 0)

    with pytest.raises(ZeroDivisionError):
        run_with_hooks(insides("Qwen3"), ids(), [("blocks.0.attn.hook_z", fails)])
    assert model.model.layers[0].self_attn.config is config
    assert config._attn_implementation == "sdpa"
    assert hooks_of(model) == hooks  # transformers leaves some of its own where hidden states were asked for


@pytest.mark.parametrize("name", ["Bloom", "Falcon", "Mamba2", "Qwen3Next"])
def test_what_is_not_understood_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="not understood"):
        insides(name)


def test_a_post_norm_stream_is_refused() -> None:
    config = shrink.shrunk(transformers.OPTConfig(do_layer_norm_before=False))
    model = shrink.strengthen(transformers.AutoModelForCausalLM.from_config(config))
    with pytest.raises(UserError, match="not the sum"):
        Insides.of(model)


def test_an_unknown_name_says_which_there_are() -> None:
    with pytest.raises(UserError, match=r"hook_zz.*\n.*attn.hook_z"):
        run_with_cache(insides("Llama"), ids(), "blocks.0.attn.hook_zz")
    with pytest.raises(UserError, match="resid_mid"):
        run_with_cache(insides("GPTNeoX"), ids(), "blocks.0.hook_resid_mid")
    with pytest.raises(UserError, match=r"\(1, 2\)"):
        run_with_hooks(insides("Llama"), ids(), [("hook_embed", lambda x, hook: x[0, :1, :2])])


def test_a_model_in_training_is_refused() -> None:
    model = transformers.AutoModelForCausalLM.from_config(shrink.shrunk(transformers.GPT2Config())).train()
    with pytest.raises(UserError, match="training"):
        Insides.of(model)


def test_an_adapter_is_seen(tmp_path: Any) -> None:
    """Hooks of an LM with a LoRA see what its adapter adds, in the queries too, and of its reference they do not."""
    path = fresh(tmp_path / "m", [f"w{i}" for i in range(40)], hidden=32, layers=2, heads=2, ffn=48, context=64)
    lm = LM.load(path, lora=4, attn="dense")
    reference = lm.frozen()
    with torch.no_grad():
        for i, p in enumerate(lm.parameters()):
            p.copy_(torch.randn(p.shape, generator=torch.Generator().manual_seed(i)) * 0.3)
    tokens = torch.arange(4, 15)[None]
    logits, cache = run_with_cache(lm, tokens)
    merged_logits, merged = run_with_cache(lm.merge(), tokens)
    assert_close(logits, merged_logits, atol=1e-4, rtol=1e-4)
    assert_close(cache["blocks.0.attn.hook_q"], merged["blocks.0.attn.hook_q"], atol=1e-4, rtol=1e-4)
    assert not torch.allclose(run_with_cache(reference, tokens)[1]["blocks.0.attn.hook_q"], cache["blocks.0.attn.hook_q"], atol=1e-2)
