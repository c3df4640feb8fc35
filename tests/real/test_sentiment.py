"""Sentiment of stories from real labels, in small: pairs made by a reward, DPO, judged by a bag of words; rewards of real verdicts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from real_rows import rows_of, written

STORIES = Path(__file__).parent / "stories50.jsonl"


@pytest.fixture(scope="module")
def openings(shared, tmp_path_factory) -> Path:
    """The first words of paragraphs of a public file, as prompts."""
    lines = (shared / "data/tinystories-sample/tinystories.txt").read_text().splitlines()
    starts = dict.fromkeys(" ".join(line.split()[:8]) for line in lines if len(line) > 80)
    return written(tmp_path_factory.mktemp("openings") / "o.jsonl", [{"prompt": text} for text in list(starts)[:8]])


def test_fifty_stories_are_labelled_and_a_bag_of_words_tells_them_apart(shared, command):
    rows = rows_of(STORIES)
    assert len({row["text"] for row in rows}) == 50
    assert {row["label"] for row in rows} == {0, 1}
    judge = f"words:{shared}/data/sst2/train.tsv.gz"
    code, found, _, err = command("eval", judge, "--on", shared / "data/sst2/dev.tsv", "--json")
    assert code == 0, err
    assert found["reward"]["accuracy"]["mean"] > 0.77, "what a unigram classifier reaches on SST-2"
    assert found["reward"]["accuracy"]["lo"] > found["reward"]["commonest"]["hi"]
    code, found, _, err = command("eval", judge, "--on", STORIES, "--json")
    assert code == 0, err
    assert found["reward"]["order"]["lo"] > 0.5, "better than chance on stories too, another kind of text"


def test_pairs_by_a_reward_move_a_story_model_away_from_itself(shared, openings, tmp_path, command):
    model, judge = shared / "models/stories260K", f"words:{shared}/data/sst2/train.tsv.gz"
    words = ("--prompts", openings, "--n", 4, "--max_tokens", 16, "--reward", judge, "--form", "pairs", "--out", tmp_path / "p.jsonl")
    code, made, _, err = command("sample", model, *words, "--json")
    assert code == 0, err
    pairs = rows_of(tmp_path / "p.jsonl")
    assert made["rows"] == len(pairs) > 36, "six of every opening, without ties"
    assert all(row["margin"] > 0 for row in pairs)
    glued = [row for row in pairs if row["chosen"][0].isalpha()]  # now and then a model of letters goes on with the opening's last word
    assert len(glued) < len(pairs) / 4, "a space is between opening and reply"

    words = ("--data", tmp_path / "p.jsonl", "--steps", 3, "--batch", 8, "--lr", 1e-3, "--warmup", 0, "--out", tmp_path / "dpo")
    code, _, _, err = command("train", "dpo", "--model", model, *words)
    assert code == 0, err
    steps = [json.loads(line) for line in (tmp_path / "dpo/metrics.jsonl").read_text().splitlines()]
    assert next(s["loss"] for s in steps if "loss" in s) == pytest.approx(0.6931, abs=1e-4), "−log σ(0)"

    judged = ("--on", openings, "--reward", judge, "--max_completion_tokens", 16)
    code, found, _, err = command("eval", tmp_path / "dpo", "--against", model, *judged, "--json")
    assert code == 0, err
    assert found["difference"]["words"]["n"] == 8
    assert found["kl"]["n"] == 8
    assert found["kl"]["mean"] != 0, "it moved"


def test_verdicts_of_truth_are_ratings_and_a_reward_learns_from_human_comparisons(shared, tmp_path, command):
    short = ("--max_prompt_tokens", 48, "--max_completion_tokens", 8, "--steps", 2, "--batch", 4, "--skip_bad")
    model, truth = shared / "models/dialogue5M", shared / "data/truthfulqa/finetune_truth_dev.jsonl.gz"
    code, found, _, err = command("train", "ratings", "--model", model, "--data", truth, *short, "--out", tmp_path / "truth", "--json")
    assert code == 0, err
    assert found["cut"]["completions cut (without EOS)"] > 0
    (thresholds,) = tmp_path.glob("truth/checkpoints/*/thresholds/thresholds.json")
    assert json.loads(thresholds.read_text())["criteria"] == ["label"]
    hh = shared / "data/hh-rlhf/train.jsonl.gz"
    code, _, _, err = command("train", "reward", "--model", model, "--data", hh, *short, "--out", tmp_path / "hh")
    assert code == 0, err
    pairs = written(tmp_path / "pairs.jsonl", rows_of(shared / "data/hh-rlhf/test.jsonl.gz")[:6])
    code, found, _, err = command("eval", tmp_path / "hh", "--on", pairs, "--json")
    assert code == 0, err
    assert found["reward"]["accuracy"]["n"] == 6
