"""What is measured: the rows, their sizes and targets, and the arithmetic that each needs.

forward FLOPs = 2 · (weights of the layers) · positions + 4 · hidden · layers · (query, key) pairs + 2 · vocabulary · hidden · scored
training step = 3 × forward (+ 1 × forward of the reference in the step)
KTO step      = 3 × forward + 1 × forward of the reference + a forward of both on every prompt with another prompt's completion
online round  = sampling + passes × training step (PPO: + a forward of the reference, the reward and the critic, + passes of the critic)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True, slots=True)
class Shape:
    """A Llama's sizes; `words` is its vocabulary."""

    hidden: int = 224
    layers: int = 6
    heads: int = 7
    ffn: int = 608
    words: int = 8192

    def forward(self, positions: float, pairs: float, scored: float) -> float:
        """FLOPs of a forward pass."""
        weights = self.layers * (4 * self.hidden**2 + 3 * self.hidden * self.ffn)
        return 2 * weights * positions + 4 * self.hidden * self.layers * pairs + 2 * self.words * self.hidden * scored


@dataclass(frozen=True, slots=True)
class Pairs:
    """A workload of comparisons: `count` pairs of about `prompt` + 2 × `completion` tokens (each length within a tenth of it)."""

    name: str
    prompt: int
    completion: int
    count: int = 8


@dataclass(frozen=True, slots=True)
class Thumbs:
    """A workload of labels: `count` rows of about `prompt` + `completion` tokens (each length within a tenth of it)."""

    name: str
    prompt: int
    completion: int
    count: int = 8


@dataclass(frozen=True, slots=True)
class Prompts:
    """A decoding workload: `count` prompts of `prompt` tokens, `samples` replies of `new` tokens to each."""

    name: str
    count: int
    prompt: int
    samples: int
    new: int = 64


@dataclass(frozen=True, slots=True)
class Rounds:
    """An online workload: of `count` prompts of `prompt` tokens, `samples` replies of `new` tokens to each and `passes` updates."""

    name: str
    count: int
    prompt: int
    samples: int
    new: int = 64
    passes: int = 1

    @property
    def sampling(self) -> Prompts:
        """The part of it that is decoding."""
        return Prompts(self.name, self.count, self.prompt, self.samples, self.new)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.   `target`: the ratio that the project aims at; 1 where none is stated."""

    id: str
    kind: Literal["time", "memory", "decode"]
    work: Pairs | Thumbs | Prompts | Rounds
    reference: Literal["step", "precomputed", ""]
    target: float

    @property
    def method(self) -> str:
        """What is measured: the first part of the id."""
        return self.id.partition("/")[0]


HEAVY = Pairs("prompt-heavy", 145, 45)
LABELS = Thumbs("prompt-heavy", 145, 45)
LIGHT = Pairs("prompt-light", 16, 64)
GROUP = Rounds("group", count=1, prompt=145, samples=8)
ROUND = Rounds("round", count=8, prompt=145, samples=1, passes=4)

ROWS = (
    Row("dpo/prompt-heavy/time", "time", HEAVY, "step", 5.0),
    Row("dpo/prompt-heavy/memory", "memory", HEAVY, "step", 2.0),
    Row("dpo/prompt-heavy/time/precomputed", "time", HEAVY, "precomputed", 4.0),
    Row("dpo/prompt-heavy/memory/precomputed", "memory", HEAVY, "precomputed", 2.0),
    Row("dpo/prompt-light/time", "time", LIGHT, "step", 2.0),
    Row("dpo/prompt-light/time/precomputed", "time", LIGHT, "precomputed", 2.0),
    Row("decode/32x64", "decode", Prompts("32x64", 32, 16, 1), "", 2.0),
    Row("decode/8x8", "decode", Prompts("8x8", 8, 145, 8), "", 3.5),
    Row("reward/prompt-heavy/time", "time", HEAVY, "", 1.6),
    Row("reward/prompt-heavy/memory", "memory", HEAVY, "", 1.0),
    Row("kto/prompt-heavy/time", "time", LABELS, "step", 3.0),
    Row("grpo/iteration", "time", GROUP, "", 2.5),
    Row("ppo/iteration", "time", ROUND, "", 1.0),
    Row("rl/one-base/memory", "memory", ROUND, "", 1.0),
)


def step_flops(shape: Shape, lengths: list[tuple[int, list[int]]], *, reference: bool) -> float:
    """A DPO step over groups of (prompt, completions): each prompt once, the last token of a completion only predicted."""
    positions = pairs = scored = 0
    for prompt, completions in lengths:
        fed = [c - 1 for c in completions]
        positions += prompt + sum(fed)
        pairs += prompt * (prompt + 1) // 2 + sum(c * prompt + c * (c + 1) // 2 for c in fed)
        scored += sum(completions)
    return shape.forward(positions, pairs, scored) * (4 if reference else 3)


def kto_flops(shape: Shape, lengths: list[tuple[int, list[int]]]) -> float:
    """A KTO step: its rows are learned from and read by the reference; both also read each prompt with the next row's completion."""
    after = [*lengths[1:], *lengths[:1]]
    mismatched = [(prompt, completions) for (prompt, _), (_, completions) in zip(lengths, after, strict=True)]
    return step_flops(shape, lengths, reference=True) + 2 * step_flops(shape, mismatched, reference=False) / 3


def decode_flops(shape: Shape, work: Prompts) -> float:
    """Every prompt once, then every new token but the last against all before it."""
    rows, fed = work.count * work.samples, work.new - 1
    positions = work.count * work.prompt + rows * fed
    pairs = work.count * work.prompt * (work.prompt + 1) / 2 + rows * (fed * work.prompt + fed * (fed + 1) / 2)
    return shape.forward(positions, pairs, work.count + rows * fed)


def headless(shape: Shape) -> Shape:
    """A model of rewards or values: its head of one row costs nothing beside its layers."""
    return replace(shape, words=0)


def round_flops(shape: Shape, work: Rounds, *, critic: bool) -> float:
    """A round of sampling and its updates, with a reference, a reward model and a critic (PPO) or without (GRPO)."""
    lengths = [(work.prompt, [work.new] * work.samples)] * work.count
    found = decode_flops(shape, work.sampling) + work.passes * step_flops(shape, lengths, reference=False)
    if critic:
        trained = step_flops(headless(shape), lengths, reference=False)
        found += step_flops(shape, lengths, reference=False) / 3 + (work.passes + 2 / 3) * trained
    return found
