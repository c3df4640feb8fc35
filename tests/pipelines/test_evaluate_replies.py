"""What a reward gives two models' replies, paired: against numbers known beforehand; and a reward on labels by the command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from plumbline.core.nouns import Prompt, Reply, Sampling, Scores
from plumbline.models.scripted import ScriptedModel
from plumbline.pipelines.evaluate_replies import scored

PROMPTS = [Prompt("p"), Prompt("q")]


def test_scores_repeats_and_differences_by_hand():
    """Runs of three words of "a b a b a": aba bab aba, of which one was there: ⅓."""
    mine = ScriptedModel([Reply("a b a b a", ids=(1, 2)), Reply("no more", ids=(1,))], name="mine")
    theirs = ScriptedModel([Reply("x"), Reply("yy")], name="theirs")
    length = lambda games: Scores({"chars": [float(len(g.turns[-1].reply.text)) for g in games]})  # noqa: E731
    figures, lines = scored(mine, theirs, PROMPTS, length, Sampling())
    assert figures["replies"]["mine"]["chars"]["mean"] == pytest.approx((9 + 7) / 2)
    assert figures["replies"]["mine"]["repeats"]["mean"] == pytest.approx((1 / 3 + 0) / 2, abs=1e-6)
    assert figures["replies"]["mine"]["tokens"]["mean"] == pytest.approx(1.5)
    assert figures["difference"]["chars"]["mean"] == pytest.approx(((9 - 1) + (7 - 2)) / 2)
    assert "kl" not in figures, "scripts have no log-probabilities"
    assert any(line.startswith("difference, chars: +6.500") for line in lines)


def test_several_rewards_are_shown_apart_with_their_total():
    reward = lambda games: Scores({"a": [1.0] * len(games), "b": [3.0] * len(games)}, weights={"a": 2.0, "b": 0.0})  # noqa: E731
    figures, _ = scored(ScriptedModel(["x", "y"], name="m"), None, PROMPTS, reward, Sampling())
    assert {k: v["mean"] for k, v in figures["replies"]["m"].items()} == {"a": 1.0, "b": 3.0, "score": 2.0, "repeats": 0.0, "tokens": 1.0}


def test_a_model_is_its_own_equal(tmp_path: Path, command):
    (tmp_path / "p.jsonl").write_text('{"prompt": "who is"}\n{"prompt": "what"}\n')
    words = ("--against", "town", "--on", tmp_path / "p.jsonl", "--reward", "regex:a", "--max_completion_tokens", 6, "--json")
    code, found, _, err = command("eval", "town", *words)
    assert code == 0, err
    assert found["difference"]["regex"]["mean"] == 0
    assert found["kl"]["mean"] == pytest.approx(0, abs=1e-4)


def test_a_reward_is_measured_on_labels(tmp_path: Path, command):
    rows = [{"text": text, "label": up} for text, up in (("so glad", 1), ("glad day", 1), ("so sad", 0), ("sad day", 0))]
    file = tmp_path / "labels.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, found, _, err = command("eval", f"words:{file}", "--on", file, "--train", file, "--json")
    assert code == 0, err
    assert found["reward"]["order"]["mean"] == found["reward"]["accuracy"]["mean"] == found["bag of words"]["accuracy"]["mean"] == 1
    code, found, _, _ = command("eval", "regex:day", "--on", file, "--json")
    assert found["reward"] == {"order": {"mean": 0.5, "lo": pytest.approx(0.5, abs=0.5), "hi": pytest.approx(0.5, abs=0.5), "n": 4}}
