"""Numbers that mean nothing, and an --out that cannot be a folder, are refused by every command before it looks at anything else."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path

import pytest

from plumbline.cli.bounds import RULES
from plumbline.cli.main import COMMANDS, PARSE_THEMSELVES
from plumbline.core.registry import entries, load_method

NOWHERE = ("--model", "/nowhere/model", "--data", "/nowhere/data.jsonl", "--out", "/nowhere-either")
TRAIN = {entry.name: ("train", entry.name, *NOWHERE) for entry in entries("method")}
RLHF = ("rlhf", "--model", "/nowhere", "--prompts", "/nowhere", "--comparisons", "/nowhere", "--out", "/nowhere-either")
REFINE = ("refine", "--model", "/nowhere", "--prompts", "/nowhere", "--oracle", "/nowhere", "--out", "/nowhere-either")
RUN_WIDE = [
    ("--epochs", "0"), ("--epochs", "-1"), ("--epochs", "nan"), ("--steps", "0"), ("--tokens", "-5"), ("--minutes", "0"), ("--batch", "0"),
    ("--micro_tokens", "0"), ("--lr", "-1"), ("--lr", "policy=-1"), ("--lr", "inf"), ("--warmup", "-0.1"), ("--weight_decay", "-1"),
    ("--betas", "[0.9, 1.0]"), ("--max_grad_norm", "-1"), ("--explode", "-1"), ("--patience", "-1"), ("--keep", "0"), ("--seed", "-1"),
    ("--eval_every", "-1"), ("--save_every", "-1"), ("--max_prompt_tokens", "0"), ("--max_completion_tokens", "-3"), ("--lora", "-1"),
    ("--threads", "-1"),
]  # fmt: skip
WRONG = [
    *((TRAIN["reward"], flag, value) for flag, value in RUN_WIDE),
    (TRAIN["sft"], "--dropout", "1"),
    (TRAIN["sft"], "--dropout", "-0.1"),
    (TRAIN["dpo"], "--beta", "-1"),
    (TRAIN["dpo"], "--beta", "nan"),
    (TRAIN["dpo"], "--nll", "-1"),
    (TRAIN["kto"], "--beta", "0"),
    (TRAIN["kto"], "--ratio", "2"),
    (TRAIN["ipo"], "--tau", "-0.1"),
    (TRAIN["slic"], "--delta", "0"),
    (TRAIN["slic"], "--nll", "-1"),
    (TRAIN["reward"], "--centre", "-1"),
    (TRAIN["weak_to_strong"], "--alpha", "1.5"),
    (TRAIN["weak_to_strong"], "--rise", "-1"),
    (("w2s", "--weak", "/nowhere", "--strong", "/nowhere", "--data", "/nowhere", "--out", "/nowhere-either"), "--alpha", "-0.1"),
    (TRAIN["ratings"], "--prior", "-1"),
    ((*TRAIN["ppo"], "--reward", "gold"), "--kl.coef", "-1"),
    ((*TRAIN["ppo"], "--reward", "gold"), "--gae.lam", "1.5"),
    ((*TRAIN["ppo"], "--reward", "gold"), "--clip.ratio", "0"),
    ((*TRAIN["ppo"], "--reward", "gold"), "--passes", "0"),
    ((*TRAIN["ppo"], "--reward", "gold"), "--sampling.temperature", "-1"),
    ((*TRAIN["grpo"], "--reward", "gold"), "--group", "1"),
    ((*TRAIN["grpo"], "--reward", "gold"), "--sampling.max_tokens", "0"),
    ((*TRAIN["rloo"], "--reward", "gold"), "--kl", "-1"),
    (RLHF, "--sft.epochs", "0"),
    (RLHF, "--learn.batch", "0"),
    (RLHF, "--ppo.passes", "0"),
    (RLHF, "--lora", "-2"),
    (REFINE, "--rounds", "0"),
    (REFINE, "--replies", "1"),
    (REFINE, "--budget", "-1"),
    (REFINE, "--max_kl", "-0.5"),
    (REFINE, "--per_round", "-1"),
    (REFINE, "--patience", "-1"),
    (REFINE, "--learn.batch", "0"),
    (REFINE, "--dpo.beta", "0"),
    (("eval", "/nowhere"), "--temperature", "-1"),
    (("eval", "/nowhere"), "--prompts", "0"),
    (("eval", "/nowhere"), "--max_completion_tokens", "0"),
    (("eval", "/nowhere"), "--threads", "-1"),
    (("score", *NOWHERE), "--micro_tokens", "0"),
    (("quickstart", "--model", "/nowhere"), "--prompts", "0"),
    (("quickstart", "--model", "/nowhere"), "--seeds", "0"),
    (("world build", "--out", "/nowhere-either"), "--scale", "0"),
    (("data check", "/nowhere.jsonl"), "--max_prompt_tokens", "0"),
    (("claims",), "--seeds", "-1"),
]


@pytest.mark.parametrize(("argv", "flag", "value"), WRONG, ids=[f"{a[0]} {a[1] if a[0] == 'train' else ''} {f} {v}" for a, f, v in WRONG])
def test_a_number_that_means_nothing_is_refused_before_anything_is_looked_at(command, argv, flag, value):
    code, _, out, err = command(*argv[0].split(), *argv[1:], flag, value)
    assert (code, out) == (2, "")
    first, mend = err.splitlines()
    assert first.startswith("plumbline: ")
    assert "has no option" not in first
    assert mend.startswith("  ")
    assert flag.lstrip("-").rpartition(".")[2] in first + mend
    assert "nowhere" not in err  # the model, the data and the folder were not looked for


def numbers(command: str) -> dict[str, int | float]:
    """The flags of a command that are numbers, with their defaults."""
    module, function, _ = COMMANDS[command]
    parameters = inspect.signature(getattr(import_module(module), function)).parameters.values()
    return {p.name: p.default for p in parameters if isinstance(p.default, (int, float)) and not isinstance(p.default, bool)}


@pytest.mark.parametrize("name", [c for c in COMMANDS if c not in PARSE_THEMSELVES])
def test_every_number_of_a_command_has_bounds_that_its_default_keeps(command, name):
    own = {"claims": {"seeds"}, "quickstart": {"seeds", "demos", "comparisons"}}.get(name, set())  # 0 seeds: as many as a row declares
    assert set(numbers(name)) - own <= set(RULES)
    assert all(RULES[flag][0](default) for flag, default in numbers(name).items() if flag in RULES)


@pytest.mark.parametrize("name", [e.name for e in entries("method")])
def test_a_method_says_what_it_refuses_without_a_model(name):
    load_method(name).check()


ALONE = [("rlhf",), ("quickstart",), ("score",), ("w2s",), ("world", "build")]
FOLDERS = [TRAIN["sft"][:2], ("eval", "/nowhere"), ("export", "/nowhere"), *ALONE]


@pytest.mark.parametrize("argv", FOLDERS, ids=" ".join)
@pytest.mark.parametrize("below", ["", "deeper/still"])
def test_an_out_that_is_a_file_or_lies_below_one_is_refused_at_once(command, tmp_path: Path, argv, below):
    file = tmp_path / "notes.txt"
    file.write_text("mine")
    code, _, out, err = command(*argv, "--out", file / below)
    assert (code, out) == (2, "")
    first, mend = err.splitlines()
    assert first.startswith(f"plumbline: --out {file / below}")
    assert "--out" in mend
    assert file.read_text() == "mine"
