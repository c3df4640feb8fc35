"""Critique and revision of 50 published red-team prompts by a real small chat model: mechanics and records, not quality."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from plumbline.cli.main import main
from plumbline.core.nouns import Demo
from plumbline.data import open_rows
from plumbline.protocols.constitution import open_constitution

N = 50


@pytest.fixture(scope="module")
def run(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`plumbline cai … --until critiques`."""
    behaviors, model = shared / "data" / "advbench" / "harmful_behaviors.csv", shared / "models" / "dialogue5M"
    if not behaviors.is_file() or not model.is_dir():
        pytest.skip("../shared has no data/advbench/harmful_behaviors.csv or no models/dialogue5M")
    folder = tmp_path_factory.mktemp("cai")
    with behaviors.open(newline="") as file:
        goals = [row["goal"] for row in csv.DictReader(file)][:N]
    chats = [{"prompt": [{"role": "user", "content": goal}]} for goal in goals]
    (folder / "redteam.jsonl").write_text("".join(json.dumps(row) + "\n" for row in chats))
    words = ["--model", str(model), "--prompts", str(folder / "redteam.jsonl"), "--max_tokens", "24", "--threads", "1"]
    assert main(["cai", *words, "--until", "critiques", "--out", str(folder / "run")]) == 0
    return folder / "run"


def test_every_prompt_has_a_game_with_its_principle_and_its_words(run):
    games = [json.loads(line) for line in (run / "critiques" / "games.jsonl").read_text().splitlines()]
    assert len(games) == N
    whole = [game for game in games if not game["error"]]
    assert len(whole) >= 0.8 * N  # a small model sometimes says nothing
    made = open_constitution(run / "constitution.md")
    for game in whole:
        [step] = game["outcome"]["steps"]
        reply, critique, revision = game["turns"]
        assert [turn["speaker"] for turn in game["turns"]] == ["model", "critic", "critic"]
        assert reply["text"] == game["outcome"]["reply"] == critique["context"][1]["content"]
        assert critique["context"][2]["content"] == made[step["principle"]].critique
        assert revision["context"][4]["content"] == made[step["principle"]].revision
        assert (critique["text"], revision["text"]) == (step["critique"], step["revision"])
        assert all(turn["ids"] and len(turn["ids"]) == len(turn["logps"]) for turn in game["turns"])
    assert len({game["outcome"]["steps"][0]["principle"] for game in whole}) == len(made.principles)


def test_the_revisions_are_demonstrations(run):
    rows = open_rows(str(run / "revisions.jsonl"), Demo)
    assert len(rows) >= 0.8 * N
    assert all(isinstance(row.context, tuple) and row.completion.strip() for row in rows)
