"""A bag of words against its own formula, and what it cannot be fitted to."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from rule_games import game, games

from plumbline.core.errors import UserError
from plumbline.core.nouns import Label
from plumbline.rewards.spec import parse
from plumbline.rewards.words import Words

UP = ["a fine day", "fine and glad", "a glad girl"]
DOWN = ["a sad day", "sad and lost", "a lost girl"]
LABELS = [Label("", text, text in UP) for text in (*UP, *DOWN)]


def test_the_score_is_the_formula():
    """Mirrored texts: θ of fine and glad is −θ of sad and lost, words of both sides and b weigh 0."""
    judge = Words.fit(LABELS)
    weight = dict(zip(judge.counts.get_feature_names_out(), judge.regression.coef_[0], strict=True))
    assert weight["fine"] == pytest.approx(-weight["sad"], abs=1e-3)
    assert [weight[w] for w in ("day", "girl", "and")] == pytest.approx([0, 0, 0], abs=1e-3)
    p = lambda z: 1 / (1 + math.exp(-z))  # noqa: E731
    found = judge(games("Fine, fine and glad!", "lost", "nothing known")).components["words"]
    assert found == pytest.approx([p(weight["fine"] + weight["glad"]), p(weight["lost"]), 0.5], abs=1e-3)
    assert judge([]).total == []


def test_the_weights_are_where_the_penalised_likelihood_is_flat():
    """Σ_n (y − p) x_w = θ_w / C, the gradient of the docstring's sum."""
    from plumbline.rewards.words import C

    judge = Words.fit(LABELS)
    p_N = judge([game(row.completion) for row in LABELS]).total
    for word, theta in zip(judge.counts.get_feature_names_out(), judge.regression.coef_[0], strict=True):
        pull = sum(row.desirable - p for row, p in zip(LABELS, p_N, strict=True) if word in row.completion.split())
        assert pull == pytest.approx(theta / C, abs=2e-3)


def test_by_its_name(tmp_path: Path):
    file = tmp_path / "labels.tsv"
    file.write_text("".join(f"{row.completion}\t{int(row.desirable)}\n" for row in LABELS))
    assert parse(f"words:{file}")(games("fine")).total == Words.fit(LABELS)(games("fine")).total


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([Label("", "fine", True)] * 2, "all labels are the same"),
        ([Label("", "one", True), Label("", "two", False)], "no word stands in 2 of the texts"),
    ],
)
def test_what_it_cannot_be_fitted_to(rows, says):
    with pytest.raises(UserError, match=says):
        Words.fit(rows)


def test_a_spec_without_a_file_says_so():
    with pytest.raises(UserError, match="names no file"):
        parse("words:")
