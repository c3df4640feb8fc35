"""docs/add-a-method.md does what it says: its loss, its method and its test, taken from the page, run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_lm import FewBatches, TinyLM

from plumbline.core.batches import Group
from plumbline.core.errors import UserError
from plumbline.losses import preference

PAGE = Path(__file__).parents[2] / "docs" / "add-a-method.md"


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the three blocks define, the loss where the method looks for it."""
    loss, method, test = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), flags=re.M | re.S)
    found: dict[str, Any] = {"torch": torch, "F": torch.nn.functional, "Tensor": torch.Tensor}
    exec(compile(loss, "loss", "exec"), found)
    monkeypatch.setattr(preference, "simpo_loss", found["simpo_loss"], raising=False)
    exec(compile(method, "method", "exec"), found)
    exec(compile(test, "test", "exec"), found)
    return found


def test_the_page_s_test_passes_and_can_fail(page: dict[str, Any]) -> None:
    page["test_simpo_by_hand"]()
    page["simpo_loss"] = lambda logp_N2, *, beta, gamma: beta * logp_N2.diff()[:, 0].abs() + gamma
    with pytest.raises(AssertionError):
        page["test_simpo_by_hand"]()


def test_the_page_s_method_is_a_mean_over_pairs(page: dict[str, Any]) -> None:
    simpo, policy = page["simpo"], TinyLM(1)
    rows = [Group((1, 2), ((3, 4, 0), (5, 0))), Group((2,), ((6, 0), (1, 1, 0)))]
    step = next(simpo(policy, FewBatches([rows]), beta=2.0, gamma=0.5))
    means = [[policy.one(g.prompt, c).mean() for c in g.completions] for g in rows]
    by_hand = sum(-torch.nn.functional.logsigmoid(2.0 * (up - down) - 0.5) for up, down in means) / 2
    assert isinstance(by_hand, torch.Tensor)
    assert step.loss.item() == pytest.approx(by_hand.item())
    assert step.updates == (policy,)
    simpo.check()
    with pytest.raises(UserError, match=r"simpo: beta is -1\.0"):
        simpo(beta=-1.0).check()
