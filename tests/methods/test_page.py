"""docs/add-a-method.md does what it says: its method and its test, taken from the page, run."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_lm import FewBatches, TinyLM

from plumbline.core.batches import Group

PAGE = Path(__file__).parents[2] / "docs" / "add-a-method.md"


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> tuple[Any, dict[str, Any]]:
    """The method's file as a module, under the name by which the test imports it, and what the test's file defines."""
    method, test = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), flags=re.M | re.S)
    module = types.ModuleType("plumbline.methods.simpo")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(method, "simpo.py", "exec"), vars(module))
    found: dict[str, Any] = {}
    exec(compile(test, "test_simpo.py", "exec"), found)
    return module, found


def test_the_page_s_tests_pass_and_can_fail(page: tuple[Any, dict[str, Any]]) -> None:
    module, found = page
    found["test_simpo_by_hand"]()
    found["test_simpo_refuses_a_negative_scale"]()
    for micro_tokens in (1, 12, 25):
        found["test_parts_of_simpo_change_nothing"](micro_tokens)
    wrong = module.simpo_loss
    found["simpo_loss"] = lambda logp_G2, p_G, *, beta, gamma: wrong(logp_G2.flip(1), p_G, beta=beta, gamma=gamma)
    with pytest.raises(AssertionError):
        found["test_simpo_by_hand"]()


def test_the_page_s_method_is_a_mean_over_pairs_that_heeds_how_sure_people_are(page: tuple[Any, dict[str, Any]]) -> None:
    simpo, policy = page[0].simpo, TinyLM(1)
    rows = [Group((1, 2), ((3, 4, 0), (5, 0)), preference=0.8), Group((2,), ((6, 0), (1, 1, 0)))]
    step = next(simpo(policy, FewBatches([rows]), beta=2.0, gamma=0.5))
    by_hand = torch.zeros((), dtype=torch.float64)
    for g in rows:
        up, down = (policy.one(g.prompt, c).mean() for c in g.completions)
        for p, margin in ((g.preference, 2.0 * (up - down)), (1 - g.preference, 2.0 * (down - up))):
            by_hand = by_hand - p * torch.nn.functional.logsigmoid(margin - 0.5) / 2
    assert step.loss.item() == pytest.approx(by_hand.item())
    assert step.updates == (policy,)
