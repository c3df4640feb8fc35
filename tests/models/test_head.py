"""The chunked vocabulary projection against the plain formula, with soft cap, scale, bias, temperature and frozen weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from plumbline.models import head
from plumbline.models.head import Scaling, token_logps


def plain(states: torch.Tensor, layer: nn.Linear, targets: torch.Tensor, s: Scaling) -> torch.Tensor:
    z = layer(states) * s.scale
    z = s.cap * torch.tanh(z / s.cap) if s.cap else z
    return torch.log_softmax(z / s.temperature, 1).gather(1, targets[:, None])[:, 0]


@pytest.mark.parametrize("scaling", [Scaling(), Scaling(scale=0.5, temperature=0.7), Scaling(cap=3.0, temperature=1.3, scale=2.0)], ids=str)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("frozen", [False, True])
def test_values_and_gradients(scaling: Scaling, bias: bool, frozen: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head, "CHUNK_NUMBERS", 16 * 50)  # 37 states in chunks of 16
    torch.manual_seed(0)
    layer = nn.Linear(8, 50, bias=bias).double()
    layer.requires_grad_(not frozen)
    states = torch.randn(37, 8, dtype=torch.float64, requires_grad=True)
    targets, weights = torch.randint(0, 50, (37,)), torch.randn(37)
    leaves = [states, *(p for p in layer.parameters() if p.requires_grad)]
    want = plain(states, layer, targets, scaling)
    want_grads = torch.autograd.grad((want * weights).sum(), leaves)
    got = token_logps(states, layer, targets, scaling)
    got_grads = torch.autograd.grad((got * weights).sum(), leaves)
    torch.testing.assert_close(got.double(), want, rtol=1e-6, atol=1e-6)
    for a, b in zip(got_grads, want_grads, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_a_head_that_is_no_plain_layer() -> None:
    torch.manual_seed(1)
    layer = nn.Linear(8, 50)
    states, targets = torch.randn(5, 8, requires_grad=True), torch.randint(0, 50, (5,))
    got = token_logps(states, nn.Sequential(layer), targets, Scaling(cap=2.0))
    torch.testing.assert_close(got, plain(states, layer, targets, Scaling(cap=2.0)))
    assert torch.autograd.grad(got.sum(), states)[0].abs().sum() > 0


def test_logits_of_all_tokens_are_never_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    # 64 states × 1,000 words in chunks of 16: whatever autograd keeps must not hold tokens × vocabulary numbers.
    monkeypatch.setattr(head, "CHUNK_NUMBERS", 16_000)
    layer, states = nn.Linear(8, 1000, bias=False), torch.randn(64, 8, requires_grad=True)
    kept: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        token_logps(states, layer, torch.zeros(64, dtype=torch.long), Scaling())
    assert max(kept) == 8000  # the weight itself
