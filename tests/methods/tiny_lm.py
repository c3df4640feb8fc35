"""A policy small enough to differentiate by hand, and batches without an engine."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from plumbline.core.batches import Batch, Group, Part
from plumbline.core.methods import Steps

VOCAB = 7


class TinyLM(nn.Module):
    """Next token from the mean embedding of all tokens before it: enough for every token to depend on its whole past."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        noise = torch.Generator().manual_seed(seed)
        self.embed = nn.Parameter(torch.randn(VOCAB, 4, generator=noise, dtype=torch.float64))
        self.project = nn.Parameter(torch.randn(4, VOCAB, generator=noise, dtype=torch.float64))

    def one(self, prompt: Sequence[int], completion: Sequence[int]) -> Tensor:
        """Log-probability of each token of one completion."""
        ids = torch.tensor([*prompt, *completion])
        past = torch.arange(1, len(ids) + 1, dtype=torch.float64)[:, None]
        logits = torch.tanh(self.embed[ids].cumsum(0) / past) @ self.project
        rows = range(len(prompt) - 1, len(ids) - 1)
        return torch.stack([logits[t].log_softmax(-1)[ids[t + 1]] for t in rows])

    def token_logps(self, part: Part) -> Tensor:
        """(N, T), padded with a value that no loss may ever see."""
        rows = [self.one(g.prompt, c) for g in part.groups for c in g.completions]
        return nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=1e6)


class FewBatches:
    """The given optimiser batches, cut in parts of `micro_tokens`."""

    def __init__(self, batches: Sequence[Sequence[Group]], *, micro_tokens: int = 10**6, rank: int = 0, ranks: int = 1) -> None:
        self.made = [Batch(groups, micro_tokens=micro_tokens, rank=rank, ranks=ranks) for groups in batches]

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.made)


def gradient(policy: TinyLM, steps: Steps) -> tuple[float, Tensor]:
    """Loss and flat gradient of all steps together, as the engine accumulates them."""
    policy.zero_grad()
    total = 0.0
    for step in steps:
        assert step.update is policy
        step.loss.backward()
        total += step.loss.item()
    return total, torch.cat([p.grad.flatten() for p in policy.parameters() if p.grad is not None])


def draw_groups(seed: int, count: int, completions: int) -> list[Group]:
    """Random groups of different lengths, weights and preferences (the first few are ties)."""
    rng = random.Random(seed)

    def ids(longest: int) -> tuple[int, ...]:
        return tuple(rng.randrange(VOCAB) for _ in range(rng.randint(1, longest)))

    made = []
    for i in range(count):
        preference = 0.5 if i < 2 else rng.choice([1.0, 0.9, 0.3])
        texts = tuple(ids(5) for _ in range(completions))
        made.append(Group(ids(6), texts, weight=rng.choice([1.0, 0.5, 2.0]), preference=preference, row=i + 1))
    return made
