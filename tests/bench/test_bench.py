"""The bench's arithmetic by hand, and both kinds of rows end to end at a size that takes no time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from plumbline import bench
from plumbline.bench import growth, pair, wire, work
from plumbline.bench.rows import Pairs, Prompts, Row, Shape, decode_flops, step_flops
from plumbline.core.errors import UserError

TINY = Shape(hidden=28, layers=1, heads=7, ffn=64, words=200)
needs_peer = pytest.mark.skipif(not pair.PEER_PYTHON.exists(), reason="TRL is not installed apart (.peers): run make bench-setup")


def test_flops_of_a_step_by_hand():
    # hidden 2, one layer, ffn 3, 5 words: layer weights 4·2² + 3·2·3 = 34.   Prompt 3, completions 2 and 1, of which 1 and 0 are fed:
    # positions 3 + 1 + 0 = 4; pairs 3·4/2 + (1·3 + 1) + 0 = 10; scored 2 + 1 = 3
    # forward 2·34·4 + 4·2·10 + 2·5·2·3 = 272 + 80 + 60 = 412; a step is three of them, with the reference four
    shape = Shape(hidden=2, layers=1, heads=1, ffn=3, words=5)
    assert step_flops(shape, [(3, [2, 1])], reference=False) == 3 * 412
    assert step_flops(shape, [(3, [2, 1])], reference=True) == 4 * 412


def test_flops_of_decoding_by_hand():
    # 2 prompts of 3 tokens, 2 samples each of 3 new tokens, of which 2 are fed: positions 6 + 4·2 = 14
    # pairs 2·6 + 4·(2·3 + 3) = 48; scored 2 + 4·2 = 10; forward 2·34·14 + 4·2·48 + 2·5·2·10 = 952 + 384 + 200
    shape = Shape(hidden=2, layers=1, heads=1, ffn=3, words=5)
    assert decode_flops(shape, Prompts("", count=2, prompt=3, samples=2, new=3)) == 952 + 384 + 200


def test_tokens_may_differ_only_after_a_choice_that_rounding_decides():
    far, near = [1.0, 1.0, 1.0], [1.0, 1e-7, 1.0]
    assert pair.same_tokens([[1, 2, 3]], [[1, 2, 3]], [far])
    assert pair.same_tokens([[1, 2, 3]], [[1, 9, 8]], [near])
    assert not pair.same_tokens([[1, 2, 3]], [[1, 9, 3]], [far])
    assert not pair.same_tokens([[1, 2, 3], [1, 2, 3]], [[1, 2, 3], [7, 2, 3]], [near, near])


def test_the_causes_add_up_to_the_gain():
    ours = {"body": 1.0, "body_unshared": 2.5, "head": 0.5, "reference": 0.3, "optimiser": 0.1}
    theirs = {"body": 3.0, "head": 0.75, "reference": 1.0, "optimiser": 0.1}
    found = pair.causes(ours, theirs, time_a=2.0, time_b=6.0)
    assert found["tokens saved by sharing"] == 1.5  # 2.5 − 1
    assert found["layers otherwise"] == 0.5  # 3 − 2.5
    assert found["overhead"] == pytest.approx(4 - (1.5 + 0.5 + 0.25 + 0.7 + 0))
    assert sum(found.values()) == pytest.approx(4.0)


def test_slopes():
    assert growth.slope([1, 2, 4, 8], [3, 12, 48, 192]) == pytest.approx(2.0)
    assert growth.slope([1, 2, 4], [5, 5, 5]) == pytest.approx(0.0)


def test_bytes_of_a_forward_pass_are_its_peak():
    x, w = torch.randn(1000, 100), torch.randn(100, 200, requires_grad=True)
    # (x w) and its square are 1000 × 200 floats of 4 bytes each; the product must be kept for backward while the square is made
    assert growth._forward_bytes(lambda: (x @ w).square().sum()) == pytest.approx(2 * 1000 * 200 * 4, abs=1000)


def test_memory_peak_is_seen_and_forgotten():
    if not wire.STATUS.exists():
        pytest.skip("no /proc on this system")
    wire.reset_peak()
    before = wire.memory_mb()["peak"]
    held = bytearray(200_000_000)
    held[::4096] = b"x" * len(held[::4096])
    assert wire.memory_mb()["peak"] - before > 150
    del held
    wire.reset_peak()
    assert wire.memory_mb()["peak"] - before < 100


def test_answers_are_apart_from_what_libraries_print():
    program = "import wire\ndef loud(x):\n    print('noise', flush=True)\n    return x + 1\nwire.serve({'loud': loud})"
    asked = '{"do": "loud", "x": 1}\n{"do": "loud", "x": "a"}\n'
    place = Path(wire.__file__).parent
    done = subprocess.run([sys.executable, "-c", program], input=asked, capture_output=True, text=True, cwd=place, check=True)
    good, bad = map(json.loads, done.stdout.splitlines())
    assert good == {"value": 2}
    assert "TypeError" in bad["error"]
    assert "noise" in done.stderr


def test_a_row_that_is_not_there():
    with pytest.raises(UserError, match="no bench row contains 'nowhere'"):
        bench.run("nowhere")


def test_growth_is_measured_on_both_sides():
    found = growth.curve("groups", threads=1, largest=2)
    assert found["ours"]["sizes"] == found["plain"]["sizes"] == [1, 2]
    assert all(b > a for a, b in [found[side]["bytes"] for side in ("ours", "plain")])


@needs_peer
def test_training_rows_end_to_end(tmp_path: Path):
    small = Pairs("small", prompt=20, completion=6, count=2)
    rows = [Row("dpo/time", "time", small, "step", 1.0), Row("dpo/memory", "memory", small, "step", 1.0)]
    measured = pair.Bench(tmp_path, TINY, threads=1, repeats=2, fastest={"dpo/small": {"attention": "sdpa", "micro": 2}})
    work.write(tmp_path, TINY)
    time, memory = pair.training(measured, rows, work.save(tmp_path, rows[0], TINY))
    assert time["equal"]
    assert memory["equal"]
    assert time["peer"] == "trl 1.16.0"
    assert time["ratio"] == pytest.approx(time["theirs"] / time["ours"], rel=0.05)
    assert 0 < time["gemm_share"] < 1
    assert sum(time["seconds_by_cause"].values()) == pytest.approx(time["theirs"] - time["ours"], abs=2e-3)
    assert memory["ours"] > 50  # MB of a process that has loaded torch


@needs_peer
def test_decoding_rows_end_to_end(tmp_path: Path):
    row = Row("decode", "decode", Prompts("small", count=2, prompt=9, samples=2, new=4), "", 1.0)
    work.write(tmp_path, TINY)
    (found,) = pair.decoding(pair.Bench(tmp_path, TINY, threads=1, repeats=1), [row], work.save(tmp_path, row, TINY))
    assert found["equal"]
    assert found["peer"] == "transformers 5.23.0 generate"
    assert bench.table([found]).splitlines()[1].split()[0] == "decode"
