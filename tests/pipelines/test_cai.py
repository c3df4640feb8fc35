"""cai: a run killed in a game, a stage or between them ends bit-equal and asks nothing again; files of records; what is refused."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from rlhf_jobs import WORDS

from plumbline.cli.main import main
from plumbline.core.errors import UserError
from plumbline.core.nouns import Ask, Comparison, Demo, Reply
from plumbline.core.registry import load_method
from plumbline.data import open_rows
from plumbline.engine.recipe import Recipe
from plumbline.models.fresh import fresh
from plumbline.models.lm import LM
from plumbline.pipelines import cai_run
from plumbline.pipelines.cai import demos_of
from plumbline.pipelines.feed import Feed
from plumbline.pipelines.recipes import Recipes

PROMPTS = 6
CONSTITUTION = """## a
critique: is it yes?
revision: yes
compare: yes?

## b
critique: no?
revision: no

## c
compare: who is it?
"""
STAGE = Recipe(batch=2, save_every=1, lr=1e-3, steps=2)


def cai(folder: Path, out: Path, *, resume: bool = False, fault: str = "", until: Any = "end", **more: str) -> dict[str, Any]:
    given = cai_run.Given(str(folder / "model"), str(folder / "prompts.jsonl"), **{"constitution": str(folder / "constitution.md"), **more})
    options = cai_run.Options(rounds=2, max_tokens=5, at_once=2, until=until)
    how: dict[str, Any] = {"resume": resume, "threads": 1, "load": {"device": "cpu", "attn": "dense"}, "feed": Feed(), "fault": fault}
    return cai_run.run(given, load_method("dpo"), Recipes(STAGE, STAGE, STAGE), options, out=str(out), **how)[0]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model, a constitution, prompts, and one whole run."""
    folder = tmp_path_factory.mktemp("cai")
    fresh(folder / "model", WORDS, hidden=16, layers=2, heads=2, ffn=32, context=128)
    (folder / "constitution.md").write_text(CONSTITUTION)
    (folder / "prompts.jsonl").write_text("".join(json.dumps({"prompt": f"who is it {w}"}) + "\n" for w in WORDS[:PROMPTS]))
    cai(folder, folder / "whole")
    return folder


def products(out: Path) -> dict[str, bytes]:
    """Weights of the last checkpoints, games, and the rows made of them."""
    done = json.loads((out / "stages.json").read_text())
    folders = [out / "checkpoints" / stage / record["checkpoint"] for stage, record in done.items()]
    weights = [p for f in folders for p in sorted(f.rglob("*.safetensors"))]
    records = [out / name for name in ("critiques/games.jsonl", "feedback/games.jsonl", "revisions.jsonl", "labels.jsonl")]
    assert len(weights) >= 2
    return {str(p.relative_to(out)): p.read_bytes() for p in (*weights, *records)}


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the engine catches it."""


class Counted:
    """Counts the asks that models answer, and kills the process in the call number `last`."""

    def __init__(self, patch: pytest.MonkeyPatch, last: int = 1 << 30) -> None:
        self.asks, self.calls, answer = 0, 0, LM.answer

        def counting(model: LM, asks: Sequence[Ask]) -> list[Reply]:
            self.calls += 1
            if self.calls > last:
                raise Killed
            self.asks += len(asks)
            return answer(model, asks)

        patch.setattr(LM, "answer", counting)


def asked_in(out: Path) -> int:
    """Asks whose answers stand in the records of games."""
    files = [out / name / "games.jsonl" for name in ("critiques", "feedback")]
    return sum(len(json.loads(line)["turns"]) for f in files if f.exists() for line in f.read_text().splitlines() if line.endswith("}"))


# Three groups of two prompts: 5 calls each for the critiques, then 2 each for the labels.
@pytest.mark.parametrize("call", [7, 17])
def test_killed_in_a_game_a_run_goes_on_without_asking_again_and_ends_bit_equal(made, tmp_path, monkeypatch, call):
    out = tmp_path / "run"
    with monkeypatch.context() as patched:
        Counted(patched, call)
        with pytest.raises(Killed):
            cai(made, out)
    kept = asked_in(out)
    assert kept > 0
    with monkeypatch.context() as patched:
        counted = Counted(patched)
        cai(made, out, resume=True)
    assert counted.asks == asked_in(made / "whole") - kept
    assert products(out) == products(made / "whole")


@pytest.mark.parametrize("fault", ["boundary:2", "stage:1", "checkpoint-write:3"])
def test_killed_in_or_between_stages_it_ends_bit_equal(made, tmp_path, monkeypatch, fault):
    def die(*_: object) -> None:
        raise Killed

    out = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr(os, "kill", die)
        with pytest.raises(Killed):
            cai(made, out, fault=fault)
    cai(made, out, resume=True)
    assert products(out) == products(made / "whole")


def test_the_records_are_rows_that_training_reads_and_name_principles_of_the_kept_constitution(made):
    out = made / "whole"
    assert (out / "constitution.md").read_text() == CONSTITUTION
    revisions, labels = open_rows(str(out / "revisions.jsonl"), Demo), open_rows(str(out / "labels.jsonl"), Comparison)
    raw = [[json.loads(line) for line in (out / f"{name}.jsonl").read_text().splitlines()] for name in ("revisions", "labels")]
    assert (len(revisions), len(labels)) == (len(raw[0]), len(raw[1]))
    assert 1 <= len(revisions) <= 2 * PROMPTS  # the model is random: some of its replies are empty, and their games are left out
    assert all(row["principles"] and set(row["principles"]) <= {"a", "b"} for row in raw[0])
    assert labels
    assert all(row["principle"] in ("a", "c") and 0.5 <= row["preference"] <= 1 for row in raw[1])
    games = {json.loads(line)["game"] for line in (out / "feedback" / "games.jsonl").read_text().splitlines()}
    assert {row["game"] for row in raw[1]} <= games


def test_revisions_of_all_rounds_are_shown_once_each_with_all_their_principles():
    def step(principle: str, text: str, complete: bool = True) -> dict[str, Any]:
        return {"principle": principle, "critique": "c", "revision": text, "revised": True, "complete": complete}

    prompts = [cai_run.Prompt("x", id="1"), cai_run.Prompt("y", id="2")]
    outcome = {"reply": "r", "steps": [step("a", "one"), step("b", "one"), step("c", "two", False)]}
    rows = [{"game": "1", "outcome": outcome}, {"game": "2", "outcome": None}]
    assert [(d.context, d.completion, d.complete, d.meta["principles"]) for d in demos_of(prompts, rows)] == [
        ("x", "one", True, ["a", "b"]),
        ("x", "two", False, ["c"]),
    ]


def test_until_stops_where_it_says_and_a_later_run_goes_on_from_there(made, tmp_path):
    out = tmp_path / "run"
    assert cai(made, out, until="critiques")["revisions"] >= 1
    assert not (out / "stages.json").exists()
    cai(made, out, until="sft", resume=True)
    assert list(json.loads((out / "stages.json").read_text())) == ["sft"]
    cai(made, out, resume=True)
    assert products(out) == products(made / "whole")


def test_another_constitution_is_refused_on_resuming(made, tmp_path):
    cai(made, tmp_path / "run", until="critiques")
    (tmp_path / "other.md").write_text(CONSTITUTION.replace("yes?", "no?"))
    with pytest.raises(UserError, match="began with other data"):
        cai(made, tmp_path / "run", until="critiques", resume=True, constitution=str(tmp_path / "other.md"))


def test_a_dry_run_shows_what_would_be_asked_and_writes_nothing(made, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = ["--prompts", str(made / "prompts.jsonl"), "--constitution", str(made / "constitution.md")]
    assert main(["cai", *files, "--limit", "4", "--rounds", "2", "--dry_run"]) == 0
    said = capsys.readouterr().out
    assert "at most 4 prompts, 4 replies, 8 critiques, 8 revisions, 4 pairs, 8 verdicts" in said
    assert "CritiqueRequest: is it yes?" in said
    assert "answers: A or B" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--learner", "kto"], "--learner kto: not a method that learns from labels here"),
        (["--rounds", "0"], "--rounds is 0"),
        (["--dry_run", "--constitution", "nowhere.md"], "the constitution nowhere.md cannot be read"),
        (["--dry_run", "--wording", "town"], "the town's models know no critique 'is it yes?'"),
        ([], "plumbline cai needs --model"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(made, capsys, flags, says):
    files = ["--prompts", str(made / "prompts.jsonl"), "--constitution", str(made / "constitution.md")]
    assert main(["cai", *files, *flags]) == 2
    assert says in capsys.readouterr().err
