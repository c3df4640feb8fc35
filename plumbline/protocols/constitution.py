"""A constitution: named principles by which a model criticises, mends and compares replies.   arXiv 2212.08073, §1.2 and app. C

    ## no-harm
    critique: Say which parts of your last reply could help somebody to do harm.
    revision: Write the reply again without them.
    compare: Which reply gives less help to somebody who wants to do harm?

A principle for critiques has `critique` and `revision`, one for comparisons `compare`; most have all three.   Which principle a step goes
by is drawn from (seed, item, step) alone: another item or another order of items changes no draw.
"""

from __future__ import annotations

import itertools
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from plumbline.core.errors import RowError, UserError
from plumbline.core.nouns import Prompt, plain

FIELDS = ("critique", "revision", "compare")
FOLDER = Path(__file__).parent
NAMED = {"default": FOLDER / "constitution.md", "town": FOLDER / "constitution-town.md"}
_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")


@dataclass(frozen=True, slots=True)
class Principle:
    """`critique` asks what is wrong with a reply, `revision` for a better one, `compare` which of two is better; "" where it does not."""

    id: str
    critique: str = ""
    revision: str = ""
    compare: str = ""


@dataclass(frozen=True, slots=True)
class Constitution:
    """Principles in the order of their file."""

    principles: tuple[Principle, ...]
    source: str = ""

    @property
    def critics(self) -> tuple[Principle, ...]:
        """Those by which a reply is criticised and revised."""
        return tuple(p for p in self.principles if p.critique)

    @property
    def judges(self) -> tuple[Principle, ...]:
        """Those by which two replies are compared."""
        return tuple(p for p in self.principles if p.compare)

    def __getitem__(self, id: str) -> Principle:
        """The principle of this name."""
        return next(p for p in self.principles if p.id == id)


def drawn_by(principles: Sequence[Principle], seed: int, item: Prompt, step: int) -> Principle:
    """The principle of a step: of equal chance, fixed by (seed, item, step)."""
    named = item.id or plain(item.context)
    return Random(zlib.crc32(f"{seed} {step} {named}".encode())).choice(principles)


def open_constitution(name: str | Path) -> Constitution:
    """`default`, `town`, or a file; what is wrong is said with file, line and field."""
    path = NAMED.get(str(name), Path(name))
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the constitution {name} cannot be read: {error}", "Give default, town, or a text file in UTF-8.") from error
    found = tuple(_principles(str(path), lines))
    if not found:
        raise UserError(f"{path} holds no principle", "Write one: a line `## name`, then `critique:` and `revision:`, or `compare:`.")
    return Constitution(found, str(path))


def _principles(file: str, lines: Sequence[str]) -> Iterator[Principle]:
    heads = [i for i, line in enumerate(lines) if line.startswith("## ")]
    first: dict[str, int] = {}
    for at, end in itertools.pairwise([*heads, len(lines)]):
        name = lines[at].removeprefix("## ").strip()
        if not _NAME.fullmatch(name):
            raise RowError(file, at + 1, "(name)", f"is {name[:40]!r}", "Name a principle in small letters, digits and hyphens.")
        if first.setdefault(name, at) != at:
            raise RowError(file, at + 1, "(name)", f"{name!r} is that of line {first[name] + 1} too", "Give every principle its own name.")
        yield _checked(file, at + 1, _principle(file, name, at + 1, lines[at + 1 : end]))


def _principle(file: str, name: str, start: int, lines: Sequence[str]) -> Principle:
    made, field = Principle(name), ""
    for number, line in enumerate((line.strip() for line in lines), start + 1):
        head, colon, rest = line.partition(":")
        if colon and re.fullmatch(r"\w+", head):
            if head not in FIELDS:
                mend = f"The fields are {', '.join(FIELDS)}; within a text, let no line begin with one word and a colon."
                raise RowError(file, number, head, "is no field of a principle", mend)
            if getattr(made, head):
                raise RowError(file, number, head, f"is there twice in {name!r}", "Keep one of them.")
            field, line = head, rest.strip()
            if not line:
                raise RowError(file, number, head, "is empty", "Write what is to be asked, or remove the line.")
        elif line and not field:
            raise RowError(file, number, "(line)", f"{line[:40]!r} belongs to no field", "Begin it with critique:, revision: or compare:.")
        if line:
            made = replace(made, **{field: f"{getattr(made, field)} {line}".strip()})
    return made


def _checked(file: str, line: int, made: Principle) -> Principle:
    if bool(made.critique) != bool(made.revision):
        has, lacks = ("critique", "revision") if made.critique else ("revision", "critique")
        raise RowError(file, line, lacks, f"is missing in {made.id!r}, which has a {has}", f"Write a {lacks}, or remove the {has}.")
    if not made.critique and not made.compare:
        raise RowError(file, line, "(whole principle)", f"{made.id!r} asks nothing", "Write critique and revision, or compare.")
    return made
