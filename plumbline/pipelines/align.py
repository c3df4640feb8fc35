"""Demonstrations, then rankings of the model's own replies, learned from in two ways:   base → SFT → DPO, and base → SFT → reward → PPO.

    π_sft  = SFT(base, demonstrations)
    R      = an annotator's rankings of four replies of π_sft to each prompt
    π_dpo  = DPO(π_sft, reference = π_sft, the best and the worst of each ranking)
    r      = a reward with the likelihood of R            π_ppo = PPO(π_sft, reference = π_sft, r)

Both have the likelihood of the best replies beside their loss, with the same weight per token.   Ouyang et al. 2022 (2203.02155) for the
second road, DPO (2305.18290) in place of its last two steps for the first; best against worst as in Tunstall et al. 2023 (2310.16944),
whose rejected reply is a random one of the rest.   Both roads learn from the same annotations.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from plumbline.core.errors import UserError
from plumbline.core.methods import Stage
from plumbline.core.nouns import Comparison, Demo, Prompt, Reply, Sampling
from plumbline.data import Plan
from plumbline.engine.loader import Loader
from plumbline.engine.recipe import Recipe
from plumbline.methods.dpo import dpo
from plumbline.methods.sft import sft
from plumbline.models.lm import LM
from plumbline.pipelines import rlhf
from plumbline.world.annotators import Annotator, annotators
from plumbline.world.draw import rng

Collect = Callable[[LM], Sequence[Comparison]]


@dataclass(frozen=True)
class Recipes:
    """How each stage trains: `rlhf` those of its own stages, SFT among them, `dpo` the other road.   `beta` and `nll` are DPO's."""

    rlhf: rlhf.Recipes = field(default_factory=rlhf.Recipes)
    dpo: Recipe = field(default_factory=lambda: Recipe(epochs=1, batch=32, lr=5e-4, warmup=0.1))
    beta: float = 0.1
    nll: float = 1.0

    def with_seed(self, seed: int, *, watched: bool) -> Recipes:
        """The same with another seed; `watched` evaluates a few times on the way, not at the end only."""
        stages = self.rlhf.with_seed(seed)
        sft, learn, dpo = (
            replace(r, seed=seed, eval_every=every if watched else 0) for r, every in ((stages.sft, 8), (stages.learn, 6), (self.dpo, 16))
        )
        return replace(self, rlhf=replace(stages, sft=sft, learn=learn), dpo=dpo)


def align(
    policy: LM, direct: LM, demos: Sequence[Demo], prompts: Sequence[Prompt], collect: Collect, recipes: Recipes
) -> Generator[Stage[Any], Any, tuple[LM, LM, LM]]:
    """The stages; returns the models after SFT, DPO and PPO.   `direct`, which goes the way of DPO, begins as `policy` after SFT."""
    yield Stage("sft", sft(policy, batches(demos, policy)), recipes.rlhf.sft)
    tuned = policy.frozen("sft")
    direct.load_state_dict(policy.state_dict())
    ranked = collect(tuned)
    yield Stage("dpo", dpo(direct, tuned, batches(extremes(ranked), policy), beta=recipes.beta, nll=recipes.nll), recipes.dpo)
    yield from rlhf.rlhf(policy, [], ranked, prompts, recipes.rlhf, shows_gold=True)
    return tuned, direct, policy


def batches(rows: Sequence[Any], policy: LM) -> Loader:
    """Feedback as the batches that a method iterates."""
    return Loader(Plan(rows, policy.tokenizer))


def ranked(policy: LM, prompts: Sequence[Prompt], *, who: str, noise: float | None, seed: int, k: int = 4) -> list[Comparison]:
    """`k` replies to each prompt at temperature 1, ranked by town's annotators as far as they can tell them apart."""
    drawn = policy.sample(prompts, n=k, sampling=Sampling(max_tokens=96, seed=seed))
    found = in_order(prompts, drawn, annotators(who, noise), lambda i: rng("compared", seed, i))
    if not found:
        raise UserError("the annotators could tell no two replies of the model apart", "Take a model that speaks town, such as town-s.")
    return found


def in_order(
    prompts: Sequence[Prompt], drawn: Sequence[Sequence[Reply]], people: Sequence[Annotator], chance: Callable[[int], Random]
) -> list[Comparison]:
    """The complete replies to each prompt as a person ranks them; the people take turns, `chance` gives a stream per prompt.

    Prompts are left out where the person can tell no two replies apart: a ranking that is known to be a tie teaches nothing here.
    """
    found = []
    for i, (prompt, replies) in enumerate(zip(prompts, drawn, strict=True)):
        person = people[i % len(people)]
        whole = dict.fromkeys(r.text for r in replies if r.text and r.finish == "stop")
        order = person.rank(prompt, list(whole), chance(i))
        if len(order) > 1:
            found.append(Comparison(prompt.context, tuple(order), annotator=person.name, meta={**prompt.meta, "prompt_id": prompt.id}))
    return found


def extremes(rankings: Sequence[Comparison]) -> list[Comparison]:
    """The best and the worst of each ranking."""
    return [replace(r, completions=(r.completions[0], r.completions[-1])) for r in rankings]
