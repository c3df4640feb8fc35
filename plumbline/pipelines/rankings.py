"""Replies of a model, ranked by the town's people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random

from plumbline.core.errors import UserError
from plumbline.core.nouns import Comparison, Prompt, Reply, Sampling
from plumbline.models.lm import LM
from plumbline.world.annotators import Annotator, annotators
from plumbline.world.draw import rng


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
