"""Our side of reward models, GRPO and PPO, a process of its own: python -m plumbline.bench.ours_rl, then requests as in `wire`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from plumbline.bench.ours import gemm_rate, seconds, update
from plumbline.bench.wire import memory_mb, reset_peak, serve_work
from plumbline.core.batches import Batch, Group, Part
from plumbline.core.interfaces import Reward, Scorer
from plumbline.core.methods import State, Steps
from plumbline.core.nouns import Game, Prompt, Reply, Sampling, Scores
from plumbline.core.rollouts import Draw, Round, Running
from plumbline.methods.grpo import grpo
from plumbline.methods.ppo import Kl, ppo
from plumbline.methods.reward import reward
from plumbline.models.backends import BACKENDS, Want
from plumbline.models.lm import LM
from plumbline.models.scalar import ScalarLM

RANK = 16


class Rewarding:
    """A reward model and one batch of comparisons that is stepped on again and again."""

    def __init__(self, folder: Path, job: dict[str, Any], lr: float) -> None:
        self.groups = [Group(tuple(p), tuple(map(tuple, c))) for p, c in job["groups"]]
        self.model, self.batch = ScalarLM.load(folder / "reward"), Batch(self.groups)
        self.optimiser = torch.optim.AdamW(self.model.parameters(), lr=lr, weight_decay=0.0)

    def step(self) -> dict[str, float]:
        """One optimiser step."""
        return update(reward(self.model, [self.batch]), self.model, self.optimiser)

    def pieces(self, repeats: int) -> dict[str, float]:
        """Median seconds of the layers with and without sharing prompts, and of the optimiser; of what a reward has not, 0."""
        trunk = self.model.trunk

        def layers(name: str) -> None:
            BACKENDS[name](trunk.body, self.groups, Want()).sum().backward()

        work: dict[str, Callable[[], Any]] = {
            "body": lambda: layers(trunk.backend),
            "body_unshared": lambda: layers("padded"),
            "optimiser": self.optimiser.step,
        }
        times = {name: median(seconds(piece) for _ in range(repeats)) for name, piece in work.items()}
        self.optimiser.zero_grad()
        return {**times, "head": 0.0, "reference": 0.0}


class Policy:
    """A policy whose replies never end early, whose sampling is timed, or replaced by replies that are there already."""

    def __init__(self, lm: LM) -> None:
        self.lm, self.name, self.tokenizer = lm, lm.name, lm.tokenizer
        self.seconds, self.tokens = 0.0, 0
        self.given: list[list[list[int]]] = []
        lm.tokenizer.eos_id, lm.tokenizer.end_ids = -1, frozenset()
        lm.model.generation_config.eos_token_id = None
        self.parameters, self.state_dict, self.load_state_dict = lm.parameters, lm.state_dict, lm.load_state_dict

    def token_logps(self, part: Part, /, *, temperature: float = 1.0) -> Tensor:
        """The model's own."""
        return self.lm.token_logps(part, temperature=temperature)

    def sample(self, prompts: Sequence[Prompt], n: int, sampling: Sampling, /) -> list[list[Reply]]:
        """`n` replies to each prompt."""
        start = time.perf_counter()
        replies = self._known(prompts) if self.given else self.lm.sample(prompts, n, sampling)
        self.seconds = time.perf_counter() - start
        self.tokens = sum(len(r.ids) for several in replies for r in several)
        return replies

    def _known(self, prompts: Sequence[Prompt]) -> list[list[Reply]]:
        ids = [tuple(map(tuple, several)) for several in self.given]
        groups = [Group(tuple(self.tokenizer.context_ids(p.context)), c) for p, c in zip(prompts, ids, strict=True)]
        with torch.no_grad():
            rows = iter(self.lm.token_logps(groups).tolist())
        return [[Reply(self.tokenizer.decode(c), c, tuple(next(rows)[: len(c)]), (), "length") for c in g.completions] for g in groups]


def rule(games: Sequence[Game], /) -> Scores:
    """A rule's reward, the same as on the other side."""
    return Scores({"rule": [float(sum(g.turns[-1].reply.ids) % 97) for g in games]})


def still(lm: LM) -> LM:
    """A model that nobody else has, to be trained no more: unlike `frozen`, which copies its weights for those who go on."""
    lm.model.requires_grad_(False)
    lm.trainable = False
    return lm


def roles(folder: Path, kind: str) -> tuple[LM, Scorer, Reward, ScalarLM]:
    """Policy, reference, reward and value.

    "own": four models, which the peer has too.   "adapters": of one base.   "copies": four times that base, two with an adapter.
    "full": four times that base, two of them trained in all their weights.
    """
    lora = RANK if kind in ("adapters", "copies") else 0
    policy = LM.load(folder / "policy", lora=lora)
    if kind == "adapters":
        held = ScalarLM.on(policy, ("reward",), seed=1).frozen()
        return policy, policy.frozen(), held, ScalarLM.on(policy, ("value",))
    if kind == "own":
        reference, held, value = folder / "reference", ScalarLM.load(folder / "reward"), ScalarLM.load(folder / "value")
    else:
        reference, held = folder / "policy", ScalarLM.load(folder / "policy", heads=("reward",), seed=1)
        value = ScalarLM.load(folder / "policy", heads=("value",), lora=lora)
    still(held.trunk)
    return policy, still(LM.load(reference, name="reference")), held, value


class Online:
    """A policy and all that its method needs; a round of prompts that is answered and learned from again and again."""

    def __init__(self, folder: Path, job: dict[str, Any], lr: float, kind: str) -> None:
        self.job, self.prompts, self.seed = job, tuple(Prompt(text) for text in job["texts"]), 0
        self.start = memory_mb()["now"]
        if job["method"] == "grpo":
            lm = LM.load(folder / "policy")
            self.policy, self.value = Policy(lm), None
            self.others: tuple[Any, ...] = (lm, rule)  # without a KL the reference is not read
        else:
            lm, reference, scored, self.value = roles(folder, kind)
            self.policy, self.others = Policy(lm), (reference, scored, self.value, State())
        trained = [self.policy] if self.value is None else [self.policy, self.value]
        self.optimisers = [torch.optim.AdamW(t.parameters(), lr=lr, weight_decay=0.0) for t in trained]
        self.parameters = [p for t in trained for p in t.parameters()]

    def _steps(self, update: Callable[[], None]) -> Steps:
        rounds = [Round(self.prompts, Running(self.seed, update=update, quiet=torch.no_grad))]
        draw = Draw(max_tokens=self.job["new"])
        if self.value is None:
            return grpo(self.policy, *self.others, rounds, group=self.job["samples"], passes=self.job["passes"], sampling=draw)
        kl = Kl(coef=0.05)  # the peer's
        return ppo(self.policy, *self.others, rounds, kl=kl, passes=self.job["passes"], minibatches=1, sampling=draw)

    def _update(self) -> None:
        if self.value is None:  # TRL's PPO does not clip gradients
            torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for optimiser in self.optimisers:
            optimiser.step()
            optimiser.zero_grad()

    def step(self) -> dict[str, Any]:
        """One round and its updates."""
        self.seed += 1
        reset_peak()
        start = time.perf_counter()
        for step in self._steps(self._update):
            step.loss.backward()
        taken = time.perf_counter() - start
        return {"seconds": taken, "sampling": self.policy.seconds, "tokens": self.policy.tokens, "start": self.start, **memory_mb()}

    def check(self) -> dict[str, Any]:
        """Losses and each update's gradients, of a round of the job's replies.   The weights move, but not those of GRPO."""
        found: list[list[float]] = []
        losses = dict.fromkeys(["policy"] if self.value is None else ["policy", "value"], 0.0)

        def watch() -> None:
            found.append([0.0 if p.grad is None else p.grad.norm().item() for p in self.parameters])
            if self.value is not None:
                self._update()
            for optimiser in self.optimisers:
                optimiser.zero_grad()

        self.policy.given = self.job["replies"]
        for step in self._steps(watch):
            step.loss.backward()
            losses["policy" if step.update is self.policy else "value"] += step.loss.item() / self.job["passes"]
        self.policy.given = []
        return {"losses": list(losses.values()), "norms": found}


def setup(folder: str, job: str, threads: int, lr: float, kind: str = "own") -> tuple[Any, str]:
    """A row's work, and the backend that it runs on."""
    torch.set_num_threads(threads)
    read, place = json.loads(Path(job).read_text(encoding="utf-8")), Path(folder)
    if read["method"] == "reward":
        rewarding = Rewarding(place, read, lr)
        return rewarding, rewarding.model.trunk.backend
    online = Online(place, read, lr, kind)
    return online, online.policy.lm.backend


if __name__ == "__main__":
    serve_work(setup, ("step", "pieces", "check"), {"gemm_rate": gemm_rate})
