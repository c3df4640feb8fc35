"""`plumbline score`: a line per row in file order, equal to a plain forward of each sequence."""

from __future__ import annotations

import json

import pytest
import torch


def lines_of(folder):
    return [json.loads(line)["completions"] for line in (folder / "scores.jsonl").read_text().splitlines()]


def plain_logp(model, prompt_ids, ids):
    """Sum of log-probabilities by transformers alone, one sequence at a time."""
    whole = torch.tensor([[*prompt_ids, *ids]])
    with torch.no_grad():
        logp = model(whole).logits[0].double().log_softmax(-1)
    return sum(logp[len(prompt_ids) - 1 + t, token].item() for t, token in enumerate(ids))


def test_scores_equal_plain_forwards_in_file_order(command, tiny, pairs, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    code, found, _, _ = command("score", "--model", tiny, "--data", pairs, "--out", tmp_path / "scores", "--json")
    assert code == 0
    assert found == {"scores": str(tmp_path / "scores" / "scores.jsonl")}
    model, tokenizer = AutoModelForCausalLM.from_pretrained(tiny), AutoTokenizer.from_pretrained(tiny)
    lines, rows = lines_of(tmp_path / "scores"), [json.loads(line) for line in pairs.read_text().splitlines()]
    assert [len(line) for line in lines] == [2] * 6
    for line, row in zip(lines, rows, strict=True):
        for scored, text in zip(line, (row["chosen"], row["rejected"]), strict=True):  # chosen before rejected
            assert set(scored) == {"prompt_ids", "ids", "logp"}
            assert tokenizer.decode(scored["ids"][:-1]).strip() == text.strip().lower()
            assert scored["ids"][-1] == tokenizer.eos_token_id
            assert scored["ids"].count(tokenizer.eos_token_id) == 1
            assert scored["prompt_ids"][0] == tokenizer.bos_token_id
            assert scored["logp"] == pytest.approx(plain_logp(model, scored["prompt_ids"], scored["ids"]), abs=1e-4)


def test_a_row_may_hold_several_completions(command, tiny, tmp_path):
    turns = [("user", "who is it?"), ("assistant", "mira."), ("user", "where?"), ("assistant", "in the mill.")]
    data = tmp_path / "chat.jsonl"
    data.write_text(json.dumps({"messages": [{"role": r, "content": c} for r, c in turns]}) + "\n")
    code, _, _, _ = command("score", "--model", tiny, "--data", data, "--out", tmp_path / "scores")
    (line,) = lines_of(tmp_path / "scores")
    assert code == 0
    assert len(line) == 2
    assert line[1]["prompt_ids"][: len(line[0]["prompt_ids"])] == line[0]["prompt_ids"]


def test_a_row_that_does_not_fit_is_named(command, tiny, tmp_path):
    data = tmp_path / "long.jsonl"
    rows = [{"prompt": "yes", "completion": " no"}, {"prompt": "yes " * 300, "completion": " no"}]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, _, _, err = command("score", "--model", tiny, "--data", data, "--out", tmp_path / "scores")
    assert code == 2
    assert 'long.jsonl, row 2: "prompt" has 303 tokens with its completion, but the model reads at most 256' in err
    assert not (tmp_path / "scores" / "scores.jsonl").exists()


def test_an_earlier_result_is_not_overwritten(command, tiny, pairs, tmp_path):
    (tmp_path / "scores").mkdir()
    (tmp_path / "scores" / "scores.jsonl").write_text("mine\n")
    code, _, _, err = command("score", "--model", tiny, "--data", pairs, "--out", tmp_path / "scores")
    assert code == 2
    assert "exists already" in err
    assert (tmp_path / "scores" / "scores.jsonl").read_text() == "mine\n"
