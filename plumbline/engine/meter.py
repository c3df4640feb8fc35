"""Metrics of an optimiser batch: sums and counts on the way, one number each at the boundary, the same on every rank."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from plumbline.engine.ranks import Ranks


class Meter:
    """The loss (summed over parts: they have the batch's divisor) and the means of the method's metrics."""

    def __init__(self, ranks: Ranks) -> None:
        self.ranks = ranks
        self.sums: dict[str, torch.Tensor] = {}
        self.counts: dict[str, int] = {}
        self.losses: list[torch.Tensor] = []

    def add(self, loss: torch.Tensor | None, metrics: Mapping[str, Any]) -> None:
        """A step's loss and metrics; nothing is copied to the host yet."""
        if loss is not None:
            self.losses.append(loss.detach())
        for name, value in metrics.items():
            x = torch.as_tensor(value).detach().double()
            self.sums[name] = self.sums.get(name, torch.zeros((), dtype=torch.float64, device=x.device)) + x.sum()
            self.counts[name] = self.counts.get(name, 0) + x.numel()

    def read(self) -> dict[str, float]:
        """The batch's figures; begins the next batch.   A metric that had no elements is left out."""
        names = sorted({n for row in self.ranks.gather(sorted(self.sums)) for n in row})
        loss = sum((float(x) for x in self.losses), 0.0)
        pairs = [loss, *[float(self.sums.get(n, 0.0)) for n in names], *[float(self.counts.get(n, 0)) for n in names]]
        total = self.ranks.sum(torch.tensor(pairs, dtype=torch.float64, device=self.ranks.device)).tolist()
        sums, counts = total[1 : 1 + len(names)], total[1 + len(names) :]
        self.sums, self.counts, self.losses = {}, {}, []
        means = {n: s / c for n, s, c in zip(names, sums, counts, strict=True) if c}
        return {**means, "loss": total[0]}
