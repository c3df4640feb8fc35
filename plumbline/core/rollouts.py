"""Rollouts: completions that a policy samples for a round of prompts, the numbers that travel with them, and the updates they feed.

    for round in prompts:                                   a round: a checkpoint may stand before it
        rollout = round.sample(policy, n=8)                 G prompts, n completions each, as sampled
        rollout.keep("advantage", …)                        a number per completion, or per token
        for batch in rollout.batches(passes=2):             each batch is one optimiser update
            for part in batch.parts(): …                    part.column("advantage", …), part.span("sampled", …)

No torch here: `keep` and `measure` read tensors as lists.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import pairwise
from random import Random
from typing import Any, Protocol

from plumbline.core.batches import Batch, Group, Part, Totals
from plumbline.core.errors import UserError
from plumbline.core.interfaces import Reward, Sampler
from plumbline.core.nouns import Game, Prompt, Reply, Sampling, Turn

PLAIN = Sampling()


@dataclass(frozen=True)
class Draw:
    """How completions are drawn.   `max_tokens`: longer ones are cut.   `temperature`: log-probabilities are taken at it too.

    No top-p or top-k: what they leave out has probability 0, and a ratio to the whole distribution would be wrong.
    """

    max_tokens: int = 64
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise UserError(f"sampling: max_tokens is {self.max_tokens}", "Give at least 1.")
        if not (self.temperature > 0 and math.isfinite(self.temperature)):
            raise UserError(f"sampling: temperature is {self.temperature}", "Give a number above 0; 1 is the model itself.")

    @property
    def plain(self) -> Sampling:
        """As a sampler is asked."""
        return Sampling(temperature=self.temperature, max_tokens=self.max_tokens)


DRAW = Draw()


def _nothing() -> None:
    """No engine is driving: nothing happens between updates."""


@dataclass(frozen=True)
class Running:
    """How a round is carried out; the engine fills it in.

    `update` is called when a batch has been learned from, `gather` collects a value from every rank, `quiet` records no gradients.
    `demos`: what people showed, for methods that learn from it beside their samples.
    """

    seed: int = 0
    micro_tokens: int = 8192
    rank: int = 0
    ranks: int = 1
    mean: Callable[[Any], Any] = lambda x: x.mean()
    update: Callable[[], None] = _nothing
    learning: Callable[[Batch], None] = lambda batch: None
    gather: Callable[[Any], list[Any]] = lambda value: [value]
    quiet: Callable[[], AbstractContextManager[Any]] = nullcontext
    demos: Sequence[Group] = ()


@dataclass
class Rollout:
    """N completions of G prompts, group by group: `groups` for the kernel, `games` for rewards.

    `columns` hold one float per completion ("length" in tokens, "complete" 1 where it ended by itself and was not cut), `spans` one
    per token; `spans["sampled"]` are nats as sampled.
    """

    groups: tuple[Group, ...]
    games: tuple[Game, ...]
    running: Running = Running()
    columns: dict[str, list[float]] = field(default_factory=dict)
    spans: dict[str, list[Sequence[float]]] = field(default_factory=dict)
    shown: int = 0

    @property
    def sizes(self) -> list[int]:
        """Completions of each group."""
        return [len(g.completions) for g in self.groups]

    def whole(self) -> Part:
        """All of it as one part, for sums over the round: nothing is computed by a model on it."""
        return Part(self.groups, Totals.of(self.groups), self.columns, self.spans)

    def keep(self, name: str, values: Any) -> None:
        """(N,) → a column, (N, T) → a span, padding left out."""
        rows = values.tolist() if hasattr(values, "tolist") else list(values)
        lengths = [len(c) for g in self.groups for c in g.completions]
        if len(rows) != len(lengths):
            raise ValueError(f"{name}: {len(rows)} values for {len(lengths)} completions")
        if rows and isinstance(rows[0], (list, tuple)):
            self.spans[name] = [row[:length] for row, length in zip(rows, lengths, strict=True)]
        else:
            self.columns[name] = [float(x) for x in rows]

    def score(self, reward: Reward) -> list[float]:
        """What `reward` says of each completion, asked by the first rank only (it may be an endpoint, or have a state that moves).

        Kept as the column "score", each component as "score/name" where there are several.
        """
        scores = self.running.gather(reward(self.games) if self.running.rank == 0 else None)[0]
        total = list(scores.total)
        if len(total) != len(self.games):
            raise UserError(f"the reward gave {len(total)} scores for {len(self.games)} completions", "Give one for each.")
        for game, x in zip(self.games, total, strict=True):
            if not math.isfinite(x):
                raise UserError(f"the reward gave {x} for {game.turns[-1].reply.text[:60]!r}", "Give finite numbers.")
        self.keep("score", total)
        for name, column in scores.components.items() if len(scores.components) > 1 else ():
            self.keep(f"score/{name}", column)
        return total

    def measure(self, name: str, numbers: Callable[[Part], Any]) -> None:
        """Keep what `numbers(part)` says of every token, (N, T) per part, computed without gradient and shared over ranks."""
        mine: list[tuple[int, list[list[float]]]] = []
        with self.running.quiet():
            for part, indices in self._batch(range(len(self.groups))).cut():
                rows = iter(numbers(part).tolist())
                mine += [(i, [next(rows)[: len(c)] for c in self.groups[i].completions]) for i in indices]
        found = dict(pair for pairs in self.running.gather(mine) for pair in pairs)
        self.spans[name] = [row for i in range(len(self.groups)) for row in found[i]]

    def batches(self, *, passes: int = 1, minibatches: int = 1) -> Iterator[Batch]:
        """The round `passes` times over, each in `minibatches` optimiser updates, in an order fixed by seed and pass."""
        for number in range(passes):
            order = list(range(len(self.groups)))
            if minibatches > 1:
                Random(f"{self.running.seed} {number}").shuffle(order)
            pieces = min(minibatches, len(order))
            edges = [len(order) * k // pieces for k in range(pieces + 1)]
            for start, end in pairwise(edges):
                batch = self._batch(order[start:end])
                self.running.learning(batch)
                yield batch
                self.running.update()

    def demonstrations(self, count: int) -> Batch:
        """`count` of what people showed, others each time, in an order fixed by the round's seed; none where there are none."""
        run, self.shown = self.running, self.shown + 1
        chosen = Random(f"{run.seed} shown {self.shown}").sample(range(len(run.demos)), min(count, len(run.demos)))
        return Batch([run.demos[i] for i in chosen], micro_tokens=run.micro_tokens, rank=run.rank, ranks=run.ranks, mean=run.mean)

    def _batch(self, indices: Sequence[int]) -> Batch:
        """Some groups with their columns and spans."""
        sizes = self.sizes
        at = [sum(sizes[:i]) for i in range(len(sizes))]
        rows = [n for i in indices for n in range(at[i], at[i] + sizes[i])]
        run = self.running
        return Batch(
            [self.groups[i] for i in indices],
            micro_tokens=run.micro_tokens,
            rank=run.rank,
            ranks=run.ranks,
            mean=run.mean,
            columns={name: [column[n] for n in rows] for name, column in self.columns.items()},
            spans={name: [span[n] for n in rows] for name, span in self.spans.items()},
        )


@dataclass(frozen=True)
class Round:
    """A round's prompts."""

    prompts: tuple[Prompt, ...]
    running: Running = Running()

    def sample(self, policy: Sampler, n: int = 1, sampling: Sampling = PLAIN) -> Rollout:
        """`n` completions of each prompt; every rank draws its stripe, and has all of them in the end."""
        run = self.running
        mine = self.prompts[run.rank :: run.ranks]
        drawn = policy.sample(mine, n, replace(sampling, seed=run.seed)) if mine else []
        stripes = run.gather(drawn)
        replies = [stripes[i % run.ranks][i // run.ranks] for i in range(len(self.prompts))]
        return rollout_of(policy, self.prompts, replies, run)


def rollout_of(policy: Sampler, prompts: Sequence[Prompt], replies: Sequence[Sequence[Reply]], running: Running = Running()) -> Rollout:
    """A rollout from replies that are there already."""
    groups = tuple(
        Group(tuple(policy.tokenizer.context_ids(p.context)), tuple(r.ids for r in several), row=i + 1)
        for i, (p, several) in enumerate(zip(prompts, replies, strict=True))
    )
    games = tuple(Game((Turn(policy.name, p.context, r),), item=p) for p, several in zip(prompts, replies, strict=True) for r in several)
    rows = [g.turns[0].reply for g in games]
    columns = {"length": [float(len(r.ids)) for r in rows], "complete": [float(r.finish == "stop") for r in rows]}
    return Rollout(groups, games, running, columns, {"sampled": [r.logps for r in rows]})


class Rounds(Protocol):
    """What an online method iterates.   Asking for the next round ends the last: a checkpoint may stand there."""

    def __iter__(self) -> Iterator[Round]: ...
