"""Ranks: several processes, one optimiser batch.   Each computes its stripe; gradients are summed, as losses have the global divisor.

Started by `torchrun`, which says rank and count in the environment; alone otherwise.   Nothing is wrapped: the sum is taken once per
optimiser step, at the boundary, over every gradient that any rank has.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among its peers.   Every method is a no-op when alone."""

    rank: int = 0
    count: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @staticmethod
    def join(device: torch.device | str = "cpu") -> Ranks:
        """The group that torchrun started, entered once per process."""
        device = torch.device(device)
        count = int(os.environ.get("WORLD_SIZE", "1"))
        if count == 1:
            return Ranks(device=device)
        if not dist.is_initialized():
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        return Ranks(dist.get_rank(), dist.get_world_size(), device)

    @property
    def first(self) -> bool:
        """Whether this rank writes files."""
        return self.rank == 0

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """The tensor summed over ranks, in place."""
        if self.count > 1:
            dist.all_reduce(tensor)
        return tensor

    def any(self, flags: Sequence[bool]) -> list[bool]:
        """For each flag, whether any rank raised it."""
        if self.count == 1:
            return list(flags)
        return [x > 0 for x in self.sum(torch.tensor([float(f) for f in flags], device=self.device)).tolist()]

    def mean(self, x: torch.Tensor) -> torch.Tensor:
        """Mean of all elements over all ranks, without gradient."""
        total = self.sum(torch.stack([x.detach().double().sum(), x.new_tensor(x.numel(), dtype=torch.float64)]))
        return (total[0] / total[1]).to(x.dtype)

    def share(self, value: Any) -> Any:
        """The first rank's value, on every rank."""
        if self.count == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def gather(self, value: Any) -> list[Any]:
        """Every rank's value, in the order of ranks."""
        if self.count == 1:
            return [value]
        values: list[Any] = [None] * self.count
        dist.all_gather_object(values, value)
        return values

    def align(self, parameters: Sequence[torch.Tensor]) -> None:
        """Give every rank the first one's weights (adapters are initialised at random)."""
        if self.count > 1:
            for p in parameters:
                dist.broadcast(p.data, src=0)
