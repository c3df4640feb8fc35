"""Public files and models: each works, or is refused with a sentence that says what to do."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from real_rows import rows_of, written

DEMO = "data/llama-factory-demo"


@pytest.mark.parametrize(
    ("file", "kind", "rows"),
    [
        ("dpo_en_demo.json.gz", "comparisons", 300),
        ("kto_en_demo.json.gz", "labels", 300),
        ("alpaca_en_demo.json.gz", "demonstrations", 999),
        ("v1_dpo_demo.jsonl", "comparisons", 10),
    ],
)
def test_every_row_of_another_tools_demo_is_read(shared, command, file, kind, rows):
    code, found, _, err = command("data", "check", shared / DEMO / file, "--json")
    assert code == 0, err
    assert (found["kind"], found["rows"], found["bad"]) == (kind, rows, [])
    assert rows == len(rows_of(shared / DEMO / file))


def test_check_cuts_as_training_would(shared, command):
    """v1_dpo_demo against a context of 512: 256 for the prompt, 256 for each completion."""
    model, file = shared / "models/dialogue5M", shared / DEMO / "v1_dpo_demo.jsonl"
    code, found, _, err = command("data", "check", file, "--model", model, "--json")
    assert code == 0
    assert "Token indices" not in err, "advice of transformers about lengths that are cut anyhow"
    assert found["limits"] == [256, 256]
    assert found["truncated"] == {"completions cut (without EOS)": 6, "prompts whose last message was cut from the left": 1}


def test_two_steps_of_dpo_on_chats_of_another_tool(shared, tmp_path, command):
    data = tmp_path / "dpo.json.gz"
    data.write_bytes(gzip.compress(json.dumps(rows_of(shared / DEMO / "dpo_en_demo.json.gz")[:6]).encode()))
    words = ("--data", data, "--max_prompt_tokens", 64, "--max_completion_tokens", 32, "--batch", 2, "--steps", 2)
    code, _, _, err = command("train", "dpo", "--model", shared / "models/dialogue5M", "--out", tmp_path / "run", *words)
    assert code == 0, err
    steps = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert next(s["loss"] for s in steps if "loss" in s) == pytest.approx(0.6931, abs=1e-4), "−log σ(0)"


def test_labels_are_not_comparisons(shared, command, tmp_path):
    file = shared / DEMO / "kto_en_demo.json.gz"
    code, _, _, err = command("train", "dpo", "--model", shared / "models/dialogue5M", "--data", file, "--out", tmp_path / "run")
    assert code == 2
    assert "is one of labels, but comparisons are wanted" in err
    assert not (tmp_path / "run").exists() or not list((tmp_path / "run").glob("checkpoints/*"))


def test_a_model_without_template_takes_text_and_refuses_chats(shared, command, tmp_path, chats):
    model = shared / "models/stories260K"
    raw = written(tmp_path / "raw.jsonl", [{"prompt": "Once upon a time", "completion": " there was a cat."}] * 2)
    assert command("score", "--model", model, "--data", raw, "--out", tmp_path / "s")[0] == 0
    first = json.loads((tmp_path / "s/scores.jsonl").read_text().splitlines()[0])["completions"][0]
    assert first["prompt_ids"][0] == 1, "BOS"
    assert first["prompt_ids"].count(1) == 1
    assert first["ids"].count(2) == 1, "one EOS"
    assert first["ids"][-1] == 2
    code, _, _, err = command("train", "sft", "--model", model, "--data", chats, "--out", tmp_path / "run")
    assert code == 2
    assert "no chat template" in err
    assert "--template" in err


def test_open_book_town_on_a_chat_model(shared, command, tmp_path):
    code, found, _, err = command(
        "eval", shared / "models/dialogue5M", "--on", "town-open", "--prompts", 13, "--max_completion_tokens", 8, "--json"
    )
    assert code == 0, err
    gold = found["gold"]["dialogue5M"]["total"]["all"]
    assert gold["n"] == 13
    assert 0 <= gold["lo"] <= gold["mean"] <= gold["hi"] < 0.5, "it knows nothing of any town"


def emptied(path: Path) -> str:
    for file in path.iterdir():
        file.unlink()
    return "no config.json in this directory"


def without_tokenizer(path: Path) -> str:
    for file in path.glob("tokenizer*"):
        file.unlink()
    return "there is no tokenizer in this directory"


def classifier(path: Path) -> str:
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, "architectures": ["GPT2ForSequenceClassification"]}))
    return "holds a GPT2ForSequenceClassification, which does not write text"


def cut_short(path: Path) -> str:
    (path / "model.safetensors").write_bytes((path / "model.safetensors").read_bytes()[:3000])
    return "Is there a model.safetensors in it, whole and readable?"


def foreign_tokenizer(path: Path) -> str:
    data = json.loads((path / "tokenizer.json").read_text())
    data["model"]["vocab"] |= {f"more{i}": 400 + i for i in range(900)}
    (path / "tokenizer.json").write_text(json.dumps(data))
    return "they do not belong together"


@pytest.mark.parametrize("spoil", [emptied, without_tokenizer, classifier, cut_short, foreign_tokenizer])
def test_a_directory_that_is_no_model_is_refused_in_a_line(gpt2, tmp_path, command, chats, spoil):
    import shutil

    path = tmp_path / "model"
    shutil.copytree(gpt2, path)
    reason = spoil(path)
    code, _, _, err = command("score", "--model", path, "--data", chats, "--out", tmp_path / "s")
    assert code == 2
    assert reason in err
    assert err.startswith("plumbline: ")
    assert len(err.strip().splitlines()) == 2, "a reason and its mend"


def test_a_file_is_not_a_model_directory(gpt2, chats, tmp_path, command):
    code, _, _, err = command("score", "--model", gpt2 / "config.json", "--data", chats, "--out", tmp_path / "s")
    assert code == 2
    assert "is a file, not a model directory" in err
