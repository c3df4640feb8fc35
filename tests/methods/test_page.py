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
    found: dict[str, Any] = {"torch": torch, "Tensor": torch.Tensor}
    exec(compile(loss, "loss", "exec"), found)
    monkeypatch.setattr(preference, "ipo_loss", found["ipo_loss"], raising=False)
    exec(compile(method, "method", "exec"), found)
    exec(compile(test, "test", "exec"), found)
    return found


def test_the_page_s_test_passes_and_can_fail(page: dict[str, Any]) -> None:
    page["test_ipo_by_hand"]()
    page["ipo_loss"] = lambda logp_N2, ref_N2, *, tau: (logp_N2 - ref_N2).diff()[:, 0] ** 2
    with pytest.raises(AssertionError):
        page["test_ipo_by_hand"]()


def test_the_page_s_method_steps_towards_its_constant(page: dict[str, Any]) -> None:
    ipo, policy = page["ipo"], TinyLM(1)
    rows = [Group((1, 2), ((3, 4, 0), (5, 0))), Group((2,), ((6, 0), (1, 1, 0)))]
    step = next(ipo(policy, TinyLM(1), FewBatches([rows]), tau=0.5))
    assert step.loss.item() == pytest.approx(1.0)  # the policy is the reference: (0 − 1/(2 · 0.5))², whatever the pair
    assert step.updates == (policy,)
    ipo.check()
    with pytest.raises(UserError, match=r"ipo: tau is -1\.0"):
        ipo(tau=-1.0).check()
