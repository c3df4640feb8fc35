"""Every command of README.md does what it says, at a reduced budget through documented flags; every link leads somewhere."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from plumbline.cli.main import main
from plumbline.pipelines.sources import PACKAGE

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SMALL = "--seeds 1 --demos 32 --comparisons 32 --prompts 26"
REDUCED = {
    "make demo": f'ARGS="{SMALL} --out {{here}}/demo"',
    "make test": "TESTS=tests/test_sizes.py",
    "plumbline quickstart": SMALL,
    "plumbline train": "--steps 1 --batch 4 --eval_data town:prompts?n=8",
    "plumbline eval": "--prompts 26",
}
# A fresh clone has no environment for `make` to prepare again: this one is taken as ready.
READY = ("-o", ".venv/.ready", f"BIN={Path(sys.executable).parent}")


def blocks(language: str) -> list[str]:
    """The README's code blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.M | re.S)


COMMANDS = [line for block in blocks("sh") for line in block.splitlines() if line.strip()]


def reduced(line: str, here: Path) -> list[str]:
    """The command with what makes it small."""
    more = " ".join(extra.format(here=here) for start, extra in REDUCED.items() if line.startswith(start))
    return shlex.split(f"{line} {more}")


@pytest.fixture(scope="module")
def shipped():
    if not (PACKAGE / "world" / "models" / "s" / "model.safetensors").is_file():
        pytest.skip("the shipped model s is not in this checkout: `plumbline world build --size s` makes it")


def test_the_readme_has_the_commands_that_the_project_promises():
    assert COMMANDS[:2] == ["make demo", "make test"]
    assert {line.split()[1] for line in COMMANDS if line.startswith("plumbline")} >= {
        "list",
        "train",
        "eval",
        "score",
        "export",
        "data",
        "open",
    }


def test_every_link_leads_somewhere():
    docs = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    links = [(doc, link) for doc in docs for link in re.findall(r"\]\((?!https?:)([^)#]+)", doc.read_text(encoding="utf-8"))]
    paths = [(ROOT / "README.md", place.strip("`/")) for place in re.findall(r"`plumbline/[\w/.]+`", README)]
    assert [(doc.name, link) for doc, link in [*links, *paths] if not (doc.parent / link).exists()] == []


def test_every_command_of_the_readme_runs_in_order(tmp_path, monkeypatch, shipped):
    monkeypatch.chdir(tmp_path)
    said = [("where does mira live?", "in the mill.", "no."), ("who is it?", "i do not know.", "mira."), ("yes?", "yes.", "no.")]
    rows = [{"prompt": [{"role": "user", "content": p}], "chosen": c, "rejected": r} for p, c, r in said]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows * 4))
    for line in COMMANDS:
        words = reduced(line, tmp_path)
        if words[0] == "make":
            done = subprocess.run(["make", "-C", str(ROOT), *READY, *words[1:]], capture_output=True, text=True)
            assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        else:
            assert main(words[1:]) == 0, line
    assert (tmp_path / "exported" / "model.safetensors").is_file()
    assert len((tmp_path / "runs" / "b-scores" / "scores.jsonl").read_text().splitlines()) == 12
    said_by_python = io.StringIO()
    with contextlib.redirect_stdout(said_by_python):
        for block in blocks("python"):
            exec(compile(block.replace('on="town"', 'on="town", prompts=26'), "README.md", "exec"), {})
    assert re.search(r"[+-]\d\.\d\d \[-?\d\.\d\d, -?\d\.\d\d\], n=\d+", said_by_python.getvalue())
