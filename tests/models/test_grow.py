"""A grown model is at first the same function, and every weight that is new can learn."""

from pathlib import Path

import pytest
import torch

from plumbline.core.batches import Group
from plumbline.core.errors import UserError
from plumbline.models.fresh import fresh
from plumbline.models.grow import grow
from plumbline.models.lm import LM

WORDS = tuple(f"w{i}" for i in range(40))
GROUPS = [Group((1, 9, 12, 30), ((8, 41, 11), (33, 9))), Group((1, 20), ((21, 22, 23, 24, 2),))]


def sharpened(path: Path) -> Path:
    """Fresh weights, ten times as large, so that the function is far from uniform."""
    lm = LM.load(fresh(path, WORDS, hidden=16, layers=2, heads=2, ffn=24, context=64, seed=3))
    with torch.no_grad():
        for name, weight in lm.model.named_parameters():
            weight.mul_(1.3 if "norm" in name else 10)
    lm.save(path)
    return path


def test_the_function_is_kept(tmp_path: Path) -> None:
    small = sharpened(tmp_path / "small")
    large = grow(small, tmp_path / "large", hidden=40, layers=4, heads=5, ffn=31, seed=1)
    before, after = (LM.load(p).token_logps(GROUPS).detach() for p in (small, large))
    assert before.std() > 1
    assert torch.allclose(before, after, atol=1e-4)


def test_no_new_weight_is_dead(tmp_path: Path) -> None:
    small = sharpened(tmp_path / "small")
    lm = LM.load(grow(small, tmp_path / "large", hidden=40, layers=3, heads=5, ffn=31, seed=1))
    old = LM.load(small).model.state_dict()
    for _ in range(2):  # what reads gets its gradient once what writes is no longer 0
        lm.model.zero_grad()
        lm.token_logps(GROUPS).sum().backward()
        with torch.no_grad():
            for weight in lm.model.parameters():
                weight += 1e-2 * weight.grad.sign()
    for name, weight in lm.model.named_parameters():
        new = weight.grad.clone()
        if name in old:
            new[tuple(slice(0, n) for n in old[name].shape)] = 0
        assert new.abs().sum() > 0, name


def test_what_cannot_grow_is_refused(tmp_path: Path) -> None:
    small = sharpened(tmp_path / "small")
    with pytest.raises(UserError, match="cannot grow"):
        grow(small, tmp_path / "narrow", hidden=8, layers=2, heads=1, ffn=24)
    with pytest.raises(UserError, match="hidden / heads"):
        grow(small, tmp_path / "other", hidden=32, layers=2, heads=8, ffn=24)
