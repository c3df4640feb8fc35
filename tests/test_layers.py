"""Who may import whom (the table below is the design's), where torch and transformers may be, and what starts without torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "plumbline"

SIBLINGS = ("rewards", "protocols", "attacks", "interp", "values", "feedback")
BELOW_EVALS = ("core", "losses", "data", "world", "models", "engine", "methods", *SIBLINGS)
ALLOWED: dict[str, tuple[str, ...]] = {
    "core": (),
    "losses": (),
    "data": ("core",),
    "world": ("core", "data"),
    "models": ("core", "losses"),
    "engine": ("core", "models"),
    "methods": ("core", "losses", "models"),
    **dict.fromkeys(SIBLINGS, ("core", "losses", "data", "models")),
    "evals": BELOW_EVALS,
    "pipelines": (*BELOW_EVALS, "evals"),
    "claims": (*BELOW_EVALS, "evals", "pipelines"),
    "bench": (*BELOW_EVALS, "evals", "pipelines"),
    "cli": (*BELOW_EVALS, "evals", "pipelines", "claims", "bench", "web"),
    "web": (*BELOW_EVALS, "evals", "pipelines", "claims"),
    "": ("core", "models", "evals", "pipelines", "cli"),  # plumbline/__init__.py and __main__.py: the front door
}
WITHOUT_TORCH = ("core", "data", "world")
ONLY_IN_MODELS = ("transformers", "peft", "bitsandbytes")
# Runs in the environment of the libraries that we compare with, never in ours, and imports nothing of plumbline.
PEER_SCRIPTS = "bench/peer"


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full dotted name of everything that a file imports, wherever in the file."""
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) + 1 - node.level]) if node.level else ""
            module = ".".join(x for x in (base, node.module) if x)
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def layer_of(path: Path) -> str:
    """The folder of the package that a file belongs to, "" for the files beside the folders."""
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else ""


def faults(path: Path) -> list[str]:
    """What a file imports and may not."""
    layer, found = layer_of(path), []
    peer = path.relative_to(PACKAGE).as_posix().startswith(PEER_SCRIPTS)
    for line, name in imports(path):
        parts = name.split(".")
        ours = parts[1] if parts[0] == "plumbline" and len(parts) > 1 else ""
        if peer:
            bad = "a peer's script imports nothing of ours" if parts[0] == "plumbline" else ""
        elif ours in ALLOWED and ours not in (layer, "") and ours not in ALLOWED[layer]:
            bad = f"{layer or 'the front door'} may not import {ours}"
        elif parts[0] == "torch" and layer in WITHOUT_TORCH:
            bad = f"{layer} has no torch"
        elif parts[0] in ONLY_IN_MODELS and layer != "models":
            bad = f"{parts[0]} is imported only in models/"
        else:
            continue
        if bad:
            found.append(f"{path.relative_to(ROOT)}:{line} imports {name}: {bad}")
    return found


FILES = sorted(PACKAGE.rglob("*.py"))


def test_every_folder_has_its_place_in_the_table():
    assert {layer_of(p) for p in FILES} <= set(ALLOWED)


def test_imports_keep_to_the_table():
    assert [f for p in FILES for f in faults(p)] == []


@pytest.mark.parametrize(
    ("place", "line", "says"),
    [
        ("core/x.py", "import plumbline.models.lm", "core may not import models"),
        ("core/x.py", "from plumbline import models", "core may not import models"),
        ("losses/x.py", "from ..core.nouns import Demo", "losses may not import core"),
        ("world/x.py", "def f():\n    import torch", "world has no torch"),
        ("engine/x.py", "from transformers import AutoModel", "only in models/"),
        ("rewards/x.py", "from plumbline.values.x import y", "rewards may not import values"),
        ("models/x.py", "from plumbline.engine.drive import drive", "models may not import engine"),
    ],
)
def test_the_gate_sees_a_forbidden_import(tmp_path, monkeypatch, place, line, says):
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    monkeypatch.setitem(globals(), "PACKAGE", tmp_path / "plumbline")
    path = tmp_path / "plumbline" / place
    path.parent.mkdir(parents=True)
    path.write_text(line + "\n")
    found = faults(path)
    assert len(found) == 1
    assert says in found[0]


def modules_of(layer: str) -> list[str]:
    """Dotted names of a layer's files."""
    return [".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for p in FILES if layer_of(p) == layer]


def test_core_data_and_world_start_without_torch():
    wanted = [m for layer in WITHOUT_TORCH for m in modules_of(layer)]
    code = f"import importlib, sys\nfor m in {wanted!r}: importlib.import_module(m)\nprint('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
