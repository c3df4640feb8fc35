"""Demonstrations beside PPO's updates: their likelihood written out, which rows join which update."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny_lm import RUNNING, FewRounds, TinyLM, TinyValue, draw_groups, gradients
from torch import Tensor

from plumbline.core.errors import UserError
from plumbline.core.methods import State, Step
from plumbline.core.nouns import Game, Prompt, Scores
from plumbline.core.rollouts import Draw
from plumbline.methods.ppo import ppo
from plumbline.methods.ptx import Ptx

PROMPTS = [Prompt(text) for text in ("1", "2 3", "4 4 4", "5 1")]
DEMOS = draw_groups(3, 6, 1)


def score(games: Sequence[Game]) -> Scores:
    return Scores({"score": [float(len(g.turns[-1].reply.ids)) for g in games]})


def learn(ptx: Ptx, demos: Any = DEMOS, minibatches: int = 1) -> tuple[list[Step], Tensor, TinyLM]:
    """The steps of a round at temperature 1.5, the policy's gradient, and the policy."""
    policy, value, rounds = TinyLM(1), TinyValue(3), FewRounds([PROMPTS], replace(RUNNING, demos=demos))
    steps = ppo(
        policy, TinyLM(2).requires_grad_(False), score, value, State(), rounds, ptx=ptx, minibatches=minibatches, sampling=Draw(4, 1.5)
    )
    taken, (found, _) = gradients([policy, value], steps)
    return taken, found, policy


def test_written_out():
    # L = −γ Σ_rows w Σ_t log π(y_t) / Σ_rows w T, at temperature 1 whatever the samples' is
    taken, together, policy = learn(Ptx(coef=0.7, rows=6))
    total = sum(g.weight * len(g.completions[0]) for g in DEMOS)
    loss = -0.7 * sum((g.weight * policy.one(g.prompt, g.completions[0]).sum() for g in DEMOS), torch.zeros(())) / total
    assert [step.update for step in taken].count(policy) == 2
    assert taken[-1].loss.item() == pytest.approx(loss.item(), rel=1e-12)
    _, alone, _ = learn(Ptx(coef=0.0))
    expected = torch.cat([x.flatten() for x in torch.autograd.grad(loss, list(policy.parameters()))])
    torch.testing.assert_close(together - alone, expected, rtol=1e-9, atol=1e-12)


def test_without_demonstrations_or_weight_nothing_is_added():
    (none, found, _), (zero, other, _) = learn(Ptx(coef=1.0), demos=()), learn(Ptx(coef=0.0))
    assert len(none) == len(zero) == 2
    assert torch.equal(found, other)


def test_each_update_has_other_rows_and_a_round_drawn_again_the_same():
    def rows() -> list[list[int]]:
        rollout = next(iter(FewRounds([PROMPTS], replace(RUNNING, demos=DEMOS)))).sample(TinyLM(1))
        return [[g.row for g in rollout.demonstrations(2).groups] for _ in range(8)]

    found = rows()
    assert found == rows()
    assert len({tuple(r) for r in found}) > 4
    assert all(len(set(r)) == 2 for r in found)  # no row twice in an update
    assert {row for r in found for row in r} == {g.row for g in DEMOS}
    taken, *_ = learn(Ptx(rows=99), minibatches=2)
    assert sum("ptx_nll" in step.metrics for step in taken) == 2  # once in each of the two updates


@pytest.mark.parametrize("settings", [{"coef": -0.1}, {"rows": 0}])
def test_settings_that_mean_nothing_are_refused(settings: dict[str, Any]):
    with pytest.raises(UserError, match="ppo: Ptx"):
        Ptx(**settings)
