"""A policy small enough to differentiate by hand, and batches without an engine."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from plumbline.core.batches import Batch, Group, Part
from plumbline.core.methods import Step, Steps
from plumbline.core.nouns import Prompt, Reply, Sampling
from plumbline.core.rollouts import Round, Running

VOCAB = 7
RUNNING = Running(seed=5)


class Digits:
    """A tokenizer for contexts like "3 1 4"."""

    def context_ids(self, context: Any) -> list[int]:
        return [int(word) for word in context.split()]


class TinyLM(nn.Module):
    """Next token from the mean embedding of all tokens before it: enough for every token to depend on its whole past."""

    name, tokenizer = "policy", Digits()

    def __init__(self, seed: int) -> None:
        super().__init__()
        noise = torch.Generator().manual_seed(seed)
        self.embed = nn.Parameter(torch.randn(VOCAB, 4, generator=noise, dtype=torch.float64))
        self.project = nn.Parameter(torch.randn(4, VOCAB, generator=noise, dtype=torch.float64))

    def logits(self, ids: Sequence[int]) -> Tensor:
        """(L, V): what each token says of the next."""
        past = torch.arange(1, len(ids) + 1, dtype=torch.float64)[:, None]
        return torch.tanh(self.embed[torch.tensor(ids)].cumsum(0) / past) @ self.project

    def one(self, prompt: Sequence[int], completion: Sequence[int], *, temperature: float = 1.0) -> Tensor:
        """Log-probability of each token of one completion."""
        ids = [*prompt, *completion]
        logits = self.logits(ids) / temperature
        rows = range(len(prompt) - 1, len(ids) - 1)
        return torch.stack([logits[t].log_softmax(-1)[ids[t + 1]] for t in rows])

    def token_logps(self, part: Part, *, temperature: float = 1.0) -> Tensor:
        """(N, T), padded with a value that no loss may ever see."""
        rows = [self.one(g.prompt, c, temperature=temperature) for g in part.groups for c in g.completions]
        return nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=1e6)

    def sample(self, prompts: Sequence[Prompt], n: int, sampling: Sampling) -> list[list[Reply]]:
        """Replies end with token 0; the noise of each is named by (seed, prompt, sample)."""
        return [[self._reply(self.tokenizer.context_ids(p.context), k, sampling) for k in range(n)] for p in prompts]

    @torch.no_grad()
    def _reply(self, prompt: Sequence[int], k: int, sampling: Sampling) -> Reply:
        noise = torch.Generator().manual_seed(hash((sampling.seed, *prompt, k)) % 2**63)
        ids: list[int] = []
        nats: list[float] = []
        while len(ids) < sampling.max_tokens and ids[-1:] != [0]:
            logp_V = (self.logits([*prompt, *ids])[-1] / sampling.temperature).log_softmax(-1)
            ids.append(int(torch.multinomial(logp_V.exp(), 1, generator=noise)))
            nats.append(float(logp_V[ids[-1]]))
        return Reply(" ".join(map(str, ids)), tuple(ids), tuple(nats), finish="stop" if ids[-1] == 0 else "length")


class TinyValue(TinyLM):
    """A critic: the first logit of the token before."""

    def of(self, prompt: Sequence[int], completion: Sequence[int]) -> Tensor:
        """Value before each token of one completion."""
        return self.logits([*prompt, *completion])[len(prompt) - 1 : -1, 0]

    def values(self, part: Part) -> Tensor:
        """(N, T), padded as `token_logps`."""
        rows = [self.of(g.prompt, c) for g in part.groups for c in g.completions]
        return nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=-1e6)


class FewBatches:
    """The given optimiser batches, cut in parts of `micro_tokens`."""

    def __init__(self, batches: Sequence[Sequence[Group]], *, micro_tokens: int = 10**6, rank: int = 0, ranks: int = 1) -> None:
        self.made = [Batch(groups, micro_tokens=micro_tokens, rank=rank, ranks=ranks) for groups in batches]

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.made)


class FewRounds:
    """The given rounds of prompts; `running` says how each is carried out."""

    def __init__(self, rounds: Sequence[Sequence[Prompt]], running: Running = RUNNING) -> None:
        self.made = [Round(tuple(prompts), running) for prompts in rounds]

    def __iter__(self) -> Iterator[Round]:
        return iter(self.made)


def gradients(roles: Sequence[TinyLM], steps: Steps) -> tuple[list[Step], list[Tensor]]:
    """The steps, and a flat gradient for each role, as the engine accumulates them; nothing is updated."""
    for role in roles:
        role.zero_grad()
    taken = []
    for step in steps:
        step.loss.backward(inputs=[p for role in step.updates for p in role.parameters()])
        taken.append(step)
    return taken, [
        torch.cat([torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in r.parameters()]) for r in roles
    ]


def gradient(policy: TinyLM, steps: Steps) -> tuple[float, Tensor]:
    """Loss and flat gradient of all steps together, as the engine accumulates them."""
    policy.zero_grad()
    total = 0.0
    for step in steps:
        assert step.update is policy
        step.loss.backward()
        total += step.loss.item()
    return total, torch.cat([p.grad.flatten() for p in policy.parameters() if p.grad is not None])


def close(a: tuple[float, Tensor], b: tuple[float, Tensor]) -> None:
    """Assert that two losses and their gradients are equal but for rounding."""
    assert a[0] == pytest.approx(b[0], rel=1e-12)
    torch.testing.assert_close(a[1], b[1], rtol=1e-10, atol=1e-12)


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
