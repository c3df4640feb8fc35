"""What a user can get wrong is said in one line with the mend, and the exit code is 2."""

from __future__ import annotations

import pytest

from plumbline.cli.signature import sentences

WRONG = [
    (["trian"], "there is no command 'trian'", "plumbline train"),
    (["data"], "there is no command 'data'", "plumbline data check"),
    (["list", "--jsn"], "list has no option --jsn", "Did you mean --json?"),
    (["list", "everything"], "list does not take everything", "--help"),
    (["train", "dpoo"], "there is no method 'dpoo'", "dpo"),
    (["train", "dpo", "--model", "m"], "train dpo needs --data", "--help"),
    (["train", "dpo", "--bta", "1"], "train dpo has no option --bta", "--beta"),
    (["train", "dpo", "--beta", "much"], "--beta is 'much', but takes a number", "--help"),
    (["train", "dpo", "--steps", "1.5"], "--steps is '1.5', but takes a whole number", "--help"),
    (["train", "sft", "--schedule", "zigzag"], "takes one of cosine, linear, constant", "--help"),
    (["train", "dpo", "--config", "/none.yaml"], "--config /none.yaml cannot be read", "--print_config"),
    (["train", "dpo", "--model", "/none", "--data", "x", "--out", "y"], "/none", "directory"),
    (["score", "--model", "m", "--data", "d"], "score needs --out", "--help"),
    (["export"], "export needs RUN", "--help"),
    (["export", "/none", "--out", "/tmp/none-exported"], "/none", "directory"),
    (["open", "/none"], "there is no run folder /none", "--out"),
    (["data", "check", "/none.jsonl"], "/none.jsonl does not exist", "path"),
    (["train", "dpo", "--model", "town", "--data", "x", "--out", "y", "--threads", "-1"], "--threads is -1", "0 to leave"),
    (["train", "dpo", "--model", "town", "--data", "x", "--out", "y", "--device", "gpu9"], "--device gpu9 cannot be used here", "cuda"),
    (["train", "dpo", "--model", "town", "--data", "x", "--out", "y", "--lora", "-1"], "--lora is -1", "0 to train all"),
    (["bench", "--repeats", "0"], "--repeats is 0", "at least 1"),
    (["eval", "town", "--prompts", "0"], "--prompts is 0", "at least 1"),
    (["data", "check", "x", "--kind", "poem"], "there is no kind 'poem'", "Comparison"),
]


@pytest.mark.parametrize(("argv", "reason", "mend"), WRONG, ids=[" ".join(w[0][:4]) for w in WRONG])
def test_a_wrong_command_line_is_one_line_with_its_mend(command, argv, reason, mend):
    code, _, out, err = command(*argv)
    assert code == 2
    assert out == ""
    first, second = err.splitlines()
    assert first.startswith("plumbline: ")
    assert reason in first
    assert mend in err
    assert second.startswith(" ")


def test_a_config_file_is_held_to_the_same_names(command, tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text("beta: 0.3\nlrr: 0.1\n")
    code, _, _, err = command("train", "dpo", "--config", file)
    assert code == 2
    assert "no option lrr" in err
    assert "--lr" in err


def test_a_run_folder_in_use_is_refused(command, tiny, pairs, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    code, _, _, err = command("train", "dpo", "--model", tiny, "--data", pairs, "--out", tmp_path / "run")
    assert code == 2
    assert "is not empty" in err
    assert "--resume" in err


def test_a_path_that_cannot_be_used_is_named(command, tiny, pairs, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "scores.part").mkdir()
    code, _, _, err = command("score", "--model", tiny, "--data", pairs, "--out", tmp_path / "out")
    assert code == 2
    assert err.startswith(f"plumbline: {tmp_path}/out/scores.part: Is a directory\n")


@pytest.mark.parametrize("flag", ["--max_prompt_tokens", "--max_completion_tokens"])
def test_nothing_is_no_limit(command, tiny, pairs, tmp_path, flag):
    code, _, _, err = command("train", "dpo", "--model", tiny, "--data", pairs, "--out", tmp_path / "run", flag, 0)
    assert code == 2
    assert err.startswith(f"plumbline: {flag} is 0\n")


def test_town_data_of_another_kind_is_refused(command, tiny, tmp_path):
    code, _, _, err = command("train", "sft", "--model", tiny, "--data", "town:comparisons?n=4", "--out", tmp_path / "run")
    assert code == 2
    assert "gives comparisons, but demos are wanted" in err


def test_help_is_what_the_docstring_says_of_each_name():
    text = """Trains.

    `beta`: pulls back.   `a`, `b`: in steps; see `other`.   `off` keeps `beta` out, 100 % of it.

    Another paragraph.
    """
    said = sentences(text, ("beta", "a", "b", "off"))
    assert said == {"beta": "pulls back", "a": "in steps; see `other`", "b": "in steps; see `other`", "off": "keeps"}


FOLDERS = {  # the model is nowhere: so what is said of --out is said before anything is loaded
    "train dpo": ["--model", "/none", "--data", "town:comparisons?n=4"],
    "rlhf": ["--model", "/none", "--comparisons", "town:comparisons?n=4", "--prompts", "town:prompts?n=4"],
    "cai": ["--model", "/none", "--prompts", "town:prompts?n=4"],
    "play debate": ["--questions", "town:questions?n=4", "--debater", "/none", "--judge", "/none"],
    "icl": ["--model", "/none", "--demos", "town:demos?n=100"],
    "verify": ["--model", "/none", "--values", "/none"],
}


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_with_something_in_it_is_refused_before_anything_is_loaded(command, tmp_path, name):
    (tmp_path / "notes.txt").write_text("mine")
    code, _, _, err = command(*name.split(), *FOLDERS[name], "--out", tmp_path)
    assert code == 2
    assert err.startswith(f"plumbline: {tmp_path} is not empty\n")
    assert ("--resume" in err) == (name != "verify")  # which never goes on


@pytest.mark.parametrize(
    ("data", "oracle", "says"),
    [
        ("town:prompts?n=4", "/none.jsonl", "there is no such oracle"),
        ("town:prompts?n=4", "town:nobody", "no annotator 'nobody'"),
        ("prompts.jsonl", "town", "the town's people know nothing of prompts.jsonl"),
    ],
)
def test_an_oracle_that_cannot_answer_is_refused_before_anything_is_loaded(command, tmp_path, data, oracle, says):
    code, _, _, err = command("train", "sea", "--model", "/none", "--data", data, "--oracle", oracle, "--out", tmp_path / "run")
    assert code == 2
    assert says in err
    assert not (tmp_path / "run").exists()


def test_a_search_for_a_prompt_that_cannot_begin_leaves_nothing_behind(command, tiny, tmp_path):
    code, _, _, err = command("icl", "--model", tiny, "--demos", "town:demos?n=5", "--out", tmp_path / "prompt.yaml")
    assert code == 2
    assert "5 demonstrations are too few" in err
    assert list(tmp_path.iterdir()) == []
