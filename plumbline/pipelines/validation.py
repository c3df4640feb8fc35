"""What a run is measured by while it trains: its own loss on held-out rows, or gold where the truth is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch

from plumbline.core.batches import Group
from plumbline.core.interfaces import Reward
from plumbline.core.methods import Method
from plumbline.core.nouns import Ask, Game, Prompt, Sampling, Turn, words_of
from plumbline.engine.loader import Loader
from plumbline.engine.meter import Meter
from plumbline.engine.ranks import Ranks
from plumbline.engine.runs import RunFolder
from plumbline.evals import stats
from plumbline.models.lm import LM
from plumbline.rewards.items import fixed
from plumbline.world import gold
from plumbline.world import sources as world

Evaluate = Callable[[], dict[str, Any]]
SHOWN = 8  # replies written to samples.jsonl at each evaluation


def held_out(method: Method, roles: Mapping[str, Any], groups: Sequence[Group], *, micro_tokens: int) -> Evaluate:
    """The method's loss and metrics on rows that it is not trained on: one batch of all of them, no gradient."""

    def evaluate() -> dict[str, Any]:
        loader = Loader(groups, batch=len(groups), micro_tokens=micro_tokens, shuffle=False)
        handed = {name: loader if name == "data" else role for name, role in roles.items()}
        meter = Meter(Ranks(0, 1, torch.device("cpu")))
        with torch.no_grad():
            for step in method(*handed.values()):
                meter.add(step.loss, step.metrics)
        return dict(meter.read())

    return evaluate


def town_gold(policy: LM, prompts: Sequence[Prompt], run: RunFolder | None, *, seed: int) -> Evaluate:
    """Mean gold utility of one reply per prompt at temperature 1, on the same prompts with the same noise every time."""

    def evaluate() -> dict[str, Any]:
        sampling = Sampling(temperature=1.0, max_tokens=96, seed=seed)
        replies = policy.answer([Ask(policy.name, p.context, sampling) for p in prompts])
        worth = [gold(p, r.text) for p, r in zip(prompts, replies, strict=True)]
        for prompt, reply, utility in list(zip(prompts, replies, worth, strict=True))[: SHOWN if run else 0]:
            assert run is not None
            run.append("samples", {"prompt": last_words(prompt), "reply": reply.text, "gold": asdict(utility)})
        names = {"gold": "total", "helpful": "helpful", "honest": "honest", "harmless": "harmless"}
        return {name: stats.mean([getattr(u, part) for u in worth]).json() for name, part in names.items()}

    return evaluate


def rewarded(policy: LM, reward: Reward, prompts: Sequence[Prompt], run: RunFolder | None, *, seed: int) -> Evaluate:
    """Mean reward, length and share of complete replies, one to each prompt at temperature 1, with the same noise every time."""

    def evaluate() -> dict[str, Any]:
        sampling = Sampling(temperature=1.0, max_tokens=96, seed=seed)
        replies = policy.answer([Ask(policy.name, p.context, sampling) for p in prompts])
        games = [Game((Turn(policy.name, p.context, r),), item=p) for p, r in zip(prompts, replies, strict=True)]
        scores = fixed(reward)(games).total
        for prompt, reply, score in list(zip(prompts, replies, scores, strict=True))[: SHOWN if run else 0]:
            assert run is not None
            run.append("samples", {"prompt": last_words(prompt), "reply": reply.text, "reward": score})
        rows = {"reward": scores, "length": [len(r.ids) for r in replies], "complete": [float(r.finish == "stop") for r in replies]}
        return {name: stats.mean(values).json() for name, values in rows.items()}

    return evaluate


def last_words(prompt: Prompt) -> str:
    """A prompt's text: of a chat, the last message."""
    return prompt.context if isinstance(prompt.context, str) else words_of(prompt.context[-1].content)


def prompts_of(spec: str) -> list[Prompt] | None:
    """The prompts of a `town:prompts` spec; None for any other spec."""
    return [p for p in world.load(spec) if isinstance(p, Prompt)] if spec.startswith("town:prompts") else None
