"""Our side of KTO, a process of its own: python -m plumbline.bench.ours_kto, then requests as in `wire`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch

from plumbline.bench.ours import Training, gemm_rate, seconds, update
from plumbline.bench.wire import serve_work
from plumbline.core.batches import Batch
from plumbline.core.interfaces import Scorer
from plumbline.core.methods import Steps
from plumbline.core.nouns import Tally
from plumbline.methods.kto import kto


class Labelled(Training):
    """A policy, its reference and one batch of thumbs that is stepped on again and again.   `point`: z of the last step."""

    def __init__(self, folder: Path, job: dict[str, Any], lr: float) -> None:
        super().__init__(folder, job, lr)
        self.groups = [replace(g, desirable=up, row=i) for i, (g, up) in enumerate(zip(self.groups, job["labels"], strict=True), 1)]
        self.batch, self.point = Batch(self.groups), 0.0
        self.tally = Tally(sum(job["labels"]), len(job["labels"]) - sum(job["labels"]))

    def step(self) -> dict[str, float]:
        """One optimiser step: loss before it, z, gradient norm, seconds and memory."""
        return {**update(self._watched(), self.policy, self.optimiser), "point": self.point}

    def _watched(self) -> Steps:
        for step in kto(self.policy, self.reference, self.tally, [self.batch]):
            self.point = step.metrics["kl"]
            yield step

    def pieces(self, repeats: int) -> dict[str, float]:
        """Those of any training step, and the policy's pass over mismatched completions; the reference makes one more as well."""
        times = super().pieces(repeats)
        times["mismatched"] = self._mismatched(self.policy, repeats)
        times["reference"] += self._mismatched(self.reference, repeats)
        return times

    @torch.no_grad()
    def _mismatched(self, model: Scorer, repeats: int) -> float:
        (part,) = self.batch.mismatched().parts()
        return median(seconds(lambda: model.token_logps(part)) for _ in range(repeats))


def setup(folder: str, job: str, threads: int, lr: float) -> tuple[Any, str]:
    """The row's work, and the backend that it runs on."""
    torch.set_num_threads(threads)
    work = Labelled(Path(folder), json.loads(Path(job).read_text(encoding="utf-8")), lr)
    return work, work.policy.backend


if __name__ == "__main__":
    serve_work(setup, ("step", "pieces"), {"gemm_rate": gemm_rate})
