"""Dropout: transformers' own noise in training, none anywhere else, and a resumed run draws what it would have drawn."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from plumbline.core.batches import Group
from plumbline.core.errors import UserError
from plumbline.methods.sft import sft
from plumbline.models import loading
from plumbline.models.dropout import places
from plumbline.models.fresh import word_tokenizer
from plumbline.models.lm import LM
from plumbline.pipelines.train import train_policy

WORDS = "hello there how are you i am fine thanks no yes what is the cat doing . , ? !".split()  # noqa: SIM905
SHARE = 0.3
GROUPS = [Group((1, 8, 9), ((10, 11, 12, 2),)), Group((1, 13), ((14, 2), (15, 16, 2)))]
GPT2_PLACES = 1 + 2 * 3  # of the embedding; in each of two layers of attention, after attention, after the MLP


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two layers whose config says 0.1 of every dropout that GPT-2 has."""
    tokenizer, path = word_tokenizer(WORDS, 64), tmp_path_factory.mktemp("gpt2") / "model"
    config = GPT2Config(
        vocab_size=len(tokenizer), n_positions=64, n_embd=16, n_layer=2, n_head=2, bos_token_id=1, eos_token_id=2, pad_token_id=0,
        resid_pdrop=0.1, embd_pdrop=0.1, attn_pdrop=0.1,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]), loading.quiet():
        torch.manual_seed(0)
        GPT2LMHeadModel(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def rates(model: Any) -> list[float]:
    return [getattr(module, name) for module, name in places(model)]


def test_the_noise_is_that_of_transformers_in_train_mode(gpt2: Path) -> None:
    lm = LM.load(gpt2, attn="padded")
    shares = {"resid_pdrop": SHARE, "embd_pdrop": SHARE, "attn_pdrop": SHARE}
    with loading.quiet():
        theirs: Any = AutoModelForCausalLM.from_pretrained(gpt2, **shares).train()
    group = GROUPS[0]
    ids = torch.tensor([[*group.prompt, *group.completions[0]]])
    for seed in range(3):
        torch.manual_seed(seed)
        mine_T = lm.dropping(SHARE).token_logps([group])[0]
        torch.manual_seed(seed)
        logp_LV = theirs(input_ids=ids[:, :-1], use_cache=False).logits[0].log_softmax(-1)
        their_T = logp_LV[len(group.prompt) - 1 :].gather(1, ids[0, len(group.prompt) :, None])[:, 0]
        torch.testing.assert_close(mine_T, their_T, atol=1e-5, rtol=0)


@pytest.mark.parametrize("lora", [0, 2])
def test_only_what_records_gradients_is_dropped(gpt2: Path, lora: int) -> None:
    lm = LM.load(gpt2, attn="dense", lora=lora)
    whole, dropping = lm.token_logps(GROUPS), lm.dropping(SHARE)
    assert len(rates(lm.model)) == GPT2_PLACES
    one, two = dropping.token_logps(GROUPS), dropping.token_logps(GROUPS)
    assert not torch.equal(one, two)
    assert not torch.equal(one, whole)
    with torch.no_grad():
        assert torch.equal(dropping.token_logps(GROUPS), whole)
    assert torch.equal(lm.frozen().token_logps(GROUPS), whole)
    assert set(rates(lm.model)) == {0.0}
    assert not any(module.training for module in lm.model.modules())
    assert torch.equal(lm.token_logps(GROUPS), whole)


def test_attention_that_reads_a_number_is_dropped_too() -> None:
    config = LlamaConfig(vocab_size=30, hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2)
    assert [name for _, name in places(LlamaForCausalLM(config))] == ["attention_dropout"] * 2


def test_what_cannot_drop_says_so(gpt2: Path) -> None:
    with pytest.raises(UserError, match="gradient checkpointing"):
        LM.load(gpt2, attn="dense", gradient_checkpointing=True).dropping(SHARE)
    with pytest.raises(UserError, match=r"dropout is 1\.0"):
        LM.load(gpt2, attn="dense").dropping(1.0)
    with pytest.raises(UserError, match="no dropout"):
        next(sft(object(), [None], dropout=SHARE))  # pyright: ignore[reportArgumentType]


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the engine catches it."""


def test_a_run_with_dropout_killed_and_resumed_is_bit_equal(gpt2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: object) -> None:
        raise Killed

    rows = tmp_path / "demos.jsonl"
    said = [("how are you ?", " i am fine ."), ("what is the cat doing ?", " no ."), ("are you there ?", " yes , thanks !")]
    rows.write_text("".join(json.dumps({"prompt": p, "completion": c}) + "\n" for p, c in said * 2))

    def run(out: str, *, dropout: float = SHARE, fault: str = "", resume: bool = False) -> list[bytes]:
        lm = LM.load(gpt2, attn="dense")
        done = train_policy(
            sft(dropout=dropout), lm, str(rows), out=str(tmp_path / out), fault=fault, resume=resume,
            epochs=2, batch=2, lr=0.01, micro_tokens=20, save_every=1, eval_data=str(rows), eval_every=1,
        )  # fmt: skip
        return [p.detach().numpy().tobytes() for p in done.model.parameters()]

    whole = run("whole")
    assert run("dry", dropout=0.0) != whole
    monkeypatch.setattr(os, "kill", die)
    for point in ("boundary:2", "part:3", "evaluation:2"):
        with pytest.raises(Killed):
            run("killed", fault=point, resume=True)
    assert run("killed", resume=True) == whole
    config = (tmp_path / "whole" / "config.yaml").read_text()
    assert f"dropout: {SHARE}" in config
