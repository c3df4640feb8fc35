"""`train`, its config, its resume and its export, through the command line, on a model of random weights."""

from __future__ import annotations

import dataclasses
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file

from plumbline.core.registry import entries, load_method
from plumbline.engine.recipe import Recipe
from plumbline.pipelines import sources
from plumbline.pipelines.feed import Feed
from plumbline.pipelines.roles import ROLES
from plumbline.pipelines.train import Settings, train

QUICK = ("--steps", 3, "--batch", 2, "--lr", "policy=0.01", "--attn", "padded")


def weights(folder: Path) -> dict:
    """The trained weights of a run's last checkpoint."""
    return load_file(sorted((folder / "checkpoints").glob("step-*"))[-1] / "policy.safetensors")


def same(a: Path, b: Path) -> bool:
    """Whether two runs ended bit-equal."""
    one, two = weights(a), weights(b)
    return set(one) == set(two) and all(one[name].equal(two[name]) for name in one)


@pytest.fixture(scope="module")
def trained(tiny, tmp_path_factory):
    """A DPO run of three steps, and the rows it was trained on."""
    from plumbline.cli.main import main

    folder = tmp_path_factory.mktemp("trained")
    rows = folder / "pairs.jsonl"
    said = [("where does mira live?", "in the mill.", "no."), ("who is it?", "mira.", "i do not know."), ("yes?", "yes.", "no.")]
    rows.write_text("".join(f'{{"prompt": "{p}", "chosen": " {c}", "rejected": " {r}"}}\n' for p, c, r in said))
    out = folder / "run"
    argv = ["train", "dpo", "--model", tiny, "--data", rows, "--out", out, *QUICK, "--eval_data", rows, "--json"]
    assert main([str(word) for word in argv]) == 0
    return out, rows


def test_a_run_says_what_it_did(trained):
    out, rows = trained
    config = yaml.safe_load((out / "config.yaml").read_text())
    assert config["method"] == "dpo"
    assert config["options"]["beta"] == 0.1
    assert config["options"]["data"] == str(rows)
    assert config["data"]["rows"] == 3
    assert {"sha256"} <= set(config["data"])
    assert {"torch", "transformers", "plumbline"} <= set(config["versions"])
    steps = [yaml.safe_load(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [s["step"] for s in steps] == [1, 2, 3]
    assert steps[0]["loss"] == pytest.approx(0.6931, abs=1e-4)
    # Trained on these very rows, the policy must prefer the chosen ones more than the reference does.
    assert steps[-1]["eval"]["loss"] < 0.6931


def test_the_report_of_a_run_says_what_was_asked_and_how_it_went(command, trained):
    out, rows = trained
    page = (out / "report.html").read_text(encoding="utf-8")
    steps = [yaml.safe_load(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert f"loss 0.6931 → {steps[-1]['loss']:.4f}" in page
    assert f"{steps[-1]['eval']['accuracy']:.4f}" in page  # the last evaluation, as a figure
    assert "β-scaled gap" in page  # what a curve should look like
    assert "Nothing was cut" in page
    assert str(rows) in page
    code, found, _, _ = command("open", out, "--json")
    assert (code, found) == (0, {"report": str(out / "report.html")})


def test_a_config_replays_exactly(command, trained, tmp_path):
    out, _ = trained
    code, found, _, _ = command("train", "--config", out / "config.yaml", "--out", tmp_path / "again", "--json")
    assert code == 0
    assert found["steps"] == 3
    assert same(out, tmp_path / "again")


def test_print_config_shows_all_and_is_read_back(capsys, tmp_path):
    from plumbline.cli.main import main

    with pytest.raises(SystemExit) as stop:
        main(["train", "dpo", "--beta", "0.25", "--steps", "7", "--skip_bad", "--print_config"])
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    shown = yaml.safe_load(printed)
    assert (shown["beta"], shown["steps"], shown["skip_bad"], shown["nll"]) == (0.25, 7, True, 0.0)
    assert {f.name for c in (Recipe, Feed) for f in dataclasses.fields(c)} <= set(shown)
    (tmp_path / "run.yaml").write_text(printed)
    with pytest.raises(SystemExit):
        main(["train", "dpo", "--config", str(tmp_path / "run.yaml"), "--print_config"])
    assert yaml.safe_load(capsys.readouterr().out) == shown


def test_a_killed_run_resumes_bit_equal(command, trained, tiny, tmp_path):
    out, rows = trained
    argv = ["train", "dpo", "--model", tiny, "--data", rows, "--out", tmp_path / "run", *QUICK, "--eval_data", rows, "--save_every", 1]
    words = [sys.executable, "-m", "plumbline", *map(str, argv), "--fault", "checkpoint-write:2"]
    killed = subprocess.run(words, capture_output=True, text=True)
    assert killed.returncode == -9
    code, found, _, _ = command(*argv, "--resume", "--json")
    assert code == 0
    assert found["steps"] == 3
    assert same(out, tmp_path / "run")


def test_an_interrupted_run_saves_and_goes_on(command, trained, tiny, tmp_path):
    argv = ["train", "dpo", "--model", tiny, "--data", trained[1], "--batch", 2, "--lr", 0.01, "--steps", 120, "--attn", "padded"]
    words = [sys.executable, "-m", "plumbline", *map(str, argv), "--out", str(tmp_path / "run")]
    run = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    metrics = tmp_path / "run" / "metrics.jsonl"
    while run.poll() is None and not (metrics.exists() and metrics.stat().st_size):
        time.sleep(0.01)
    run.send_signal(signal.SIGINT)
    out, err = run.communicate()
    assert run.returncode == 130
    assert out == ""
    assert "interrupted" in err
    assert "--resume" in err
    assert command(*argv, "--out", tmp_path / "run", "--resume")[0] == 0
    assert command(*argv, "--out", tmp_path / "whole")[0] == 0
    assert same(tmp_path / "whole", tmp_path / "run")


def test_an_export_is_the_model_that_was_trained(command, trained, tmp_path):
    from transformers import AutoModelForCausalLM

    out, _ = trained
    code, found, _, _ = command("export", out, "--out", tmp_path / "plain", "--which", "last", "--json")
    assert code == 0
    exported = AutoModelForCausalLM.from_pretrained(found["model"]).state_dict()
    assert all(exported[name].equal(value) for name, value in weights(out).items())
    code, _, _, err = command("export", out, "--out", tmp_path / "plain")
    assert code == 2
    assert "is not empty" in err


def test_lora_trains_adapters_only_and_exports_merged(command, tiny, tmp_path):
    data = tmp_path / "demos.jsonl"
    data.write_text('{"messages": [{"role": "user", "content": "who is it?"}, {"role": "assistant", "content": "mira."}]}\n')
    code, _, _, _ = command("train", "sft", "--model", tiny, "--data", data, "--out", tmp_path / "run", "--lora", 2, *QUICK)
    assert code == 0
    assert all("lora_" in name for name in weights(tmp_path / "run"))
    code, found, _, _ = command("export", tmp_path / "run", "--out", tmp_path / "plain", "--json")
    assert code == 0
    merged = sources.load(found["model"])
    assert not any("lora_" in name for name in merged.state_dict())


def test_a_seed_draws_its_own_adapter(command, tiny, trained, tmp_path):
    argv = ("train", "dpo", "--model", tiny, "--data", trained[1], "--lora", 2, "--lr", 0, "--steps", 1, "--attn", "padded")
    for seed in (0, 1):
        assert command(*argv, "--seed", seed, "--out", tmp_path / f"seed-{seed}")[0] == 0
    assert not same(tmp_path / "seed-0", tmp_path / "seed-1")


def test_training_from_python_leaves_the_model_that_was_passed(tiny, trained):
    import plumbline as pl

    model = pl.load(tiny, attn="padded")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    run = pl.train(pl.dpo(beta=0.2), model, str(trained[1]), steps=1, batch=3, lr=0.01)
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())
    assert any(not value.equal(before[name]) for name, value in run.model.state_dict().items())
    assert run.result.steps == 1
    with pytest.raises(pl.UserError, match=r"no setting 'stepz'(?s:.*)'steps'"):
        train("sft", model, [], stepz=1)  # pyright: ignore[reportCallIssue]   the point of the test


def test_settings_are_named_once():
    wide = {f.name for c in (Recipe, Feed) for f in dataclasses.fields(c)}
    assert set(Settings.__annotations__) == wide
    wide |= {"model", "data", "out", "resume", "threads", "json", "config", "fault"}
    page = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
    assert [name for name in sorted(wide) if f"--{name}" not in page] == []
    for entry in entries("method"):
        method = load_method(entry.name)
        assert not wide & set(method.defaults), f"{entry.name} has a setting that every run has"
        assert set(method.roles) <= set(ROLES), f"train cannot hand {entry.name} what it wants"


@pytest.mark.parametrize(("labels", "says"), [([True] * 4, "every thumb is up"), ([False] * 4, "every thumb is down"), ([True, False], "")])
def test_thumbs_of_one_kind_are_said(command, tiny, tmp_path, labels, says):
    rows = [{"prompt": f"who is {i}?", "completion": " mira.", "label": label} for i, label in enumerate(labels)]
    (tmp_path / "thumbs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, _, _, err = command("train", "kto", "--model", tiny, "--data", tmp_path / "thumbs.jsonl", *QUICK, "--out", tmp_path / "run")
    assert code == 0, err
    assert ("every thumb is" in err) == bool(says)
    assert says in err
