"""KTO on people's verdicts: TruthfulQA's truth labels and a small pre-trained model, where they are."""

from __future__ import annotations

import json

import pytest
from real_rows import rows_of, written


def test_kto_learns_from_truth_labels(shared, tmp_path, command):
    rows = [row for row in rows_of(shared / "data/truthfulqa/finetune_truth_dev.jsonl.gz") if "\nA: \n" not in row["prompt"]]
    true, false = ([row for row in rows if row["completion"] == said] for said in (" yes", " no"))
    data = written(tmp_path / "thumbs.jsonl", [*true[:3], *false[:5]])
    words = ("--data", data, "--max_prompt_tokens", 32, "--max_completion_tokens", 24, "--batch", 8, "--steps", 3, "--lr", 3e-4)
    code, _, out, err = command("train", "kto", "--model", shared / "models/dialogue5M", "--out", tmp_path / "run", *words)
    assert code == 0, err
    assert "8 × TruthfulQA verdicts read as labels" in out + err
    steps = [s for s in map(json.loads, (tmp_path / "run/metrics.jsonl").read_text().splitlines()) if "desirable_gain" in s]
    # π = ref: v = λ_y/2.   λ_D · 3 = λ_U · 5, so λ is 5/3 and 1, and L = (3 · 5/3 + 5 · 1)/2 / 8
    assert steps[0]["loss"] == pytest.approx(0.625, abs=1e-4)
    assert steps[0]["desirable_gain"] == pytest.approx(0, abs=1e-3)
    assert steps[2]["loss"] < steps[0]["loss"] - 0.01, "two updates on all of its rows"
