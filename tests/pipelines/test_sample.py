"""Replies, the best of n, and pairs: rows that training reads, from a scripted model and a rule."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from plumbline.core.errors import UserError
from plumbline.core.nouns import Comparison, Demo, Prompt, Reply
from plumbline.data import open_rows
from plumbline.models.scripted import ScriptedModel
from plumbline.pipelines.sample import sample, write
from plumbline.rewards.rules import Rule

LENGTH = Rule(lambda prompt, completion: float(len(completion)), "length")
SAID = [Reply(" one"), Reply(" eleven", finish="length"), Reply(" two"), Reply(" three")]
PROMPTS = [Prompt("say")]


def drawn(form: str, said: list[Reply] = SAID, reward: Rule | None = LENGTH):
    return sample(ScriptedModel(said), PROMPTS, reward, len(said), form=form)


def test_pairs_are_all_that_the_reward_tells_apart(tmp_path: Path):
    """Of four replies six pairs; " one" and " two" score alike; where a reply was cut no end is trained on."""
    rows, figures = drawn("pairs")
    assert [(r["chosen"], r["rejected"], r["complete"], r["margin"]) for r in rows] == [
        (" eleven", " one", False, 3.0),
        (" three", " one", True, 2.0),
        (" eleven", " two", False, 3.0),
        (" eleven", " three", False, 1.0),
        (" three", " two", True, 2.0),
    ]
    assert figures["cut"] == 0.25
    assert figures["score"]["mean"] == pytest.approx((4 + 7 + 4 + 6) / 4)
    write(rows, str(tmp_path / "p.jsonl"))
    read = list(open_rows(tmp_path / "p.jsonl", Comparison))
    assert [(c.completions, c.complete, c.preference) for c in read[:2]] == [
        ((" eleven", " one"), False, 1.0),
        ((" three", " one"), True, 1.0),
    ]
    with pytest.raises(UserError, match="exists already"):
        write(rows, str(tmp_path / "p.jsonl"))


def test_best_is_a_demonstration_and_replies_are_everything(tmp_path: Path):
    rows, _ = drawn("best")
    write(rows, str(tmp_path / "b.jsonl"))
    (best,) = open_rows(tmp_path / "b.jsonl", Demo)
    assert (best.context, best.completion, best.complete, best.meta["score"]) == ("say", " eleven", False, 7.0)
    rows, figures = drawn("replies", reward=None)
    assert [row["completion"] for row in rows] == [r.text for r in SAID]
    assert all("score" not in row for row in rows)
    assert "score" not in figures


@pytest.mark.parametrize(
    ("form", "said", "reward", "says"),
    [
        ("pairs", SAID, None, "chosen by a reward"),
        ("pairs", SAID[:1], LENGTH, "pairs of 1 reply"),
        ("pairs", [SAID[0], SAID[2]], LENGTH, "told apart"),
        ("trees", SAID, LENGTH, "--form is 'trees'"),
    ],
)
def test_what_makes_no_rows_says_why(form, said, reward, says):
    with pytest.raises(UserError, match=says):
        drawn(form, said, reward)


def test_the_command(tmp_path: Path, command):
    (tmp_path / "p.jsonl").write_text('{"prompt": "who"}\n{"prompt": "what"}\n')
    words = ("--prompts", tmp_path / "p.jsonl", "--n", 6, "--max_tokens", 6, "--form", "pairs", "--out", tmp_path / "out.jsonl")
    code, found, _, err = command("sample", "town", *words, "--reward", "regex: of ", "--json")
    assert code == 0, err
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert len(rows) == found["rows"]
    assert all(" of " in row["chosen"] and " of " not in row["rejected"] for row in rows)
