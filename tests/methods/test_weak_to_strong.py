"""Weak-to-strong learning against its sums: the naive student is a reward from soft labels, the confident one hardens its own views."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch
from tiny_lm import VOCAB, FewBatches, draw_groups
from torch import Tensor, nn

from plumbline.core.batches import Group, Part
from plumbline.core.errors import UserError
from plumbline.core.methods import State, Steps
from plumbline.methods.reward import reward
from plumbline.methods.weak_to_strong import said, threshold, weak_to_strong

PAIRS = [replace(g, preference=p) for g, p in zip(draw_groups(4, 8, 2), (0.9, 0.2, 0.5, 1.0, 0.0, 0.7, 0.6, 0.3), strict=True)]
SINGLE = [replace(g, preference=p) for g, p in zip(draw_groups(5, 8, 1), (0.9, 0.2, 0.5, 1.0, 0.0, 0.1, 0.2, 0.1), strict=True)]  # sum 3


class TinyScalar(nn.Module):
    """A number of a text from the mean embedding of its tokens."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        noise = torch.Generator().manual_seed(seed)
        self.embed = nn.Parameter(torch.randn(VOCAB, 4, generator=noise, dtype=torch.float64))
        self.head = nn.Parameter(torch.randn(4, 2, generator=noise, dtype=torch.float64))
        self.observed = 0

    def scores(self, part: Part) -> Tensor:
        rows = [self.embed[torch.tensor([*g.prompt, *c])].mean(0) for g in part.groups for c in g.completions]
        return torch.tanh(torch.stack(rows)) @ self.head

    def observe(self, raw: Sequence[Tensor], mean: Callable[[Tensor], Tensor]) -> None:
        self.observed += sum(map(len, raw))


def gradient(model: TinyScalar, steps: Steps) -> tuple[float, Tensor]:
    model.zero_grad()
    total = 0.0
    for step in steps:
        step.loss.backward()
        total += step.loss.item()
    return total, torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def close(a: tuple[float, Tensor], b: tuple[float, Tensor]) -> None:
    assert a[0] == pytest.approx(b[0], rel=1e-9)
    torch.testing.assert_close(a[1], b[1], rtol=1e-8, atol=1e-10)


def confident(model: TinyScalar, groups: Sequence[Group], alpha: float = 0.6, **cut: int) -> Steps:
    return weak_to_strong(model, State(), FewBatches([groups], **cut), alpha=alpha, rise=0)


def written_out(model: TinyScalar, groups: Sequence[Group], cut: float, alpha: float = 0.6) -> float:
    """Both cross-entropies apart, over plain numbers."""
    total = 0.0
    for group in groups:
        with torch.no_grad():
            score_K = model.scores(Part((group,), None))[:, 0]  # type: ignore[arg-type]
        odds = (score_K[0] - (score_K[1] if len(score_K) == 2 else 0)).item()
        yes, no = -math.log(1 / (1 + math.exp(-odds))), -math.log(1 / (1 + math.exp(odds)))
        weak, own = group.preference * yes + (1 - group.preference) * no, yes if odds > cut else no
        total += group.weight * ((1 - alpha) * weak + alpha * own)
    return total / sum(g.weight for g in groups)


def test_the_naive_student_is_a_reward_that_is_not_centred():
    model = TinyScalar(1)
    naive = gradient(model, weak_to_strong(model, State(), FewBatches([PAIRS]), alpha=0.0))  # type: ignore[arg-type]
    close(naive, gradient(model, reward(model, FewBatches([PAIRS]), centre=0.0)))  # type: ignore[arg-type]
    assert model.observed == 2 * 2 * len(PAIRS)


def test_pairs_are_hardened_at_one_half():
    model = TinyScalar(1)
    assert gradient(model, confident(model, PAIRS))[0] == pytest.approx(written_out(model, PAIRS, 0.0))


def test_single_replies_are_hardened_as_often_as_the_weak_labels_expect():
    model = TinyScalar(1)
    odds = sorted(said(model, SINGLE).tolist(), reverse=True)  # type: ignore[arg-type]
    middle = (odds[2] + odds[3]) / 2  # three of eight
    assert threshold(model, FewBatches([SINGLE]).made[0]) == pytest.approx(middle)  # type: ignore[arg-type]
    assert gradient(model, confident(model, SINGLE))[0] == pytest.approx(written_out(model, SINGLE, middle))


@pytest.mark.parametrize("rows", [PAIRS, SINGLE], ids=["pairs", "single replies"])
@pytest.mark.parametrize("micro_tokens", [1, 25])
@pytest.mark.parametrize("ranks", [1, 3])
def test_parts_and_ranks_change_nothing(rows: list[Group], micro_tokens: int, ranks: int):
    model = TinyScalar(1)
    pieces = [gradient(model, confident(model, rows, micro_tokens=micro_tokens, rank=r, ranks=ranks)) for r in range(ranks)]
    whole = gradient(model, confident(model, rows))
    close(whole, (sum(p[0] for p in pieces), torch.stack([p[1] for p in pieces]).sum(0)))


def test_the_order_of_a_pair_tells_the_student_nothing():
    model = TinyScalar(1)
    turned = [replace(g, completions=g.completions[::-1], preference=1 - g.preference) for g in PAIRS]
    close(gradient(model, confident(model, turned)), gradient(model, confident(model, PAIRS)))


def test_alpha_rises_with_the_batches_that_the_state_has_counted_and_not_with_evaluations():
    model, state = TinyScalar(1), State()
    seen = [s.metrics["alpha"] for s in weak_to_strong(model, state, FewBatches([PAIRS] * 4), alpha=0.8, rise=2)]  # type: ignore[arg-type]
    assert seen == pytest.approx([0.0, 0.4, 0.8, 0.8])
    with torch.no_grad():
        list(weak_to_strong(model, state, FewBatches([PAIRS]), alpha=0.8, rise=2))  # type: ignore[arg-type]
    assert state.batches == 4
    again = weak_to_strong(model, State(batches=1), FewBatches([PAIRS]), alpha=0.8, rise=2)  # type: ignore[arg-type]
    assert next(again).metrics["alpha"] == pytest.approx(0.4)


def test_refusals():
    model = TinyScalar(1)
    for bad in ({"alpha": 1.2}, {"alpha": -0.1}, {"rise": -1}):
        with pytest.raises(UserError, match="weak_to_strong: alpha"):
            weak_to_strong(**bad).check()
    with pytest.raises(UserError, match="ranks 3 completions"):
        next(confident(model, draw_groups(1, 2, 3)))
    with pytest.raises(UserError, match="one kind of row"):
        next(confident(model, [*PAIRS, *SINGLE]))
