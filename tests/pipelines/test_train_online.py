"""`train` with a reward: what is watched beside it is logged every round, and the truth only where it is known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from plumbline.core.nouns import Prompt
from plumbline.core.rollouts import Draw
from plumbline.methods.grpo import grpo
from plumbline.models.fresh import fresh
from plumbline.models.lm import LM
from plumbline.pipelines.train import train_policy
from plumbline.world import sources as world
from tests.pipelines import rlhf_jobs

SPEC = "town:prompts?n=12&seed=4"


@pytest.mark.parametrize("known", [True, False])
def test_gold_is_logged_of_every_round_on_town_alone(tmp_path: Path, known: bool) -> None:
    policy = LM.load(fresh(tmp_path / "model", rlhf_jobs.WORDS, hidden=16, layers=2, heads=2, ffn=32, context=64))
    prompts = [row for row in world.load(SPEC) if isinstance(row, Prompt)]
    rounds = tmp_path / "run"
    data = SPEC if known else [Prompt(p.context) for p in prompts]
    train_policy(grpo(group=2, sampling=Draw(max_tokens=5)), policy, data, reward="regex:mira", out=str(rounds), batch=4, epochs=1)
    rows = [json.loads(line) for line in (rounds / "metrics.jsonl").read_text().splitlines()]
    assert len(rows) == 3
    assert all({"score/proxy", "score/words", "score/repeats"} <= set(row) for row in rows)
    assert all(row["score"] == pytest.approx(row["score/proxy"]) for row in rows)  # what is watched has no weight
    assert all(("score/gold" in row) == known for row in rows)
    if known:  # replies of five words at most, drawn at random, are worth next to nothing
        assert all(0 <= row["score/gold"] < 0.5 for row in rows)
