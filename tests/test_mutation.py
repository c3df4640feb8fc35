"""Every operator, sign, comparison and constant of the losses is pinned by some test; the mutator itself mutates."""

import subprocess
import sys
from pathlib import Path

import mutate

ROOT = Path(__file__).resolve().parents[1]


def test_no_unlisted_mutant_of_the_losses_survives():
    done = subprocess.run([sys.executable, "tools/mutate.py"], cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_operator_sign_comparison_and_constant_is_changed_once(tmp_path: Path):
    source = tmp_path / "small.py"
    source.write_text(
        '"""3 + 4"""\ndef f(x: int, y=2):\n    if x < y or x is None:\n        raise ValueError(f"{x + 1}")\n    return -x * y.min()\n'
    )
    keys = [m.key.split("   in   ")[0] for m in mutate.mutants(source)]
    assert keys == [
        "small.py.f: 2  →  3",
        "small.py.f: 2  →  1",
        "small.py.f: x < y or x is None  →  x < y and x is None",
        "small.py.f: x < y  →  x <= y",
        "small.py.f: x < y  →  x >= y",
        "small.py.f: x is None  →  x is not None",
        "small.py.f: -x * y.min()  →  -x / y.min()",
        "small.py.f: -x  →  x",
        "small.py.f: y.min  →  y.max",
    ]


def test_a_mutant_differs_from_its_source_in_that_place_only(tmp_path: Path):
    source = tmp_path / "small.py"
    source.write_text("def f(x, y):\n    return x - y\n")
    (only,) = mutate.mutants(source)
    made: dict = {}
    exec(compile(only.tree, "small.py", "exec"), made)
    assert made["f"](5, 3) == 8


def test_survivors_must_be_exactly_the_listed_ones():
    assert mutate.compare(["a", "b"], {"b": "means the same", "c": "once survived"}) == (["a"], ["c"])


def test_every_listed_survivor_has_a_reason():
    assert all(reason.strip() for reason in mutate.listed().values())
