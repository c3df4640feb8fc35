"""Induction scores by hand, and of the shipped model: its heads are found, and without them it does not copy."""

from __future__ import annotations

import pytest
import torch

from plumbline.core.errors import UserError
from plumbline.interp.heads import by_lot, copying, induction_scores, repeated, strongest, without
from plumbline.models.hooks import Insides
from plumbline.models.lm import LM
from plumbline.pipelines.sources import PACKAGE

SHIPPED = PACKAGE / "world" / "models" / "s"
LENGTH = 16


@pytest.fixture(scope="module")
def town() -> Insides:
    if not (SHIPPED / "model.safetensors").is_file():
        pytest.skip("the shipped model s is not in this checkout: `plumbline world build --size s` makes it")
    return Insides.of(LM.load(SHIPPED, attn="dense"))


def rows(seed: int = 0) -> torch.Tensor:
    return repeated(range(20, 500), LENGTH, 8, seed, start=[1])


def test_rows_repeat_and_nothing_else_does() -> None:
    found = rows()
    assert found.shape == (8, 33)
    assert torch.equal(found[:, 1:17], found[:, 17:])
    assert all(len(set(row)) == 17 for row in found.tolist())
    assert not torch.equal(found, rows(seed=1))
    with pytest.raises(UserError, match="16 different"):
        repeated(range(5), 16, 1, 0)


def test_the_score_is_the_attention_to_what_followed(town: Insides) -> None:
    """Computed here place by place: the second a at 17 + i saw the first at 1 + i, and what followed it at 2 + i."""
    found = induction_scores(town, rows(), LENGTH)
    _, cache = town.run(rows(), keep=["blocks.1.attn.hook_pattern"])
    p = cache["blocks.1.attn.hook_pattern"]
    want = torch.stack([p[:, :, 17 + i, 2 + i] for i in range(LENGTH)]).mean((0, 1))
    torch.testing.assert_close(found[1], want)


def test_without_its_induction_heads_the_model_does_not_copy(town: Insides) -> None:
    scores = induction_scores(town, rows(), LENGTH)
    heads = strongest(scores, 2)
    assert all(scores[head] > 0.5 for head in heads)
    fresh = rows(seed=7)
    whole, cut = copying(town, fresh, LENGTH), copying(town, fresh, LENGTH, without(heads))
    other = copying(town, fresh, LENGTH, without(by_lot(scores, heads, 2, seed=0)))
    assert (whole - cut).mean() > 2 * (whole - other).mean()
    assert (whole - cut).mean() > 1  # nats a token


def test_strongest_and_others_by_lot() -> None:
    scores = torch.tensor([[0.1, 0.9, 0.0], [0.8, 0.2, 0.3]])
    assert strongest(scores, 2) == [(0, 1), (1, 0)]
    assert set(by_lot(scores, [(0, 1), (1, 0)], 4, seed=0)) == {(0, 0), (0, 2), (1, 1), (1, 2)}
