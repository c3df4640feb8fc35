"""Constitutional AI:   prompts → critique and revision → SFT;   pairs → a model's soft labels → DPO, or a preference model and RL.

    D₁    = the revisions of π's own replies, each under a sampled principle (protocols/critique.py), beside demonstrations
    π_sft = SFT(π, D₁)
    D₂    = two replies of π_sft to each prompt, compared under a sampled principle (protocols/ai_feedback.py), beside people's comparisons
    π_cai = DPO(π_sft, D₂) (IPO, SLiC),   or   PPO(π_sft, reward(D₂)) (GRPO, RLOO)

Bai et al. 2022, arXiv 2212.08073, §3 and §4; revisions of all rounds are trained on, as in its §3.1.   Demonstrations and people's
comparisons are what keeps the model helpful there.   Every revision names the principles behind it, every label its one.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from plumbline.core.errors import UserError
from plumbline.core.interfaces import Model
from plumbline.core.methods import Method, Stage
from plumbline.core.nouns import Comparison, Demo, Prompt
from plumbline.core.protocols import Rules
from plumbline.core.registry import load_method
from plumbline.engine.loader import Loader
from plumbline.engine.recipe import Recipe
from plumbline.engine.runs import RunFolder
from plumbline.methods.sft import sft
from plumbline.models.lm import LM
from plumbline.pipelines.feed import Feed
from plumbline.pipelines.play import AT_ONCE, Row, play_all
from plumbline.pipelines.recipes import Recipes
from plumbline.pipelines.rlhf import FEED, groups, rlhf
from plumbline.pipelines.roles import Hands, fill

Until = Literal["critiques", "sft", "labels", "end"]
UNTIL: tuple[str, ...] = get_args(Until)


@dataclass(frozen=True)
class Games:
    """What is played, by whom, and where it is recorded (`folder`; None for nowhere).   Who is not named is the model as it began."""

    critique: Rules
    feedback: Rules
    critic: Model | None = None
    judge: Model | None = None
    folder: Path | None = None
    temperature: float = 1.0
    seed: int = 0
    at_once: int = AT_ONCE

    def play(self, name: str, rules: Rules, prompts: Sequence[Prompt], models: Mapping[str, Model]) -> list[Row]:
        """All games of one kind; those that `folder/name` has a record of are not played again."""
        how: dict[str, Any] = {"temperature": self.temperature, "seed": self.seed, "at_once": self.at_once}
        if self.folder is None:
            rows = play_all(rules, prompts, models, **how)
        else:
            with RunFolder.open(self.folder / name, resume=True) as run:
                rows = play_all(rules, prompts, models, run=run, **how)
        if all(row["error"] for row in rows):
            raise UserError(f"all {len(rows)} games of {name} failed; the first: {rows[0]['error']}", "Take a model that answers.")
        return rows

    def critiques(self, prompts: Sequence[Prompt], first: LM) -> list[Row]:
        """Replies criticised and revised."""
        return self.play("critiques", self.critique, prompts, {"model": first, "critic": self.critic or first})

    def labels(self, prompts: Sequence[Prompt], tuned: LM, first: LM) -> list[Row]:
        """Pairs of replies compared."""
        return self.play("feedback", self.feedback, prompts, {"model": tuned, "feedback": self.judge or first})


def usual(learner: Method) -> Recipes:
    """How each stage trains the town's small models."""
    direct = Recipe(epochs=1, batch=32, lr=5e-4, warmup=0.1)
    return replace(Recipes(), learn=direct) if learner.data is Comparison else Recipes.of(learner)


def cai(
    policy: LM,
    prompts: Sequence[Prompt],
    games: Games,
    recipes: Recipes,
    *,
    demos: Sequence[Demo] = (),
    comparisons: Sequence[Comparison] = (),
    learner: Method | None = None,
    feed: Feed = FEED,
    shows_gold: bool = False,
    until: str = "end",
) -> Generator[Stage[Any], Any, LM]:
    """The stages; returns the policy, trained.   `until`: stop after the critiques, after SFT, after the labels, or at the end."""
    learner = learner or load_method("dpo")
    if until not in UNTIL:
        raise UserError(f"--until is {until!r}", f"Choose one of {', '.join(UNTIL)}.")
    if not prompts:
        raise UserError("cai has no prompts", "Give --prompts: what the model shall learn to answer well.")
    return _stages(policy, prompts, games, recipes, demos, comparisons, learner, feed, shows_gold, UNTIL.index(until))


def _stages(
    policy: LM,
    prompts: Sequence[Prompt],
    games: Games,
    recipes: Recipes,
    demos: Sequence[Demo],
    comparisons: Sequence[Comparison],
    learner: Method,
    feed: Feed,
    shows_gold: bool,
    last: int,
) -> Generator[Stage[Any], Any, LM]:
    first = policy.frozen("first")
    revised = demos_of(prompts, games.critiques(prompts, first))
    if last >= UNTIL.index("sft"):
        yield Stage("sft", sft(policy, Loader(groups(feed, [*revised, *demos], policy))), recipes.sft)
    if last >= UNTIL.index("labels"):
        tuned = policy.frozen("sft")
        judged = [*comparisons_of(prompts, games.labels(prompts, tuned, first)), *comparisons]
        if not judged:
            raise UserError("no two replies to a prompt differ: there is nothing to compare", "Give more prompts, or raise --temperature.")
        if last == UNTIL.index("end") and learner.data is Comparison:
            roles = fill(learner, Hands(policy, groups(feed, judged, policy), tuned))
            yield Stage(learner.name, learner(*roles.values()), recipes.learn)
        elif last == UNTIL.index("end"):
            yield from rlhf(policy, [], judged, prompts, recipes, learner=learner, shows_gold=shows_gold, feed=feed)
    return policy


def demos_of(prompts: Sequence[Prompt], rows: Sequence[Row]) -> list[Demo]:
    """The revisions of all rounds, each once; a reply in which no fault was found stands for itself."""
    found: list[Demo] = []
    for prompt, row in zip(prompts, rows, strict=True):
        steps = row["outcome"]["steps"] if row["outcome"] else ()
        seen: dict[str, list[str]] = {}
        for step in steps:
            first = step["revision"] not in seen
            seen.setdefault(step["revision"], []).append(step["principle"])
            if first:
                meta = {**prompt.meta, "prompt_id": prompt.id, "game": row["game"], "principles": seen[step["revision"]]}
                found.append(Demo(prompt.context, step["revision"], complete=step["complete"], annotator="cai", meta=meta))
    return found


def comparisons_of(prompts: Sequence[Prompt], rows: Sequence[Row]) -> list[Comparison]:
    """The labels, the better reply first, with the principle of each; pairs of equal replies are left out."""
    found = []
    for prompt, row in zip(prompts, rows, strict=True):
        outcome = row["outcome"]
        if outcome and outcome["replies"][0] != outcome["replies"][1]:
            p, (one, two) = outcome["label"], outcome["replies"]
            better, sure = ((one, two), p) if p >= 0.5 else ((two, one), 1 - p)
            meta = {**prompt.meta, "prompt_id": prompt.id, "game": row["game"], "principle": outcome["principle"]}
            found.append(Comparison(prompt.context, better, sure, complete=outcome["complete"], annotator="cai", meta=meta))
    return found
