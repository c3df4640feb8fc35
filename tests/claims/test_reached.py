"""Which code a row reaches, and when its hash moves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from plumbline.claims import board
from plumbline.claims.reached import PACKAGE, code, fingerprint, reached

FILES = {
    "__init__.py": "from pkg import far",  # the front door: not followed
    "row.py": "from pkg.a import f\nimport json\n",
    "a.py": "def f():\n    from .sub import b\n    return b\n",
    "sub/__init__.py": "from pkg.sub.c import x\n",
    "sub/b.py": "import numpy\n",
    "sub/c.py": "from ..d import y as x\n",
    "d.py": "y = 1\n",
    "far.py": "z = 1\n",
}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / "pkg" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "pkg"


def test_imports_are_followed_within_functions_packages_and_relative_names(package: Path):
    found = [p.relative_to(package).as_posix() for p in reached(package / "row.py", package)]
    assert found == ["a.py", "d.py", "row.py", "sub/__init__.py", "sub/b.py", "sub/c.py"]


def test_the_hash_moves_with_what_is_reached_and_with_nothing_else(package: Path):
    before = fingerprint(package / "row.py", package)
    (package / "far.py").write_text("z = 2\n")
    assert fingerprint(package / "row.py", package) == before
    (package / "d.py").write_text("y = 2222\n")
    after = fingerprint(package / "row.py", package)
    assert after != before
    (package / "weights").write_text("1")
    assert fingerprint(package / "row.py", package, [package / "weights"]) != after


def test_words_about_code_are_not_hashed_and_all_code_is():
    source = '''"""A module."""

# a remark
x = "# not a remark"


class C:
    """A class.

    Two paragraphs.
    """

    def f(self): return "text"  # why

    def g(self):
        r"""Raw."""
        """No docstring.

        # no remark
        """


def h(): "on the line of its def"; return 1
'''
    kept = [
        'x = "# not a remark"',
        "class C:",
        '    def f(self): return "text"  # why',
        "    def g(self):",
        '        """No docstring.',
        "",
        "        # no remark",
        '        """',
        'def h(): "on the line of its def"; return 1',
    ]
    assert code(source).split("\n") == kept


def test_everything_that_a_row_imports_is_reached():
    """The graph has all modules of ours that importing a row loads, but for the front door."""
    (entry,) = board.chosen("rlhf")
    start = PACKAGE.parent / Path(*entry.module.split(".")).with_suffix(".py")
    code = f"import sys, {entry.module}\nprint(*[m.__file__ for n, m in sys.modules.items() if n.split('.')[0] == 'plumbline'], sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    loaded = {Path(line) for line in done.stdout.split()} - {PACKAGE / "__init__.py"}
    assert len(loaded) > 30
    assert loaded - set(reached(start)) == set()
