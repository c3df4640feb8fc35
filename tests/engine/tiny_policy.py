"""A policy small enough to follow by hand, with what the engine needs of one: parameters, state and token log-probabilities."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from plumbline.core.batches import Batches, Group, Part
from plumbline.core.methods import State, Step, Steps
from plumbline.core.nouns import Comparison, Game, Prompt, Reply, Sampling, Scores

VOCABULARY = 11


class Digits:
    """A tokenizer for contexts like "3 1 4"."""

    def context_ids(self, context: Any) -> list[int]:
        return [int(word) for word in context.split()]


class TinyPolicy:
    """p(next | last token) = softmax(W₂ dropout(tanh(E[last]))): dropout makes the random stream matter."""

    name, tokenizer = "policy", Digits()

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

    def token_logps(self, part: Part | Sequence[Group], *, temperature: float = 1.0) -> torch.Tensor:
        groups = part.groups if isinstance(part, Part) else part
        rows = [((*g.prompt[-1:], *c[:-1]), c) for g in groups for c in g.completions]
        width = max(len(c) for _, c in rows)
        before_NT = torch.tensor([[*b, *[0] * (width - len(b))] for b, _ in rows])
        ids_NT = torch.tensor([[*c, *[0] * (width - len(c))] for _, c in rows])
        mask_NT = torch.tensor([[1.0] * len(c) + [0.0] * (width - len(c)) for _, c in rows])
        logps_NTV = (self.model(before_NT) / temperature).log_softmax(-1)
        return logps_NTV.gather(-1, ids_NT[..., None])[..., 0] * mask_NT

    def logps(self, part: Part) -> torch.Tensor:
        return part.sum(self.token_logps(part))

    def sample(self, prompts: Sequence[Prompt], n: int, sampling: Sampling) -> list[list[Reply]]:
        """Replies that end with token 0; noise is named by (seed, prompt, sample), or is torch's stream where no seed is given."""
        return [[self._reply(self.tokenizer.context_ids(p.context), k, sampling) for k in range(n)] for p in prompts]

    @torch.no_grad()
    def _reply(self, prompt: Sequence[int], k: int, sampling: Sampling) -> Reply:
        named = torch.Generator().manual_seed(hash((sampling.seed, *prompt, k)) % 2**63) if sampling.seed else None
        ids: list[int] = []
        nats: list[float] = []
        while len(ids) < sampling.max_tokens and ids[-1:] != [0]:
            logps_V = (self.model(torch.tensor((ids or prompt)[-1])) / sampling.temperature).log_softmax(-1)
            ids.append(int(torch.multinomial(logps_V.exp(), 1, generator=named)))
            nats.append(float(logps_V[ids[-1]]))
        return Reply(" ".join(map(str, ids)), tuple(ids), tuple(nats), finish="stop" if ids[-1] == 0 else "length")

    def draw(self, rows: Sequence[Group]) -> list[tuple[int, ...]]:
        """A reply of at most two tokens to the prompt of each group, from torch's stream."""
        return [several[0].ids for several in self.sample([prompt_of(g) for g in rows], 1, Sampling(max_tokens=2))]

    def frozen(self) -> TinyPolicy:
        copy = TinyPolicy(dropout=0.0)
        copy.load_state_dict(self.state_dict())
        for p in copy.parameters():
            p.requires_grad_(False)
        return copy

    def bits(self) -> bytes:
        return b"".join(p.detach().numpy().tobytes() for p in self.model.parameters())


class TinyValue(TinyPolicy):
    """A critic: the same network, of which one output is read at the token before."""

    def values(self, part: Part) -> torch.Tensor:
        rows = [(*g.prompt[-1:], *c[:-1]) for g in part.groups for c in g.completions]
        width = max(map(len, rows))
        return self.model(torch.tensor([[*row, *[0] * (width - len(row))] for row in rows]))[..., 0]


class TinyScalar(TinyPolicy):
    """Two rewards: the same network's first two outputs, summed over the completion; they are observed as those of `ScalarLM`."""

    heads = ("helpful", "honest")

    def __init__(self, seed: int = 0, *, dropout: float = 0.1) -> None:
        super().__init__(seed, dropout=dropout)
        self.model.register_buffer("seen", torch.zeros(2))

    def scores(self, part: Part) -> torch.Tensor:
        rows = [self.model(torch.tensor(c))[:, :2].sum(0) for g in part.groups for c in g.completions]
        return torch.stack(rows)

    def observe(self, raw: Sequence[torch.Tensor], mean: Callable[[torch.Tensor], torch.Tensor]) -> None:
        now = torch.stack([mean(x_N) for x_N in torch.cat(list(raw)).detach().t()])
        self.model.get_buffer("seen").mul_(0.9).add_(now, alpha=0.1)

    def bits(self) -> bytes:
        return super().bits() + self.model.get_buffer("seen").numpy().tobytes()


def prompt_of(group: Group) -> Prompt:
    return Prompt(" ".join(map(str, group.prompt)))


def prompts(count: int = 20, *, seed: int = 0) -> list[Prompt]:
    """Prompts of unequal lengths, all different."""
    return [Prompt(f"{prompt_of(g).context} {g.row // VOCABULARY} {g.row % VOCABULARY}") for g in groups(count, seed=seed)]


def evens(games: Sequence[Game]) -> Scores:
    """A reward: the share of even tokens."""
    ids = [game.turns[-1].reply.ids for game in games]
    return Scores({"even": [sum(t % 2 == 0 for t in row) / len(row) for row in ids]})


class Longer:
    """An oracle that prefers the longer of two replies, and of two equally long ones neither."""

    def compare(self, context: Any, completions: Sequence[str]) -> Comparison:
        one, two = completions
        preferred = (one, two) if len(one) >= len(two) else (two, one)
        return Comparison(context, preferred, 0.5 if len(one) == len(two) else 1.0)


def last_digits(rows: Sequence[Group]) -> torch.Tensor:
    """Features of completions: how often each of the first eight tokens occurs in one."""
    return torch.tensor([[0.1 + c.count(token) for token in range(8)] for g in rows for c in g.completions])


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
        sampled = policy.draw(batch.groups)
        reward = sum(t % 2 == 0 for row in sampled for t in row) / (2 * len(sampled))
        anchor.mean = 0.9 * anchor.mean + 0.1 * reward
        played = [Group(g.prompt, (row,)) for g, row in zip(batch.groups, sampled, strict=True)]
        part = Part(tuple(played), batch.totals)
        logp_N1 = policy.logps(part)
        advantage = torch.tensor([sum(t % 2 == 0 for t in row) / 2 for row in sampled]) - anchor.mean
        yield Step(part.per_example(-advantage * logp_N1[:, 0]), update=policy, metrics={"reward": reward})
