"""What code a row reaches, read from the source without importing it, and its hash: a row is as old as the code that made its numbers.

Docstrings and lines of comment are left out of the hash: they make no number, and are to be mended without running a row again.
Followed are the imports of plumbline's own modules, those inside functions too.   What is imported by a name that is made at run time
is not seen, so a row imports the methods that it trains.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
FRONT_DOOR = ("__init__.py", "__main__.py")  # the package's own: they import nothing by themselves


def reached(start: Path, package: Path = PACKAGE) -> list[Path]:
    """The files that `start` reaches, itself among them, in order of name."""
    found, waiting = {start}, [start]
    while waiting:
        source = waiting.pop()
        for file in _imported(source, package, source.stat().st_mtime_ns):
            if file not in found:
                found.add(file)
                waiting.append(file)
    return sorted(found)


def fingerprint(start: Path, package: Path = PACKAGE, also: Iterable[Path] = ()) -> str:
    """Hash of the names and contents of all that `start` reaches, and of the files in `also` (weights, data)."""
    digest = hashlib.sha256()
    for file in [*reached(start, package), *sorted(also)]:
        digest.update(f"{file.relative_to(package).as_posix()}\n".encode())
        digest.update(_hash(file, file.stat().st_mtime_ns))
    return digest.hexdigest()[:16]


@cache
def _hash(file: Path, _changed: int) -> bytes:
    said = code(file.read_text(encoding="utf-8")).encode() if file.suffix == ".py" else file.read_bytes()
    return hashlib.sha256(said).digest()


def code(source: str) -> str:
    """The lines of a Python file, but for docstrings, comments that stand alone, and blank lines."""
    lines, words, held = source.split("\n"), set[int](), set[int]()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant | ast.JoinedStr) and node.lineno != node.end_lineno:
            held |= _lines(node)  # within a text a # is no comment
        elif isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(node) is not None:
            words |= _lines(node.body[0]) if lines[node.body[0].lineno - 1].lstrip()[:1] in "\"'rR" else set()  # alone on its lines
    said = {n for n, line in enumerate(lines) if line.strip() and not line.lstrip().startswith("#")}
    return "\n".join(lines[n] for n in sorted((said | held) - words))


def _lines(node: ast.expr | ast.stmt) -> set[int]:
    """Counted from 0."""
    return set(range(node.lineno - 1, node.end_lineno or node.lineno))


@cache
def _imported(file: Path, package: Path, _changed: int) -> tuple[Path, ...]:
    """Files of the package that a file imports, with the `__init__` of the folders on the way."""
    found: dict[Path, None] = {}
    for name in _names(file, package):
        parts = name.split(".")
        if parts[0] != package.name:
            continue
        for end in range(1, len(parts) + 1):
            place = package.joinpath(*parts[1:end])
            for path in (place.with_suffix(".py"), place / "__init__.py"):
                if path.is_file() and not (path.parent == package and path.name in FRONT_DOOR):
                    found[path] = None
    return tuple(found)


def _names(file: Path, package: Path) -> Iterator[str]:
    """Dotted names of all that is imported; of `from a import b` both a and a.b, as b may be a module."""
    folders = (package.name, *file.relative_to(package).parent.parts)
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = folders[: len(folders) + 1 - node.level] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)
