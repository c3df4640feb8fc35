"""KTO's row: its arithmetic by hand, what it is given, what counts as equal, and the row end to end at a tiny size."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from plumbline.bench import ours_kto, pair, work
from plumbline.bench.rows import ROWS, Row, Shape, Thumbs, kto_flops

TINY, SMALL = Shape(hidden=28, layers=1, heads=7, ffn=64, words=200), Thumbs("small", prompt=20, completion=6, count=4)
ROW = Row("kto/small/time", "time", SMALL, "step", 1.0)
needs_peer = pytest.mark.skipif(not pair.PEER_PYTHON.exists(), reason="TRL is not installed apart (.peers): run make bench-setup")


def test_flops_of_a_step_by_hand():
    # hidden 2, one layer, ffn 3, 5 words: layer weights 34.   Rows: prompt 3 with 2 tokens (1 fed), prompt 2 with 1 token (0 fed)
    # matched: positions 3 + 1 + 2 = 6, pairs 6 + (3 + 1) + 3 = 13, scored 3: 2·34·6 + 4·2·13 + 2·5·2·3 = 408 + 104 + 60 = 572
    # mismatched, prompt 3 with 1 and prompt 2 with 2: positions 3 + 2 + 1 = 6, pairs 6 + 3 + (2 + 1) = 12: 408 + 96 + 60 = 564
    # a step learns from the matched (3) and reads them with the reference (1); both models read the mismatched
    shape = Shape(hidden=2, layers=1, heads=1, ffn=3, words=5)
    assert kto_flops(shape, [(3, [2]), (2, [1])]) == pytest.approx(4 * 572 + 2 * 564)


def test_the_row_is_the_work_that_is_claimed():
    (row,) = [r for r in ROWS if r.method == "kto"]
    given = work.job(row, Shape())
    assert (row.id, row.target) == ("kto/prompt-heavy/time", 3.0)
    assert [len(completions) for _, completions in given["groups"]] == [1] * 8
    assert all(130 <= len(prompt) <= 160 and 40 <= len(completion) <= 50 for prompt, (completion,) in given["groups"])
    assert given["labels"] == [True, False, False, True, False, False, True, False]
    assert given["weights"] == pytest.approx([5 / 3, 1])  # λ_D · 3 = λ_U · 5


def test_a_step_is_the_same_if_loss_point_and_norm_are():
    told = {"loss": 0.5, "point": 0.25, "norm": 2.0}
    assert pair.same_step(told, told)
    assert not pair.same_step({**told, "loss": 0.5002}, told)
    assert not pair.same_step({**told, "point": 0.2502}, told)
    assert not pair.same_step({**told, "norm": 2.003}, told)


@needs_peer
def test_the_row_end_to_end(tmp_path: Path):
    work.write(tmp_path, TINY, names=("reference", "policy"))  # this way round, z is not clamped at 0
    job = work.save(tmp_path, ROW, TINY)
    fastest = {"kto/small": {"attention": "sdpa", "micro": 4}}
    (found,) = pair.training(pair.Bench(tmp_path, TINY, threads=1, repeats=1, gemm=1e12, fastest=fastest), [ROW], job)
    assert found["equal"]
    assert found["peer"] == "trl 1.16.0"
    assert "mismatched completions" in found["seconds_by_cause"]
    assert sum(found["seconds_by_cause"].values()) == pytest.approx(found["theirs"] - found["ours"], abs=2e-3)
    again = ours_kto.Labelled(tmp_path, json.loads(job.read_text()), lr=1e-5)
    assert again.step()["point"] > 0.1, "so that z being equal says something"
