"""What an `LM` promises: equal numbers after copy, save and merge; a reference that stays; errors that say what to do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from plumbline.core.batches import Batch, Group, Part, Totals
from plumbline.core.errors import UserError
from plumbline.models import selfcheck
from plumbline.models.cache import CachedReference
from plumbline.models.lm import LM

GROUPS = [Group((1, 4, 8, 9, 5), ((10, 11, 2), (12, 13, 14, 2))), Group((1, 4, 15, 5), ((16, 2), (17, 18, 2)))]
PART = Part(tuple(GROUPS), Totals.of(GROUPS))


def step(lm: LM, rate: float = 0.5) -> None:
    """One step of gradient descent on the completions."""
    part_loss = PART.per_token(-lm.token_logps(PART))
    grads = torch.autograd.grad(part_loss, lm.parameters())
    with torch.no_grad():
        for parameter, grad in zip(lm.parameters(), grads, strict=True):
            parameter -= rate * grad


def test_logps_are_sums_over_tokens(small: LM) -> None:
    logp_NT = small.token_logps(PART)
    assert logp_NT.shape == (4, 4)
    assert logp_NT[0, 3] == 0
    torch.testing.assert_close(small.logps(PART), torch.stack([logp_NT.sum(1)[:2], logp_NT.sum(1)[2:]]))


def test_packing_changes_nothing(small: LM) -> None:
    alone = torch.cat([small.logps(part) for g in GROUPS for part in Batch([g]).parts()])
    torch.testing.assert_close(small.logps(PART), alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("lora", [0, 4])
def test_a_reference_is_the_policy_as_it_stood(small_dir: Path, lora: int) -> None:
    lm = LM.load(small_dir, lora=lora, attn="dense")
    before = lm.logps(PART).detach()
    first = lm.frozen()
    step(lm)
    middle = lm.logps(PART).detach()
    second = lm.frozen("second")
    step(lm)
    assert (middle - before).abs().max() > 1e-2
    assert (lm.logps(PART) - middle).abs().max() > 1e-2
    for reference, want in ((first, before), (second, middle)):
        torch.testing.assert_close(reference.logps(PART), want, rtol=1e-5, atol=1e-5)
        assert not reference.logps(PART).requires_grad
        assert reference.parameters() == []
    assert lm.logps(PART).requires_grad, "the policy is trained on after its references were asked"


def test_a_fresh_adapter_shares_its_weights_with_the_reference(small_dir: Path) -> None:
    lm = LM.load(small_dir, lora=2, attn="dense")
    assert lm.frozen().model is lm.model
    assert all("lora_" in name for name in lm.state_dict())


@pytest.mark.parametrize("lora", [0, 3])
def test_save_load_merge_copy_and_state(small_dir: Path, tmp_path: Path, lora: int) -> None:
    lm = LM.load(small_dir, lora=lora, attn="dense")
    start = {k: v.clone() for k, v in lm.state_dict().items()}
    twin = lm.copy()
    step(lm)
    want = lm.logps(PART).detach()
    assert (twin.logps(PART) - want).abs().max() > 1e-2, "a copy is independent"
    twin.load_state_dict(lm.state_dict())
    assert torch.equal(twin.logps(PART), want)
    lm.save(tmp_path / "plain")
    assert (tmp_path / "plain" / "model.safetensors").is_file()
    assert not (tmp_path / "plain" / "adapter_config.json").exists()
    again = LM.load(tmp_path / "plain", attn="dense")
    torch.testing.assert_close(again.logps(PART), want, rtol=1e-5, atol=1e-5)
    assert again.tokenizer.has_template
    merged = lm.merge()
    torch.testing.assert_close(merged.logps(PART), want, rtol=1e-5, atol=1e-5)
    assert merged.peft is None
    assert len(merged.parameters()) > 0
    lm.load_state_dict(start)
    with pytest.raises(UserError, match="only one of them"):
        lm.load_state_dict({"nothing": torch.zeros(1)})


def test_an_adapter_directory_loads_with_its_base(small_dir: Path, tmp_path: Path) -> None:
    lm = LM.load(small_dir, lora=2, attn="dense")
    step(lm)
    lm.peft.save_pretrained(tmp_path / "adapter")
    again = LM.load(tmp_path / "adapter", attn="dense")
    torch.testing.assert_close(again.logps(PART), lm.logps(PART), rtol=1e-5, atol=1e-5)
    reference = again.frozen()
    before = reference.logps(PART)
    step(again)
    torch.testing.assert_close(reference.logps(PART), before)


def test_fingerprints_tell_weights_and_adapters_apart(small_dir: Path) -> None:
    lm = LM.load(small_dir, lora=2, attn="dense")
    assert lm.fingerprint() == LM.load(small_dir, lora=2, attn="dense").fingerprint()
    reference, before = lm.frozen(), lm.fingerprint()
    kept = reference.fingerprint()
    step(lm)
    assert lm.fingerprint() != before
    assert reference.fingerprint() == kept


def test_gradient_checkpointing_changes_memory_not_numbers(small_dir: Path, small: LM) -> None:
    lm = LM.load(small_dir, attn="dense", gradient_checkpointing=True)
    wanted = torch.autograd.grad(small.logps(PART).sum(), small.parameters())
    passes = []
    lm.model.model.layers[0].mlp.register_forward_pre_hook(lambda *_: passes.append(1))
    got = torch.autograd.grad(lm.logps(PART).sum(), lm.parameters())
    assert len(passes) == 2, "the layer is computed again in backward"
    for a, b in zip(got, wanted, strict=True):
        torch.testing.assert_close(a, b)


def test_no_dropout_anywhere(small_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(small_dir, tmp_path / "wet")
    config = json.loads((tmp_path / "wet" / "config.json").read_text())
    (tmp_path / "wet" / "config.json").write_text(json.dumps({**config, "attention_dropout": 0.5}))
    lm = LM.load(tmp_path / "wet", attn="dense", lora=2, gradient_checkpointing=True)
    assert torch.equal(lm.logps(PART), lm.logps(PART))
    assert not lm.model.training


def test_errors_name_the_path_and_the_mend(small_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such model directory"):
        LM.load(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"no config\.json"):
        LM.load(tmp_path / "empty")
    shutil.copytree(small_dir, tmp_path / "torn")
    (tmp_path / "torn" / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(UserError, match="torn"):
        LM.load(tmp_path / "torn")
    shutil.copytree(small_dir, tmp_path / "bert")
    (tmp_path / "bert" / "config.json").write_text('{"model_type": "t5"}')
    with pytest.raises(UserError, match="not a causal language model"):
        LM.load(tmp_path / "bert")
    with pytest.raises(UserError, match="dtype"):
        LM.load(small_dir, dtype="float8")
    with pytest.raises(UserError, match="--attn"):
        LM.load(small_dir, attn="fastest")


def test_four_bit_without_its_library_is_said(small_dir: Path) -> None:
    pytest.importorskip("torch")
    from importlib.util import find_spec

    if find_spec("bitsandbytes") is not None:
        pytest.skip("bitsandbytes is installed here")
    with pytest.raises(UserError, match="bitsandbytes"):
        LM.load(small_dir, load_4bit=True)


def test_the_backend_is_checked_measured_and_kept(small_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lm = LM.load(small_dir)
    chosen = selfcheck.choose(lm.body, tmp_path / "kernel.json")
    assert chosen in selfcheck.right(lm.model)
    monkeypatch.setattr(selfcheck, "right", lambda model: pytest.fail("it was kept"))
    assert selfcheck.choose(lm.body, tmp_path / "kernel.json") == chosen


def test_the_cache_gives_the_numbers_of_the_reference(small: LM, tmp_path: Path) -> None:
    reference = small.frozen()
    cached = CachedReference(reference, tmp_path)
    want = reference.token_logps(PART)
    assert torch.equal(cached.token_logps(PART), want)
    assert (cached.hits, cached.misses) == (0, 2)
    assert torch.equal(cached.token_logps(PART), want)
    assert (cached.hits, cached.misses) == (2, 2)
    assert torch.equal(cached.logps(PART), reference.logps(PART))
    assert not torch.equal(cached.token_logps(PART, temperature=0.5), want), "the temperature is part of the key"
    cached.close()
    again = CachedReference(reference, tmp_path)
    assert torch.equal(again.token_logps(PART), want)
    assert again.misses == 0
    again.close()
    step(small)
    other = CachedReference(small.frozen(), tmp_path)
    other.token_logps(PART)
    assert other.misses == 2, "other weights, other numbers"
    other.close()


def test_a_damaged_cache_is_computed_again_and_a_full_one_forgets(small: LM, tmp_path: Path) -> None:
    reference = small.frozen()
    cached = CachedReference(reference, tmp_path)
    want = cached.token_logps(PART)
    cached._db.execute("UPDATE numbers SET value = x'0011223344556677889900112233'")
    assert torch.equal(cached.token_logps(PART), want)
    assert cached.misses == 4
    cached.close()
    (tmp_path / "reference.sqlite").write_bytes(b"no database" * 100)
    broken = CachedReference(reference, tmp_path, limit_gb=150 / 2**30)
    torch.testing.assert_close(broken.token_logps(GROUPS[:1]), want[:2])
    broken.token_logps(GROUPS[1:])
    broken.token_logps(GROUPS[:1])
    assert broken.misses == 3, "two groups do not fit into 150 bytes"
    broken.close()
    with pytest.raises(ValueError, match="frozen"):
        CachedReference(small, tmp_path)
