"""A GPT-2 with its own template, which nothing here was written for: trained, scored, resumed and exported like any other."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from real_rows import written


def forward(model: Any, prompt: list[int], ids: list[int]) -> float:
    """Σ log p(ids | prompt) by one plain forward."""
    with torch.no_grad():
        logits = model(torch.tensor([prompt + ids])).logits[0].double()
    return sum(float(logits[len(prompt) + i - 1].log_softmax(-1)[token]) for i, token in enumerate(ids))


def scores(path: Path) -> list[dict[str, Any]]:
    """scores.jsonl, a completion per item."""
    return [c for line in path.read_text().splitlines() for c in json.loads(line)["completions"]]


def weights(run: Path) -> str:
    """Hash of the newest checkpoint's weights."""
    newest = max(run.glob("checkpoints/*/**/model.safetensors"), key=lambda p: str(p))
    return hashlib.sha256(newest.read_bytes()).hexdigest()


def test_every_logp_is_a_plain_forward(gpt2, chats, tmp_path, command):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    assert command("score", "--model", gpt2, "--data", chats, "--out", tmp_path / "s")[0] == 0
    model, tokenizer = AutoModelForCausalLM.from_pretrained(gpt2).eval(), AutoTokenizer.from_pretrained(gpt2)
    found, expected = scores(tmp_path / "s/scores.jsonl"), []
    for row in map(json.loads, chats.read_text().splitlines()):
        prompt = tokenizer.encode(tokenizer.apply_chat_template(row["prompt"], tokenize=False, add_generation_prompt=True))
        for reply in (row["chosen"], row["rejected"]):
            whole = tokenizer.apply_chat_template([*row["prompt"], {"role": "assistant", "content": reply}], tokenize=False)
            ids = tokenizer.encode(whole)
            assert ids[: len(prompt)] == prompt, "the prompt is a prefix of the whole"
            last = len(ids) - 1 - ids[::-1].index(tokenizer.convert_tokens_to_ids("<|im_end|>"))
            expected.append((prompt, ids[len(prompt) : last + 1]))
    assert len(found) == len(expected) == 8
    for mine, (prompt, ids) in zip(found, expected, strict=True):
        assert (mine["prompt_ids"], mine["ids"]) == (prompt, ids), "the template once, and one end of turn"
        assert mine["logp"] == pytest.approx(forward(model, prompt, ids), abs=1e-4)


def test_raw_text_has_no_bos_to_begin_with_and_one_eos(gpt2, tmp_path, command):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    data = written(tmp_path / "raw.jsonl", [{"prompt": "The old mill", "completion": " stands."}, {"prompt": "I", "completion": " do"}])
    assert command("score", "--model", gpt2, "--data", data, "--out", tmp_path / "s")[0] == 0
    model, tokenizer = AutoModelForCausalLM.from_pretrained(gpt2).eval(), AutoTokenizer.from_pretrained(gpt2)
    first, second = scores(tmp_path / "s/scores.jsonl")
    assert first["prompt_ids"] == tokenizer.encode("The old mill")
    assert first["ids"] == [*tokenizer.encode(" stands."), 0]
    assert second["logp"] == pytest.approx(forward(model, second["prompt_ids"], second["ids"]), abs=1e-4)


@pytest.mark.parametrize("lora", [0, 4])
def test_dpo_moves_it_and_the_export_is_plain(gpt2, chats, tmp_path, command, lora):
    from transformers import AutoModelForCausalLM

    flags = ("--steps", 4, "--batch", 2, "--lr", 1e-3, "--lora", lora)
    code, _, _, err = command("train", "dpo", "--model", gpt2, "--data", chats, "--out", tmp_path / "run", *flags)
    assert code == 0, err
    assert command("score", "--model", tmp_path / "run", "--data", chats, "--out", tmp_path / "s")[0] == 0
    assert command("export", tmp_path / "run", "--out", tmp_path / "plain")[0] == 0
    assert not list((tmp_path / "plain").glob("adapter*"))
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "plain").eval()
    before = AutoModelForCausalLM.from_pretrained(gpt2).eval()
    moved = 0.0
    for c in scores(tmp_path / "s/scores.jsonl"):
        now = forward(model, c["prompt_ids"], c["ids"])
        assert c["logp"] == pytest.approx(now, abs=1e-4), "the run is scored as the exported directory computes"
        moved = max(moved, abs(now - forward(before, c["prompt_ids"], c["ids"])))
    assert moved > 0.01


def test_killed_and_resumed_ends_bit_equal(gpt2, chats, tmp_path, command):
    def words(out: Path, *more: str) -> list[str]:
        flags = ["--steps=4", "--batch=2", "--save_every=1", "--attn=dense", "--lora=4"]
        return ["train", "dpo", "--model", str(gpt2), "--data", str(chats), "--out", str(out), *flags, *more]

    killed = words(tmp_path / "killed", "--fault", "boundary:3", "--threads", str(torch.get_num_threads()))
    assert subprocess.run([sys.executable, "-m", "plumbline", *killed], capture_output=True, check=False).returncode == -9
    assert command(*words(tmp_path / "killed", "--resume"))[0] == 0
    assert command(*words(tmp_path / "whole"))[0] == 0
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")


def test_prompts_that_it_cannot_hold_are_refused_in_a_sentence(gpt2, command):
    code, _, _, err = command("eval", gpt2, "--on", "town-open", "--prompts", 13)
    assert code == 2
    assert err.startswith("plumbline: sample: prompt 1 has ")
    assert "the model's context is 256" in err
