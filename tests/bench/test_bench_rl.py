"""The rows of reward models and online methods: their arithmetic by hand, what counts as equal, and each end to end at a tiny size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from plumbline import bench
from plumbline.bench import pair, pair_rl, work
from plumbline.bench.rows import ROWS, Pairs, Rounds, Row, Shape, round_flops

TINY = Shape(hidden=28, layers=1, heads=7, ffn=64, words=200)
SMALL, GROUP, ROUND = Pairs("small", 20, 6, 2), Rounds("group", 1, 9, 4, 6), Rounds("round", 4, 9, 1, 6, passes=2)
FASTEST: dict[str, dict[str, Any]] = {
    "reward/small": {"attention": "sdpa", "micro": 1},
    "grpo/group": {"attention": "sdpa", "micro": 2, "cache": "dynamic"},
    "ppo/round": {"attention": "sdpa", "micro": 2},
}
needs_peer = pytest.mark.skipif(not pair.PEER_PYTHON.exists(), reason="TRL is not installed apart (.peers): run make bench-setup")
needs_ppo = pytest.mark.skipif(not pair.PEER_PPO.exists(), reason="TRL with PPO is not installed apart (.peers/ppo): run make bench-setup")


def ready(folder: Path, row: Row) -> tuple[pair.Bench, Path]:
    """A bench with its models and the row's work on disk."""
    work.write(folder, TINY)
    work.write_scalars(folder)
    return pair.Bench(folder, TINY, threads=1, repeats=1, gemm=1e12, fastest=FASTEST), work.save(folder, row, TINY)


def test_flops_of_a_round_by_hand():
    # hidden 2, one layer, ffn 3, 5 words: layer weights 34.   2 prompts of 3 tokens, a reply of 3 each, of which 2 are fed:
    # positions 2·(3 + 2) = 10, pairs 2·(6 + 2·3 + 3) = 30; layers 2·34·10 + 4·2·30 = 920
    # sampling scores 2 + 2·2 = 6 positions, learning 2·3 = 6: 2·5·2·6 = 120 each, so 1,040 a forward with words
    shape, two = Shape(hidden=2, layers=1, heads=1, ffn=3, words=5), Rounds("", count=2, prompt=3, samples=1, new=3, passes=2)
    assert round_flops(shape, two, critic=False) == 1040 + 2 * 3 * 1040
    # PPO: also the reference once with words, reward and value once without, and the value's two training passes
    assert round_flops(shape, two, critic=True) == pytest.approx(1040 + 2 * 3 * 1040 + 1040 + 2 * 920 + 2 * 3 * 920)


def test_rounds_are_the_same_if_losses_and_every_gradient_are():
    told = {"losses": [1.0, 2.0], "norms": [[1.0, 4.0], [0.5, 2.0]]}
    assert pair_rl.same(told, told)
    assert pair_rl.same({**told, "norms": [[1.0009, 4.0], [0.5, 2.0]]}, told)
    assert not pair_rl.same({**told, "norms": [[1.0011, 4.0], [0.5, 2.0]]}, told)
    assert not pair_rl.same({**told, "losses": [1.0, 2.0002]}, told)
    assert not pair_rl.same({**told, "norms": told["norms"][:1]}, told)  # an update less
    assert not pair_rl.same({**told, "norms": [[1.0], [0.5]]}, told)  # a parameter less


def test_several_rows_are_named_with_commas():
    chosen = [row.id for row in ROWS if bench._named("reward,grpo,ppo", row.id)]
    assert chosen == ["reward/prompt-heavy/time", "reward/prompt-heavy/memory", "grpo/iteration", "ppo/iteration"]


def test_one_base_and_four_copies_compute_the_same(tmp_path: Path):
    row = Row("rl/one-base/memory", "memory", ROUND, "", 1.0)
    measured, job = ready(tmp_path, row)
    (found,) = pair_rl.one_base(measured, [row], job)
    assert found["equal"]
    assert found["peer"] == "plumbline with four copies"
    assert found["four_trained_in_full"]["peak"] > 50  # MB of a process that has loaded torch


@needs_peer
def test_reward_rows_end_to_end(tmp_path: Path):
    rows = [Row("reward/time", "time", SMALL, "", 1.0), Row("reward/memory", "memory", SMALL, "", 1.0)]
    measured, job = ready(tmp_path, rows[0])
    time, memory = pair.training(measured, rows, job)
    assert time["equal"]
    assert memory["equal"]
    assert time["peer"] == "trl 1.16.0"
    assert time["seconds_by_cause"]["vocabulary projection"] == 0


@needs_peer
def test_a_grpo_row_end_to_end(tmp_path: Path):
    row = Row("grpo/iteration", "time", GROUP, "", 1.0)
    measured, job = ready(tmp_path, row)
    (found,) = pair_rl.online(measured, [row], job)
    assert found["equal"]
    assert found["peer"] == "trl 1.16.0"
    assert sum(found["seconds_by_cause"].values()) == pytest.approx(found["theirs"] - found["ours"], abs=2e-3)


@needs_peer
@needs_ppo
def test_a_ppo_row_end_to_end(tmp_path: Path):
    row = Row("ppo/iteration", "time", ROUND, "", 1.0)
    measured, job = ready(tmp_path, row)
    (found,) = pair_rl.online(measured, [row], job)
    assert found["equal"]
    assert found["peer"] == "trl 1.12.0"
