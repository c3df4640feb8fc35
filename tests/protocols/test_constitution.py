"""The constitution file: what it may hold, what is wrong with it is said with its place, and principles are drawn by name, not by order."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from plumbline.core.errors import RowError, UserError
from plumbline.core.nouns import Prompt
from plumbline.protocols.constitution import Constitution, Principle, drawn_by, open_constitution


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.md"
    path.write_text(text)
    return path


def test_the_default_is_readable_and_every_principle_does_both():
    made = open_constitution("default")
    assert len(made.principles) >= 8
    assert made.critics == made.judges == made.principles
    assert made["no-harm"].compare == "Which reply gives less help to somebody who wants to do harm?"


def test_a_field_goes_on_over_lines_and_text_before_the_first_principle_is_for_people(tmp_path):
    kind = "## kind\ncritique: Say what\nis unkind: all of it.\nrevision: Mend it.\n\n"
    text = f"# Mine\nnote: for people\n\n{kind}## short\ncompare: Which is shorter?\n"
    made = open_constitution(written(tmp_path, text))
    assert made.principles == (
        Principle("kind", "Say what is unkind: all of it.", "Mend it."),
        Principle("short", compare="Which is shorter?"),
    )
    assert [p.id for p in made.critics] == ["kind"]
    assert [p.id for p in made.judges] == ["short"]


def test_a_byte_order_mark_and_other_line_ends_lose_no_principle(tmp_path):
    path = tmp_path / "mine.md"
    path.write_bytes("\ufeff## a\r\ncompare: x\r\n\r\n## b\r\ncompare: y\r\n".encode())
    assert open_constitution(path).principles == (Principle("a", compare="x"), Principle("b", compare="y"))


@pytest.mark.parametrize(
    ("text", "line", "field", "says"),
    [
        ("## a\ncritique: x\n", 1, "revision", "missing in 'a', which has a critique"),
        ("## a\nrevision: x\n", 1, "critique", "missing in 'a', which has a revision"),
        ("\n## a\n", 2, "(whole principle)", "asks nothing"),
        ("## a\ncompare: x\n## a\ncompare: y\n", 3, "(name)", "is that of line 1 too"),
        ("## No Harm\ncompare: x\n", 1, "(name)", "is 'No Harm'"),
        ("## a\ncompair: x\n", 2, "compair", "is no field"),
        ("## a\ncritique: x\nrevision: y\ncompair: z\n", 4, "compair", "is no field"),
        ("## a\ncompare: x\ncompare: y\n", 3, "compare", "there twice"),
        ("## a\ncompare:\n", 2, "compare", "is empty"),
        ("## a\nWhich is better?\n", 2, "(line)", "belongs to no field"),
    ],
)
def test_what_is_wrong_is_said_with_file_line_field_and_mend(tmp_path, text, line, field, says):
    path = written(tmp_path, text)
    with pytest.raises(RowError) as caught:
        open_constitution(path)
    assert (caught.value.file, caught.value.row, caught.value.field) == (str(path), line, field)
    assert says in caught.value.message
    assert caught.value.mend


def test_a_file_that_is_not_there_or_holds_nothing_is_refused(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        open_constitution(tmp_path / "none.md")
    with pytest.raises(UserError, match="holds no principle"):
        open_constitution(written(tmp_path, "# only a title\n"))


def test_the_same_seed_draws_the_same_principles_whatever_else_is_asked():
    made = Constitution(tuple(Principle(name, compare="?") for name in "abcd"))
    items = [Prompt("same words", id=f"p{i}") for i in range(2000)]
    drawn = [drawn_by(made.judges, 7, item, 0).id for item in items]
    assert [drawn_by(made.judges, 7, item, 0).id for item in reversed(items)] == drawn[::-1]
    for other in ([drawn_by(made.judges, 8, i, 0).id for i in items], [drawn_by(made.judges, 7, i, 1).id for i in items]):
        same = sum(a == b for a, b in zip(drawn, other, strict=True))
        assert 400 < same < 600  # a quarter by chance: 500 ± 5 standard deviations of 19
    assert all(400 < n < 600 for n in Counter(drawn).values())
