"""Weak-to-strong learning: a strong student learns from the labels of a weaker supervisor, and, growing surer, from its own convictions.

    L = (1 − α) CE(f, f_w) + α CE(f, 1[f > t])          α rises from 0 to α_max: 0 throughout is the naive student

Burns et al. 2023, arXiv 2312.09390, eq. 1 and §4.3.2; f_w is the supervisor's probability, f = σ(r₁ − r₂) that the first of two replies
is better.   The paper's t lets f > t hold for as much of each batch as belongs to the class, half where the classes are balanced.   A
pair may stand in either order: in a batch with all its pairs turned round too, exactly half is above t = ½, and that is t here.   Of one
reply, f = σ(r) says that it is desirable, and t is read off the batch: the share above it is that of the weak labels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from plumbline.core.batches import Batch, Batches, Group, Part
from plumbline.core.errors import UserError
from plumbline.core.methods import State, Step, Steps, method
from plumbline.core.nouns import Comparison
from plumbline.losses.confidence import balanced_cut, confidence_loss, risen
from plumbline.models.likely import Likely
from plumbline.models.scalar import ScalarLM


@method(data=Comparison, paper="Burns et al. 2023, arXiv 2312.09390, eq. 1")
def weak_to_strong(model: ScalarLM | Likely, state: State, data: Batches, *, alpha: float = 0.75, rise: int = 50) -> Steps:
    """Fit the first head of `model` to weak labels, the preferences of comparisons: `alpha` is the weight of the student's own hardened
    predictions in the end (0: none, the naive student), `rise` the batches over which it grows to that, a fifth of them in the paper."""
    if not 0 <= alpha <= 1 or rise < 0:
        raise UserError(f"weak_to_strong: alpha is {alpha}, rise is {rise}", "Give alpha from 0 to 1, and rise of at least 0.")
    for batch in data:
        batches = state.state_dict().get("batches", 0)
        now = risen(alpha, batches, rise)
        cut = threshold(model, batch) if now else 0.0
        seen = []
        for part in batch.parts():
            raw_NC = model.scores(part)
            seen.append(raw_NC)
            margin_G, weak_G = log_odds(raw_NC, part), part.column("preference", like=raw_NC)
            loss_G, hard_G = confidence_loss(margin_G, weak_G, alpha=now, cut=cut)
            metrics = {"agrees": part.agrees(margin_G), "sure": torch.sigmoid(margin_G.abs()), "hardened": hard_G, "alpha": now}
            yield Step(part.per_example(loss_G), update=model, metrics=metrics)
        model.observe(seen, batch.mean)
        if torch.is_grad_enabled():  # an evaluation is no training
            state.batches = batches + 1


def log_odds(raw_NC: Tensor, part: Part) -> Tensor:
    """(G,) of the first head: r₁ − r₂ of two replies, r of one."""
    found, at = [], 0
    for group in part.groups:
        if len(group.completions) > 2:
            raise UserError(f"row {group.row} ranks {len(group.completions)} completions; this method compares two", "Split it into pairs.")
        first = raw_NC[at, 0]
        found.append(first - raw_NC[at + 1, 0] if len(group.completions) == 2 else first)
        at += len(group.completions)
    return torch.stack(found)


@torch.no_grad()
def said(model: ScalarLM | Likely, groups: Sequence[Group], micro_tokens: int = 8192) -> Tensor:
    """(G,) log-odds that a model gives to groups as they stand; every rank computes all of them."""
    found = torch.zeros(len(groups), dtype=torch.float64)
    for part, at in Batch(groups, micro_tokens=micro_tokens).cut():
        found[at] = log_odds(model.scores(part), part).double().cpu()
    return found


def threshold(model: ScalarLM | Likely, batch: Batch) -> float:
    """The log-odds of t: 0 among pairs, else what as many lie above as the weak labels expect."""
    sizes = {len(group.completions) for group in batch.groups}
    if sizes == {1}:
        share = sum(group.preference for group in batch.groups) / len(batch.groups)
        return balanced_cut(said(model, batch.groups, batch.micro_tokens), share)
    if 1 in sizes:
        raise UserError("rows of one reply and rows of two are in one batch", "Train on one kind of row at a time.")
    return 0.0
