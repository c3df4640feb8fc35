"""Pairs of which one is true: the same words but for facts, the true reply first, and nothing in the wording that tells which."""

from __future__ import annotations

import pytest

from plumbline.core.errors import UserError
from plumbline.core.nouns import Prompt
from plumbline.world import truths as file
from plumbline.world.language import words
from plumbline.world.truths import FAMILIES, load, truths
from plumbline.world.utility import gold

ROWS = truths(300, seed=3)


def test_the_first_is_worth_more_and_the_second_is_a_lie():
    for row in ROWS:
        true, false = (gold(Prompt(row.context, row.meta), text) for text in row.completions)
        assert true.honest == 1.0
        assert false.total == 0.0
        assert row.meta["totals"] == [true.total, false.total]
        assert row.preference == 1.0


def test_families_take_turns_and_splits_and_seeds_differ():
    assert [row.meta["family"] for row in ROWS[:6]] == [*FAMILIES, *FAMILIES]
    assert truths(20, seed=3) == ROWS[:20]
    assert truths(20, seed=4) != ROWS[:20]
    seen = {(str(row.context), row.meta["combo"]) for row in ROWS}
    assert not seen & {(str(row.context), row.meta["combo"]) for row in truths(100, split="heldout")}


def test_length_tells_nothing_and_most_pairs_differ_in_one_word():
    pairs = [[words(text) for text in row.completions] for row in ROWS]
    longer = [len(true) - len(false) for true, false in pairs]
    assert abs(sum(x > 0 for x in longer) - sum(x < 0 for x in longer)) < 0.1 * len(ROWS)
    alike = [[a != b for a, b in zip(true, false, strict=True)] for true, false in pairs if len(true) == len(false)]
    assert len(alike) > 0.7 * len(ROWS)
    assert sum(sum(apart) == 1 for apart in alike) > 0.7 * len(alike)


def test_words_alone_tell_three_of_four_pairs_apart_and_no_more():
    """Words weighed by how much oftener they are true than false in other rows: what is left takes more."""
    counts: dict[str, int] = {}
    for row in truths(800, seed=8):
        for sign, text in zip((1, -1), row.completions, strict=True):
            for word in words(text):
                counts[word] = counts.get(word, 0) + sign
    scores = [[sum(counts.get(w, 0) for w in words(text)) for text in row.completions] for row in ROWS]
    right = sum(0.5 if a == b else float(a > b) for a, b in scores) / len(ROWS)
    assert 0.65 < right < 0.8


def test_a_spec_names_them():
    assert load("town:truths?n=5&seed=3") == ROWS[:5]
    assert [row.meta["family"] for row in load("town:truths?n=3&families=fact,compare&split=validation")] == ["fact", "compare", "fact"]
    assert len(load("town:truths")) == 1000
    for bad, says in (("n=x", "n=x cannot be read"), ("k=2", "no key 'k'"), ("families=harm", "the family 'harm'"), ("n", "no key 'n'")):
        with pytest.raises(UserError, match=says):
            load(f"town:truths?{bad}")


def test_a_prompt_of_which_no_other_fact_is_false_gives_no_pair(monkeypatch):
    monkeypatch.setattr(file, "_falsified", lambda asked, town, chance: town)
    assert file._pair(file.prompt("train", 0, 3, ("fact",)), file.TOWN, 3, 0) is None
