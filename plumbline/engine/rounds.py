"""Rounds of prompts for online methods: like a loader's batches, but what is learned from is sampled when the round is reached.

A round is a step of the run: budgets, schedule, metrics and checkpoints count rounds.   Inside it the method's batches are optimiser
updates, all at the round's learning rate.   A killed round is drawn again: its noise is fixed by seed and position.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from plumbline.core.batches import Batch, Group
from plumbline.core.nouns import Prompt
from plumbline.core.rollouts import Round, Rounds, Running
from plumbline.engine.loader import Stream


class PromptRounds(Stream[Prompt], Rounds):
    """Rounds of `batch` prompts.   `demos` may be learned from beside them.   `update` is called after each of the method's batches;
    `drive` fills it in.
    """

    def __init__(self, prompts: Sequence[Prompt], *, demos: Sequence[Group] = (), **how: Any) -> None:
        super().__init__(prompts, **how)
        self.demos = demos
        self.update: Callable[[], None] = lambda: None
        self.gather: Callable[[Any], list[Any]] = lambda value: [value]

    def __iter__(self) -> Iterator[Round]:
        """Rounds from the current position on."""
        while self.goes_on:
            self.current = None
            yield Round(tuple(self.rows(self.position)), self._running())
            self.finish()

    def _running(self) -> Running:
        seed = zlib.crc32(f"{self.seed or 0} {self.position}".encode())
        how = {"micro_tokens": self.micro_tokens or 8192, "rank": self.rank, "ranks": self.ranks, "mean": self.mean}
        return Running(seed, **how, update=self.update, learning=self._learning, gather=self.gather, quiet=torch.no_grad, demos=self.demos)

    def _learning(self, batch: Batch) -> None:
        """A batch is about to be learned from: what an error would be blamed on, and its tokens."""
        self.current = batch
        self.tokens += sum(g.tokens for g in batch.groups)

    def _about(self) -> dict[str, int]:
        return {**super()._about(), "demonstrations beside the prompts": len(self.demos)}

    def mark(self, item: Prompt) -> Any:
        """The prompt's text."""
        return item.context
