"""A policy small enough to follow by hand, with what the engine needs of one: parameters, state and token log-probabilities."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from plumbline.core.batches import Batches, Group, Part
from plumbline.core.methods import State, Step, Steps

VOCABULARY = 11


class TinyPolicy:
    """p(next | last token) = softmax(W₂ dropout(tanh(E[last]))): dropout makes the random stream matter."""

    def __init__(self, seed: int = 0, *, dropout: float = 0.1) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.model = nn.Sequential(nn.Embedding(VOCABULARY, 8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, VOCABULARY))

    def parameters(self) -> list[nn.Parameter]:
        return list(self.model.parameters())

    def state_dict(self) -> dict[str, Any]:
        return self.model.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state)

    def save(self, folder: Path) -> None:
        folder.mkdir()
        save_file(self.model.state_dict(), folder / "model.safetensors")

    def token_logps(self, part: Part | Sequence[Group]) -> torch.Tensor:
        groups = part.groups if isinstance(part, Part) else part
        rows = [((*g.prompt[-1:], *c[:-1]), c) for g in groups for c in g.completions]
        width = max(len(c) for _, c in rows)
        before_NT = torch.tensor([[*b, *[0] * (width - len(b))] for b, _ in rows])
        ids_NT = torch.tensor([[*c, *[0] * (width - len(c))] for _, c in rows])
        mask_NT = torch.tensor([[1.0] * len(c) + [0.0] * (width - len(c)) for _, c in rows])
        logps_NTV = self.model(before_NT).log_softmax(-1)
        return logps_NTV.gather(-1, ids_NT[..., None])[..., 0] * mask_NT

    def logps(self, part: Part) -> torch.Tensor:
        return part.sum(self.token_logps(part))

    def sample(self, prompts: Sequence[Group]) -> list[tuple[int, ...]]:
        """Two tokens per prompt, from torch's stream."""
        with torch.no_grad():
            found = []
            for group in prompts:
                first = int(torch.multinomial(self.model(torch.tensor(group.prompt[-1])).softmax(-1), 1))
                found.append((first, int(torch.multinomial(self.model(torch.tensor(first)).softmax(-1), 1))))
            return found

    def frozen(self) -> TinyPolicy:
        copy = TinyPolicy(dropout=0.0)
        copy.load_state_dict(self.state_dict())
        for p in copy.parameters():
            p.requires_grad_(False)
        return copy

    def bits(self) -> bytes:
        return b"".join(p.detach().numpy().tobytes() for p in self.model.parameters())


def groups(count: int = 20, *, completions: int = 1, seed: int = 0) -> list[Group]:
    """Random groups of unequal lengths; each is its own row."""
    draw = random.Random(seed)

    def ids(most: int) -> tuple[int, ...]:
        return tuple(draw.randrange(VOCABULARY) for _ in range(draw.randint(1, most)))

    return [Group(ids(4), tuple(ids(6) for _ in range(completions)), row=i + 1) for i in range(count)]


def imitate(policy: TinyPolicy, data: Batches) -> Steps:
    """Maximum likelihood, as sft."""
    for batch in data:
        for part in batch.parts():
            logp_NT = policy.token_logps(part)
            yield Step(part.per_token(-logp_NT), update=policy, metrics={"logp": logp_NT.sum(1)})


def rollouts(policy: TinyPolicy, anchor: State, data: Batches) -> Steps:
    """REINFORCE on samples of its own, rewarded for even tokens, with a running mean as baseline: a method with state."""
    for batch in data:
        sampled = policy.sample(batch.groups)
        reward = sum(t % 2 == 0 for row in sampled for t in row) / (2 * len(sampled))
        anchor.mean = 0.9 * anchor.mean + 0.1 * reward
        played = [Group(g.prompt, (row,)) for g, row in zip(batch.groups, sampled, strict=True)]
        part = Part(tuple(played), batch.totals)
        logp_N1 = policy.logps(part)
        advantage = torch.tensor([sum(t % 2 == 0 for t in row) / 2 for row in sampled]) - anchor.mean
        yield Step(part.per_example(-advantage * logp_N1[:, 0]), update=policy, metrics={"reward": reward})
