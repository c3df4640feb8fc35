"""The command line starts without torch, and quickly."""

from __future__ import annotations

import json
import resource
import subprocess
import sys

import pytest

WATCHED = ("torch", "transformers", "numpy")


def cpu_seconds(argv: list[str]) -> float:
    """Processor time of a command: wall time says more about what else the machine does."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(argv, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)


@pytest.mark.parametrize("command", [["--help"], ["list"], ["list", "--json"], ["--version"]])
def test_light_commands_load_nothing_heavy(command):
    code = f"import sys\nfrom plumbline.cli.main import main\nmain({command!r})\nprint([m for m in {WATCHED!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("command", ["--help", "list"])
def test_light_commands_take_less_than_half_a_second(command):
    assert min(cpu_seconds([sys.executable, "-m", "plumbline", command]) for _ in range(3)) < 0.5


def test_import_plumbline_is_light_and_knows_its_names():
    code = "import sys, plumbline as pl\nassert 'torch' not in sys.modules\nprint({'load', 'train', 'dpo', 'sft'} <= set(dir(pl)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "True"


def test_list_names_every_method_with_its_data(command):
    code, found, _, _ = command("list", "--json")
    assert code == 0
    assert {m["name"]: m["data"] for m in found["methods"]}.items() >= {"sft": "Demo", "dpo": "Comparison"}.items()
    assert json.dumps(found)
