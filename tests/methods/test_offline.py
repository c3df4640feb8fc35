"""KTO, IPO and SLiC against the sums of their papers, and that cutting a batch up changes nothing."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny_lm import FewBatches, TinyLM, close, draw_groups, gradient
from torch import Tensor

from plumbline.core.batches import Batch, Group
from plumbline.core.errors import UserError
from plumbline.core.methods import Step
from plumbline.core.nouns import Tally
from plumbline.methods.ipo import ipo
from plumbline.methods.kto import felt_from, kto, weights
from plumbline.methods.slic import slic

PAIRS = draw_groups(seed=4, count=9, completions=2)
THUMBS = [replace(g, desirable=i % 3 > 0) for i, g in enumerate(draw_groups(seed=5, count=9, completions=1))]
TALLY = Tally(6, 3)


@pytest.fixture
def policy() -> TinyLM:
    return TinyLM(1)


@pytest.fixture
def reference() -> TinyLM:
    return TinyLM(2).requires_grad_(False)


def summed(policy: TinyLM, losses: list[Tensor], total: float) -> tuple[float, Tensor]:
    return gradient(policy, (Step(x, policy) for x in [torch.stack(losses).sum() / total]))


def gain(policy: TinyLM, reference: TinyLM, group: Group, completion: tuple[int, ...]) -> Tensor:
    return policy.one(group.prompt, completion).sum() - reference.one(group.prompt, completion).sum()


@pytest.mark.parametrize("turned", [False, True])
def test_kto_written_out(policy: TinyLM, reference: TinyLM, turned: bool):
    if turned:  # as the policy is far from the reference where the reference stands in for it, and the other way round
        policy, reference = TinyLM(2), TinyLM(1).requires_grad_(False)
    after = [*THUMBS[1:], THUMBS[0]]
    mismatched = [gain(policy, reference, g, other.completions[0]).item() for g, other in zip(THUMBS, after, strict=True)]
    z = max(0.0, sum(mismatched) / len(mismatched))
    losses = []
    for g in THUMBS:
        up = gain(policy, reference, g, g.completions[0]) - z
        lam = 1.0 if g.desirable else 6 / 3 / 1.2  # λ_D n_D = 1.2 λ_U n_U: the rarer is raised
        losses.append(g.weight * lam * (1 - torch.sigmoid(0.4 * (up if g.desirable else -up))))
    steps = kto(policy, reference, TALLY, FewBatches([THUMBS]), beta=0.4, ratio=1.2)
    close(gradient(policy, steps), summed(policy, losses, sum(g.weight for g in THUMBS)))


def test_the_point_is_never_below_zero_and_has_no_gradient(policy: TinyLM, reference: TinyLM):
    there, back = (felt_from(*pair, Batch(THUMBS)) for pair in ((policy, reference), (reference, policy)))
    assert (there > 0) != (back > 0)  # the mean of the one is that of the other, negated
    assert min(there, back) == 0.0
    (step,) = kto(policy, reference, TALLY, FewBatches([THUMBS]))
    assert step.metrics["kl"] == there
    assert felt_from(policy, policy, Batch(THUMBS)) == 0.0
    assert felt_from(policy, reference, Batch(THUMBS[:1])) == felt_from(reference, policy, Batch(THUMBS[:1])) == 0.0  # no other prompt


def test_mismatched_rows_are_prompts_with_the_next_one_s_completion():
    rows = Batch(THUMBS, micro_tokens=7).mismatched()
    assert [g.prompt for g in rows.groups] == [g.prompt for g in THUMBS]
    assert [g.completions for g in rows.groups] == [g.completions for g in (*THUMBS[1:], THUMBS[0])]
    assert rows.micro_tokens == 7


@pytest.mark.parametrize(("tally", "ratio"), [(Tally(10, 1), 1.0), (Tally(1, 10), 1.5), (Tally(7, 7), 1.2)])
def test_weights_balance_what_the_counts_do_not(tally: Tally, ratio: float):
    up, down = weights(tally, ratio)
    assert up * tally.desirable == pytest.approx(ratio * down * tally.undesirable)
    assert min(up, down) == 1.0
    assert weights(Tally(5, 0), ratio) == (1.0, 1.0)


@pytest.mark.parametrize("tau", [0.1, 0.7])
def test_ipo_written_out(policy: TinyLM, reference: TinyLM, tau: float):
    losses = []
    for g in PAIRS:
        up, down = (gain(policy, reference, g, c) / len(c) for c in g.completions)
        losses.append(g.weight * (up - down - (2 * g.preference - 1) / (2 * tau)) ** 2)
    close(gradient(policy, ipo(policy, reference, FewBatches([PAIRS]), tau=tau)), summed(policy, losses, sum(g.weight for g in PAIRS)))


def test_slic_written_out(policy: TinyLM):
    losses = []
    for g in PAIRS:
        up, down = (policy.one(g.prompt, c).sum() for c in g.completions)
        sure = 2 * g.preference - 1
        hinge = abs(sure) * torch.relu(2.0 - math.copysign(1, sure) * (up - down)) if sure else 0 * up
        losses.append(g.weight * (hinge - 0.3 * max(0.0, sure) * up))
    close(gradient(policy, slic(policy, FewBatches([PAIRS]), delta=2.0, nll=0.3)), summed(policy, losses, sum(g.weight for g in PAIRS)))


@pytest.mark.parametrize("micro_tokens", [1, 12, 25])
@pytest.mark.parametrize("name", ["kto", "ipo", "slic"])
def test_parts_change_nothing(policy: TinyLM, reference: TinyLM, name: str, micro_tokens: int):
    def run(**cut: int) -> tuple[float, Tensor]:
        data: Any = FewBatches([THUMBS if name == "kto" else PAIRS], **cut)
        made = {
            "kto": lambda: kto(policy, reference, TALLY, data),
            "ipo": lambda: ipo(policy, reference, data),
            "slic": lambda: slic(policy, data),
        }
        return gradient(policy, made[name]())

    close(run(micro_tokens=micro_tokens), run())


@pytest.mark.parametrize(
    ("method", "says"),
    [(kto(beta=0.0), "beta is 0"), (kto(ratio=2.0), "ratio is 2"), (ipo(tau=0.0), "tau is 0"), (slic(delta=0.0), "delta is 0")],
)
def test_impossible_settings_are_refused(method: Any, says: str):
    with pytest.raises(UserError, match=says):
        method.check()


@pytest.mark.parametrize("method", [ipo, slic])
def test_rankings_are_refused_by_row(policy: TinyLM, reference: TinyLM, method: Any):
    three = [Group((1,), ((2,), (3,), (4,)), row=7)]
    roles = (policy, reference) if method is ipo else (policy,)
    with pytest.raises(UserError, match="row 7 ranks 3 completions"):
        next(method(*roles, FewBatches([three])))
