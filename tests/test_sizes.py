"""Sizes are alarms, not aims: method files ≤150 lines, any file ≤400, functions ≤50, README ≤150.   Split by idea, not to pass."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILE, METHOD, FUNCTION, README = 400, 150, 50, 150
SHORT = ("methods", "protocols")
FOLDERS = ("plumbline", "tests", "tools")


def too_long(path: Path) -> list[str]:
    """What is longer than its limit in one file."""
    text = path.read_text(encoding="utf-8")
    lines, limit = text.count("\n"), METHOD if path.parent.name in SHORT and "tests" not in path.parts else FILE
    found = [f"{path.name}: {lines} lines, limit {limit}"] if lines > limit else []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION:
                found.append(f"{path.name}:{node.lineno} {node.name}: {length} lines, limit {FUNCTION}")
    return found


def test_files_and_functions_are_short():
    paths = [p for folder in FOLDERS for p in sorted((ROOT / folder).rglob("*.py"))]
    assert [f"{p.relative_to(ROOT).parent}/{x}" for p in paths for x in too_long(p)] == []


def test_readme_is_short():
    assert (ROOT / "README.md").read_text(encoding="utf-8").count("\n") <= README


def test_the_gate_sees_what_is_too_long(tmp_path):
    short, long = tmp_path / "short.py", tmp_path / "long.py"
    short.write_text("def f():\n" + "    x = 1\n" * (FUNCTION - 1))
    long.write_text("def f():\n" + "    x = 1\n" * FUNCTION + "\n" * FILE)
    assert too_long(short) == []
    assert [x.split(":")[1] for x in too_long(long)] == [f" {FUNCTION + 1 + FILE} lines, limit {FILE}", "1 f"]
    method = tmp_path / "methods" / "m.py"
    method.parent.mkdir()
    method.write_text("x = 1\n" * (METHOD + 1))
    assert len(too_long(method)) == 1


def test_nothing_large_is_in_the_repository():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    large = {p.relative_to(ROOT).as_posix(): p.stat().st_size for p in paths if p.is_file() and p.stat().st_size > 200_000}
    weights = {name: size for name, size in large.items() if name.endswith(".safetensors")}
    assert set(large) == set(weights)
    assert sum(weights.values()) <= 16 * 2**20


def test_no_two_test_files_share_a_name():
    names = [p.name for p in sorted((ROOT / "tests").rglob("*.py")) if p.name != "conftest.py"]
    assert sorted(names) == sorted(set(names))  # pytest imports them by name alone
