"""refine in a folder: what it costs, that a kill anywhere changes nothing and asks nobody twice, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rlhf_jobs
import torch

from plumbline.cli.main import main
from plumbline.cli.refine import refine as command
from plumbline.core.errors import UserError
from plumbline.core.nouns import Comparison, Context, Prompt
from plumbline.core.registry import load_method
from plumbline.data import Plan, open_rows
from plumbline.engine.recipe import Recipe
from plumbline.feedback import oracles as people
from plumbline.models.lm import LM
from plumbline.pipelines import refine_book, refine_run, sources
from plumbline.pipelines.feed import Feed
from plumbline.pipelines.refine import Rules
from plumbline.pipelines.refine_run import Given, Options, run

RULE = "def words(prompt, completion):\n    return len(completion.split())\n"
USUAL = Recipe(epochs=1, batch=8, lr=0.01, save_every=1, warmup=0.0)
HARD = replace(USUAL, epochs=6, lr=0.02, save_every=0)  # enough to see in which direction it goes
ASKED_WORDS = [f"{a} {b}" for a in rlhf_jobs.WORDS[1:6] for b in rlhf_jobs.WORDS[:6]]
FIRST = ASKED_WORDS[:10]  # the prompts of round 1
STATED = (-0.1, 0.1, 0.1)  # gains of rounds where what is learned is not the question


class Honest:
    """Prefers the reply of more words, or of fewer to the prompts about which it lies; remembers every question."""

    def __init__(self, lies: Sequence[str] = ()) -> None:
        self.lies, self.asked = lies, Counter()

    def compare(self, context: Context, completions: Sequence[str]) -> Comparison:
        self.asked[people.question_id(context, completions)] += 1
        a, b = (len(text.split()) for text in completions)
        p = 0.5 if a == b else float((a > b) != (context in self.lies))
        return people.preferring(context, completions, p, "honest")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model, prompts, others to measure by, and a rule."""
    folder = rlhf_jobs.make(tmp_path_factory.mktemp("refine"))
    held = [f"{a} {b}" for a in rlhf_jobs.WORDS[6:11] for b in rlhf_jobs.WORDS[:6]]
    for name, words in (("asked", ASKED_WORDS), ("held", held)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps({"prompt": w}) + "\n" for w in words))
    (folder / "rule.py").write_text(RULE)
    return folder


def begin(
    folder: Path,
    out: Path,
    *,
    oracle: Any = None,
    learner: str = "dpo",
    resume: bool = False,
    fault: str = "",
    gains: Any = (),
    **more: Any,
) -> Any:
    """Two rounds of ten prompts, measured by the rule on thirty; `gains` are stated ones in place of measured ones."""
    named = {"oracle": "people", "eval_prompts": str(folder / "held.jsonl"), **more.pop("given", {})}
    given = Given(str(folder / "model"), str(folder / "asked.jsonl"), **named)
    measure = more.pop("measure", f"rule:{folder}/rule.py:words")
    options, recipe = Options(per_round=more.pop("per_round", 10), max_tokens=8, measure=measure), more.pop("recipe", USUAL)
    where = {"out": str(out), "resume": resume, "fault": fault, "threads": 1, "feed": Feed()}
    load = {"device": "cpu", "attn": "dense", "lora": more.pop("lora", 0)}
    rules = Rules(**{"rounds": 2, **more})
    with pytest.MonkeyPatch.context() as patched:
        if oracle is not None:
            patched.setattr(refine_run, "oracle_of", lambda *_: oracle)
        if gains:
            patched.setattr(refine_run.Office, "gain", lambda self, t, after, before: (np.full(30, gains[t - 1]), 0))
        return run(given, load_method(learner), recipe, rules, options, load=load, **where)[0]


@pytest.fixture(scope="module")
def whole(made: Path) -> Path:
    """A run that was never killed; its first round is rolled back, its second is kept."""
    begin(made, made / "whole", oracle=Honest(), gains=STATED)
    assert [row["kept"] for row in ledger(made / "whole")] == [False, True]
    return made / "whole"


def weights(out: Path) -> dict[str, bytes]:
    """Every round's last weights, and those that were kept."""
    done = json.loads((out / "stages.json").read_text())
    folders = [out / "checkpoints" / stage / record["checkpoint"] for stage, record in done.items()]
    return {str(p.relative_to(out)): p.read_bytes() for f in folders for p in sorted(f.rglob("*.safetensors"))}


def ledger(out: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in refine_book.Book(out).ledger()]


def files(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted((out / "rounds").rglob("*.jsonl"))}


def base_state(made: Path) -> dict[str, torch.Tensor]:
    return LM.load(made / "model", attn="dense").state_dict()


def state_of(path: str | Path) -> dict[str, torch.Tensor]:
    return LM.load(path, attn="dense").state_dict()


def test_an_honest_labeller_is_worth_its_annotations(made: Path, tmp_path: Path) -> None:
    whole = tmp_path / "run"
    begin(made, whole, oracle=Honest(), recipe=HARD, per_round=15, rounds=1)
    rows = ledger(whole)
    assert [row["kept"] for row in rows] == [True]
    assert rows[0]["gain"]["lo"] > 1.0  # of about 4 words at first
    asked = [json.loads(line) for line in (whole / "asked.jsonl").read_text().splitlines()]
    assert sum(row["asked"] for row in rows) == len(asked)
    labels = list(open_rows(whole / "rounds" / "1" / "labels.jsonl", Comparison))  # what was said may be trained on elsewhere
    assert len(labels) == rows[0]["rows"] + rows[0]["ties"] == rows[0]["asked"]
    assert (whole / rows[0]["checkpoint"] / "policy" / "config.json").is_file()


def test_a_labeller_who_lies_changes_nothing(made: Path, tmp_path: Path) -> None:
    found = begin(made, tmp_path / "run", oracle=Honest(lies=ASKED_WORDS), recipe=HARD, per_round=15, rounds=5, patience=2)
    assert found["kept"] == []
    assert found["why"] == "2 rounds in a row were rolled back"
    assert [row["gain"]["mean"] < 0 for row in found["rounds"]] == [True, True]
    kept, base = state_of(sources.model_path(str(tmp_path / "run"))), base_state(made)
    assert all(torch.equal(kept[name], base[name]) for name in base)
    last = state_of(tmp_path / "run" / found["rounds"][-1]["checkpoint"] / "policy")
    assert not all(torch.equal(last[name], base[name]) for name in base)  # it was trained, and undone
    drawn = [(tmp_path / "run" / "rounds" / t / "replies.jsonl").read_text() for t in "12"]
    assert not set(drawn[0].splitlines()) & set(drawn[1].splitlines())  # fresh prompts


def test_the_folder_s_name_stands_for_what_was_kept(made: Path, whole: Path) -> None:
    kept = state_of(sources.model_path(str(whole)))
    last = state_of(whole / ledger(whole)[-1]["checkpoint"] / "policy")
    assert all(torch.equal(kept[name], last[name]) for name in last)


class Killed(BaseException):
    """Stands for SIGKILL where a process for each of many kills would take too long: nothing in the engine catches it."""


def die(*_: object) -> None:
    raise Killed


@pytest.mark.parametrize(
    "fault",
    [
        "rollout:1",
        "rollout:2",
        "boundary:2",
        "boundary:5",
        "checkpoint-write:4",
        "checkpoint-write:6",
        "stage:1",
        "stage:2",
        "evaluation:1",
        "evaluation:2",
        "evaluation:3",
    ],
)
def test_killed_anywhere_and_resumed_is_bit_equal_and_asks_nobody_twice(
    made: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    out, oracle = tmp_path / "run", Honest()
    with monkeypatch.context() as patched:
        patched.setattr(os, "kill", die)
        with pytest.raises(Killed):
            begin(made, out, gains=STATED, oracle=oracle, fault=fault)
    assert not (out / "report.html").exists()
    begin(made, out, gains=STATED, oracle=oracle, resume=True)
    assert set(oracle.asked.values()) == {1}
    same(out, whole)


def same(out: Path, whole: Path) -> None:
    assert weights(out) == weights(whole)
    assert ledger(out) == ledger(whole)
    assert files(out) == files(whole)


@pytest.mark.parametrize("after", [1, 25])  # in the first round's labels, and in the second's
def test_killed_between_two_answers_asks_for_the_second_only(
    made: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    out, oracle = tmp_path / "run", Honest()
    write: Callable[..., None] = people.append

    def stop(file: Path, row: Any) -> None:
        if sum(oracle.asked.values()) > after:
            raise Killed  # asked, and not written down: of this one the answer is lost
        write(file, row)

    with monkeypatch.context() as patched:
        patched.setattr(people, "append", stop)
        with pytest.raises(Killed):
            begin(made, out, gains=STATED, oracle=oracle)
    asked = len((out / "asked.jsonl").read_text().splitlines())
    assert asked == after
    begin(made, out, gains=STATED, oracle=oracle, resume=True)
    assert sorted(oracle.asked.values())[-2:] == [1, 2]  # the lost one alone
    same(out, whole)


def test_killed_before_a_line_of_the_ledger_and_in_the_middle_of_drawing(
    made: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, oracle = tmp_path / "run", Honest()
    with monkeypatch.context() as patched:
        patched.setattr(refine_book.Book, "settle", die)
        with pytest.raises(Killed):
            begin(made, out, gains=STATED, oracle=oracle)
    file = out / "rounds" / "1" / "replies.jsonl"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:3]) + '{"prompt": "torn')
    (out / "rounds" / "1" / "labels.jsonl").unlink()
    begin(made, out, gains=STATED, oracle=oracle, resume=True)
    assert set(oracle.asked.values()) == {1}
    same(out, whole)


def test_the_command_killed_by_a_signal_and_replayed_from_its_config_ends_alike(made: Path, tmp_path: Path) -> None:
    given = {"model": made / "model", "prompts": made / "asked.jsonl", "reward": f"rule:{made}/rule.py:words"}
    given |= {"eval_prompts": made / "held.jsonl", "rounds": 2, "per_round": 10, "max_tokens": 8, "threads": 1, "device": "cpu"}
    given |= {"attn": "dense", "learn.batch": 8, "learn.lr": 0.01, "learner": "slic", "slic.delta": 2, "out": tmp_path / "one"}
    words = [word for name, value in given.items() for word in (f"--{name}", str(value))]
    assert finish(words) == 0
    again = ["--config", str(tmp_path / "one" / "config.yaml"), "--out", str(tmp_path / "two"), "--threads", "1"]
    assert finish([*again, "--fault", "stage:2"]) == -signal.SIGKILL
    assert len(ledger(tmp_path / "two")) == 1
    assert finish([*again, "--resume"]) == 0
    same(tmp_path / "two", tmp_path / "one")


def work(argv: Sequence[str]) -> None:
    """In the child: the command."""
    torch.set_num_threads(1)
    command(argv)


def finish(argv: Sequence[str]) -> int:
    """The command in a process of its own; returns the exit code (−9: killed)."""
    process = rlhf_jobs.SERVER.Process(target=work, args=(argv,))
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def test_a_round_is_not_resumed_with_other_prompts(made: Path, whole: Path, tmp_path: Path) -> None:
    book = refine_book.Book(whole)
    with pytest.raises(UserError, match="drawn for other prompts"):
        book.drawn(1, [Prompt("another")] * 10, lambda some: [])
    shutil.copytree(whole / "rounds", tmp_path / "rounds")
    drawn = refine_book.Book(tmp_path).drawn(1, [Prompt(text) for text in FIRST], lambda some: [])
    assert [len(several) for several in drawn] == [4] * 10


def test_a_finished_run_goes_on_with_more_rounds_and_its_verdicts_stand(made: Path, whole: Path, tmp_path: Path) -> None:
    oracle, more = Honest(), {"rounds": 3, "least": 99.0}
    begin(made, tmp_path / "run", oracle=oracle, gains=STATED)
    found = begin(made, tmp_path / "run", oracle=oracle, gains=STATED, resume=True, **more)
    assert ledger(tmp_path / "run")[:2] == ledger(whole)
    assert found["kept"] == [2]  # under the new rules none would be, and round 3 is not
    kept, second = (state_of(p) for p in (sources.model_path(str(tmp_path / "run")), whole / ledger(whole)[1]["checkpoint"] / "policy"))
    assert all(torch.equal(kept[name], second[name]) for name in second)


@pytest.mark.parametrize("learner", ["ipo", "slic", "kto"])
def test_every_learner_takes_a_round(made: Path, tmp_path: Path, learner: str) -> None:
    found = begin(made, tmp_path / "run", oracle=Honest(), learner=learner, rounds=1)
    assert found["rounds"][0]["rows"] > 5
    assert (tmp_path / "run" / "report.html").is_file()


def test_a_budget_is_never_passed_and_pays_for_the_evaluations_by_an_oracle(made: Path, tmp_path: Path) -> None:
    oracle = Honest()
    found = begin(made, tmp_path / "run", oracle=oracle, measure="labeller", budget=70, rounds=9, patience=0)
    assert sum(oracle.asked.values()) == found["asked"] <= 70
    assert found["rounds"][0]["score"] is None  # a win rate against the round's start is all there is
    assert "annotations" in found["why"]
    with pytest.raises(UserError, match="a budget of 30 does not pay for one evaluation"):
        begin(made, tmp_path / "other", oracle=oracle, measure="labeller", budget=30)


def test_people_are_asked_through_a_queue_a_round_at_a_time(made: Path, tmp_path: Path) -> None:
    more = {"given": {"oracle": f"queue:{tmp_path}/queue?patience=0"}, "rounds": 1}
    with pytest.raises(UserError, match=r"questions in .* wait for an answer"):
        begin(made, tmp_path / "run", **more)
    asks = [json.loads(line) for line in (tmp_path / "queue" / "asks.jsonl").read_text().splitlines()]
    assert len(asks) > 10  # all of the round are there at once
    answers = [{"id": ask["id"], "preferred": "first"} for ask in asks]
    (tmp_path / "queue" / "answers.jsonl").write_text("".join(json.dumps(a) + "\n" for a in answers))
    found = begin(made, tmp_path / "run", resume=True, **more)
    assert found["asked"] == len(asks)


def test_lora_is_rolled_back_too(made: Path, tmp_path: Path) -> None:
    found = begin(made, tmp_path / "run", oracle=Honest(), gains=(-0.1, -0.1), recipe=HARD, lora=2)
    assert found["kept"] == []
    last, kept = (tmp_path / "run" / place / "policy" for place in (found["rounds"][-1]["checkpoint"], "checkpoints/kept/step-00000000"))
    base = base_state(made)
    assert all(torch.equal(state_of(kept)[name], base[name]) for name in base)
    assert not all(torch.equal(state_of(last)[name], base[name]) for name in base)


def said(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert main(["refine", *argv]) == 2
    return capsys.readouterr().err


WRONG = {
    "nobody labels": ({"reward": ""}, "one of --oracle, --reward and --judge"),
    "two label": ({"oracle": "town"}, "one of --oracle, --reward and --judge"),
    "no such learner": ({"learner": "ppo"}, "--learner ppo"),
    "few prompts": ({"eval_prompts": ""}, "too few prompts to measure by"),
    "one reply": ({"replies": "1"}, "--replies is 1"),
    "a rule that is not there": ({"measure": "rule:nowhere.py:f"}, "nowhere.py"),
    "no such bound": ({"keep_by": "upper"}, "--keep_by"),
    "less than nothing": ({"budget": "-1"}, "--budget is -1"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_is_one_line_with_the_mend(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str) -> None:
    changed, words = WRONG[case]
    given = {"model": made / "model", "prompts": made / "asked.jsonl", "reward": f"rule:{made}/rule.py:words", "device": "cpu"}
    given |= {"eval_prompts": made / "held.jsonl", "out": tmp_path / "run", **changed}
    error = said(capsys, *(word for name, value in given.items() if value != "" for word in (f"--{name}", str(value))))
    assert words in error
    assert len(error.strip().splitlines()) == 2  # what is wrong, and the mend
    assert not (tmp_path / "run").exists()


def test_a_file_can_label_its_own_completions_and_not_measure_new_ones(made: Path, tmp_path: Path) -> None:
    rows = [{"prompt": w, "chosen": "yes", "rejected": "no"} for w in ("who is", "is it", "it mira", "the miller")]
    (made / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = Given(str(made / "model"), str(made / "own.jsonl"), oracle=str(made / "own.jsonl"), eval_prompts=str(made / "held.jsonl"))
    how: dict[str, Any] = {"resume": False, "threads": 1, "load": {"device": "cpu", "attn": "dense"}, "feed": Feed()}
    options = Options(per_round=4, max_tokens=8)
    with pytest.raises(UserError, match="cannot measure new ones"):
        run(given, load_method("dpo"), USUAL, Rules(rounds=1), options, out=str(tmp_path / "one"), **how)
    options = replace(options, measure=f"rule:{made}/rule.py:words")
    found = run(given, load_method("dpo"), USUAL, Rules(rounds=1), options, out=str(tmp_path / "two"), **how)[0]
    assert found["rounds"][0]["rows"] == 4
    plan = Plan(list(open_rows(tmp_path / "two" / "rounds" / "1" / "labels.jsonl", Comparison)), LM.load(made / "model").tokenizer)
    assert len(plan) == 4
