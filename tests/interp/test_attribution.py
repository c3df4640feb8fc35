"""Parts of a logit sum to the logit, in every kind of model; a lens whose last row is the model's answer; patching by hand."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
import transformers
from torch.testing import assert_close

from plumbline.core.errors import UserError
from plumbline.interp.attribution import attribute
from plumbline.interp.lens import logit_lens
from plumbline.interp.linear import frozen_norm
from plumbline.interp.patching import between, difference, patch, patch_heads
from plumbline.models import shrink
from plumbline.models.hooks import Insides, run_with_cache, run_with_hooks
from plumbline.models.loading import quiet

OPTIONS: dict[str, dict[str, Any]] = {
    "Llama": {"num_key_value_heads": 8},
    "Granite": {"residual_multiplier": 0.22, "embedding_multiplier": 12.0, "logits_scaling": 8.0},
}
KINDS = ["Llama", "GPT2", "GPTNeoX", "OPT", "Phi", "Gemma2", "Gemma3Text", "Olmo", "Olmo2", "Cohere", "Granite", "StableLm", "Qwen2"]
IDS = torch.randint(1, shrink.VOCABULARY, (1, 9), generator=torch.Generator().manual_seed(2))


@cache
def exact(name: str) -> Insides:
    """In float64, so that what is missing is a part and not rounding."""
    config = getattr(transformers, f"{name}Config")(**OPTIONS.get(name, {}))
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(0)
        model = shrink.strengthen(transformers.AutoModelForCausalLM.from_config(shrink.shrunk(config)))
        return Insides.of(model.double())


@pytest.mark.parametrize("name", KINDS)
def test_parts_sum_to_the_logit(name: str) -> None:
    inside = exact(name)
    for token, against, position in ((3, None, -1), (7, 12, 4)):
        found = attribute(inside, IDS, token, against=against, position=position)
        with torch.no_grad():
            logits_V = inside.model(input_ids=IDS).logits[0, position].double()
        cap = inside.scaling.cap
        before_V = cap * (logits_V / cap).atanh() if cap else logits_V
        want = (before_V[token] - (before_V[against] if against is not None else 0)).item()
        assert abs(found.logit - want) < 1e-5 * max(1, abs(want))
        assert found.gap < 1e-5
        assert sum(".head." in p for p in found.parts) == inside.layers * inside.parts.heads
    assert ("pos_embed" in found.parts) == (name in ("GPT2", "OPT"))


def test_a_heads_share_is_what_its_ablation_takes_away() -> None:
    """The last layer's heads have no other way to the logit than the stream: with the norm's scale held, ablation is attribution."""
    inside = exact("GPT2")
    found = attribute(inside, IDS, 5)
    _, cache = run_with_cache(inside, IDS)
    block, norm = inside.model.transformer.h[1], inside.model.transformer.ln_f
    z = cache["blocks.1.attn.hook_z"][0, -1]
    wrote_D = z[2] @ block.attn.c_proj.weight.detach()[32:48]  # rows of head 2: 2·16 … 3·16
    x_D = cache["blocks.1.hook_resid_post"][0, -1]
    sigma = (x_D.var(unbiased=False) + norm.eps).sqrt()
    want = ((wrote_D - wrote_D.mean()) / sigma * norm.weight.detach()) @ inside.model.lm_head.weight.detach()[5]
    assert found.parts["blocks.1.attn.head.2"] == pytest.approx(want.item(), abs=1e-9)


def test_frozen_norms_by_hand() -> None:
    x_D = torch.tensor([3.0, -1.0, 2.0, 0.0], dtype=torch.float64)  # mean 1, variance (4 + 4 + 1 + 1)/4 = 2.5
    layer = torch.nn.LayerNorm(4, eps=1e-12).double()
    torch.nn.init.constant_(layer.weight, 2.0)
    torch.nn.init.constant_(layer.bias, 0.5)
    found = frozen_norm(layer, x_D)
    assert found.centred
    assert_close(found.bias_D, torch.full_like(x_D, 0.5))
    assert_close(found.weight_D * found.scale, torch.full_like(x_D, 2 / 2.5**0.5))
    u_D = torch.tensor([1.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    assert (found.pull(u_D) @ x_D).item() == pytest.approx(2 * (3 - 1) / 2.5**0.5)
    rms = torch.nn.RMSNorm(4, eps=1e-12).double()
    found = frozen_norm(rms, x_D)  # mean square 14/4 = 3.5
    assert not found.centred
    assert (found.pull(u_D) @ x_D).item() == pytest.approx(3 / 3.5**0.5)
    with pytest.raises(UserError, match="Tanh"):
        frozen_norm(torch.nn.Tanh(), x_D)


@pytest.mark.parametrize("name", ["Llama", "Gemma2", "GPT2"])
def test_the_lens_ends_in_the_models_answer_and_begins_at_the_embedding(name: str) -> None:
    inside = exact(name)
    found = logit_lens(inside, IDS)
    with torch.no_grad():
        plain = inside.model(input_ids=IDS).logits[0].log_softmax(-1)
        early = inside.unembed(run_with_cache(inside, IDS, "blocks.0.hook_resid_pre")[1]["blocks.0.hook_resid_pre"][0]).log_softmax(-1)
    assert found.logp_SLV.shape == (inside.layers + 1, 9, shrink.VOCABULARY)
    assert_close(found.logp_SLV[-1].double(), plain.double(), atol=1e-5, rtol=1e-5)
    assert torch.equal(found.logp_SLV[0], early)
    best = int(found.top()[1][-1, -1, 0])
    assert found.rank(best)[-1, -1] == 0


def test_patching_all_of_the_stream_brings_the_answer_back_and_nothing_of_it_nothing() -> None:
    """Texts that differ at position 4 only: before it nothing to restore; at it, layer 0, everything; of the last layer only the last."""
    inside = exact("Llama")
    corrupted = IDS.clone()
    corrupted[0, 4] = (IDS[0, 4] + 1) % shrink.VOCABULARY
    logits, cache = run_with_cache(inside, IDS)
    bad = run_with_hooks(inside, corrupted)
    metric = between(difference(3, 8), bad, logits)
    table = patch(inside, corrupted, cache, metric, "resid_pre")
    assert_close(table[0], torch.eye(9)[4].to(table), atol=1e-6, rtol=0)
    assert_close(table[:, :4], torch.zeros(2, 4).to(table), atol=1e-6, rtol=0)
    last = patch(inside, corrupted, cache, metric, "resid_post")[-1]
    assert_close(last, torch.eye(9)[8].to(last), atol=1e-6, rtol=0)


def test_patching_heads_by_hand() -> None:
    inside = exact("Llama")
    corrupted = IDS.flip(1)
    logits, cache = run_with_cache(inside, IDS)
    metric = difference(3, 8)
    table = patch_heads(inside, corrupted, cache, metric)
    assert table.shape == (2, 4)

    def third(x: torch.Tensor, hook: Any) -> torch.Tensor:
        return torch.cat([x[:, :, :3], cache[hook.name][:, :, 3:]], 2)

    got = run_with_hooks(inside, corrupted, [("blocks.1.attn.hook_z", third)])
    assert table[1, 3] == metric(got)
    with pytest.raises(UserError, match="tokens"):
        patch_heads(inside, IDS[:, :5], cache, metric)
    for lacking in ({}, {name: x for name, x in cache.items() if name != "hook_embed"}):
        with pytest.raises(UserError, match="cache has no hook_embed"):
            patch(inside, corrupted, lacking, metric, "resid_pre")
    with pytest.raises(UserError, match=r"cache has no blocks\.0\.attn\.hook_z"):
        patch_heads(inside, corrupted, {"hook_embed": cache["hook_embed"]}, metric)
    with pytest.raises(UserError, match="2 texts of 9 tokens"):
        patch_heads(inside, corrupted, {name: torch.cat([x, x]) for name, x in cache.items()}, metric)
    with pytest.raises(UserError, match="same metric"):
        between(metric, logits, logits)
