"""Our side of the bench, a process of its own: python -m plumbline.bench.ours, then requests as in `wire`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from plumbline.bench import growth
from plumbline.bench.wire import memory_mb, reset_peak, serve_work
from plumbline.core.batches import Batch, Group, Part
from plumbline.core.interfaces import Scorer, Updatable
from plumbline.core.methods import Steps
from plumbline.core.nouns import Sampling
from plumbline.methods.dpo import dpo
from plumbline.models.backends import BACKENDS, Want
from plumbline.models.head import token_logps as project
from plumbline.models.layout import targets
from plumbline.models.lm import LM


def seconds(work: Callable[[], Any]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def update(steps: Steps, model: Updatable, optimiser: torch.optim.Optimizer) -> dict[str, float]:
    """One optimiser step of a method: loss before it, gradient norm, seconds and memory."""
    reset_peak()
    start, loss = time.perf_counter(), 0.0
    for step in steps:
        step.loss.backward()
        loss += step.loss.item()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    optimiser.zero_grad()
    return {"seconds": time.perf_counter() - start, "loss": loss, "norm": norm.item(), **memory_mb()}


class Known:
    """A reference whose numbers are computed once, before the first step."""

    def __init__(self, reference: Scorer, groups: list[Group]) -> None:
        with torch.no_grad():
            rows = reference.token_logps(Part(tuple(groups), Batch(groups).totals))
        self.rows = dict(zip([c for g in groups for c in g.completions], rows, strict=True))

    def token_logps(self, part: Part, /, *, temperature: float = 1.0) -> Tensor:
        """The stored rows, as wide as this part's longest completion; they were computed at temperature 1."""
        assert temperature == 1.0
        return torch.stack([self.rows[c] for c in part.completions])[:, : max(map(len, part.completions))]


class Training:
    """A policy, its reference and one batch that is stepped on again and again."""

    def __init__(self, folder: Path, job: dict[str, Any], lr: float) -> None:
        self.groups = [Group(tuple(p), tuple(map(tuple, c))) for p, c in job["groups"]]
        self.policy = LM.load(folder / "policy")
        loaded = LM.load(folder / "reference", name="reference").frozen()
        self.reference = Known(loaded, self.groups) if job["reference"] == "precomputed" else loaded
        self.batch = Batch(self.groups)
        self.optimiser = torch.optim.AdamW(self.policy.parameters(), lr=lr, weight_decay=0.0)

    def step(self) -> dict[str, float]:
        """One optimiser step: loss before it, gradient norm, seconds and memory."""
        return update(dpo(self.policy, self.reference, [self.batch]), self.policy, self.optimiser)

    def pieces(self, repeats: int) -> dict[str, float]:
        """Median seconds of what a step is made of.   `body_unshared`: the same layers without sharing prompts."""
        body, backend = self.policy.body, self.policy.backend
        states_PH = BACKENDS[backend](body, self.groups, Want()).detach().requires_grad_()
        targets_P = targets(self.groups, body.device)
        part = Part(tuple(self.groups), self.batch.totals)

        def layers(name: str) -> None:
            BACKENDS[name](body, self.groups, Want()).sum().backward()

        def head() -> None:
            project(states_PH, body.head, targets_P, body.scaling).sum().backward()

        def reference() -> None:
            with torch.no_grad():
                self.reference.token_logps(part)

        work = {"body": lambda: layers(backend), "body_unshared": lambda: layers("padded"), "head": head, "reference": reference}
        times = {name: median(seconds(piece) for _ in range(repeats)) for name, piece in work.items()}
        times["optimiser"] = median(seconds(self.optimiser.step) for _ in range(repeats))
        self.optimiser.zero_grad()
        return times


class Decoding:
    """A model and the prompts that it answers."""

    def __init__(self, folder: Path, job: dict[str, Any]) -> None:
        self.lm, self.job = LM.load(folder / "policy"), job
        self.seed = 0

    def step(self) -> dict[str, Any]:
        """One sample of everything at temperature 1; a seed that would end a reply early is passed over."""
        reset_peak()
        sampling = Sampling(max_tokens=self.job["new"], seed=self.seed)
        start = time.perf_counter()
        replies = self.lm.sample(self.job["texts"], self.job["samples"], sampling)
        taken = time.perf_counter() - start
        tokens = sum(len(r.ids) for row in replies for r in row)
        self.seed += 1
        if tokens < len(self.job["texts"]) * self.job["samples"] * self.job["new"]:
            return self.step()
        return {"seconds": taken, "tokens": tokens, **memory_mb()}

    def greedy(self) -> list[list[int]]:
        """The greedy reply to each prompt."""
        sampling = Sampling(temperature=0.0, max_tokens=self.job["new"])
        return [list(row[0].ids) for row in self.lm.sample(self.job["texts"], 1, sampling)]


def gemm_rate(threads: int, sizes: tuple[int, ...] = (1024, 2048), repeats: int = 5) -> float:
    """The machine's best FLOP/s on a large square float32 product with this many threads."""
    torch.set_num_threads(threads)
    best = 0.0
    for size in sizes:
        a, b, c = torch.randn(size, size), torch.randn(size, size), torch.empty(size, size)
        best = max(best, *(2 * size**3 / seconds(lambda: torch.mm(a, b, out=c)) for _ in range(repeats)))  # noqa: B023   called at once
    return best


def setup(folder: str, job: str, threads: int, lr: float) -> tuple[Any, str]:
    """A row's work, and what it runs on."""
    torch.set_num_threads(threads)
    read = json.loads(Path(job).read_text(encoding="utf-8"))
    work = Training(Path(folder), read, lr) if "groups" in read else Decoding(Path(folder), read)
    return work, work.policy.backend if isinstance(work, Training) else "sample"


if __name__ == "__main__":
    serve_work(setup, ("step", "pieces", "greedy"), {"gemm_rate": gemm_rate, "growth": growth.curve})
