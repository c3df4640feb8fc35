"""The weak-to-strong study: can a weak supervisor bring out what a strong model can do?

    weak      the small model, trained on the truth of one half of the rows
    ceiling   the strong model, trained on the truth of the other half
    naive     the strong model, trained on the weak one's labels of that other half
    confident the same with the auxiliary confidence loss
    via       a student of middle size on the weak one's labels, and the strong model on that student's: bootstrapping

Burns et al. 2023, arXiv 2312.09390, §3 and §4.3.   Labels are probabilities.   All learn by one loss (`methods/weak_to_strong.py`) and one
recipe, and are measured on rows that none of them has seen, against the truth.   Every bootstrapping student learns from the same rows.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, overload

from plumbline.core.batches import Group
from plumbline.core.errors import UserError
from plumbline.core.methods import Stage, State, Steps
from plumbline.core.nouns import Comparison, Label
from plumbline.data import Plan
from plumbline.engine.loader import Loader
from plumbline.engine.recipe import Recipe, limit_steps
from plumbline.methods.weak_to_strong import said, weak_to_strong
from plumbline.models.likely import Likely
from plumbline.models.lm import LM
from plumbline.models.scalar import ScalarLM

Judged = Sequence[Comparison | Label]
Learner = ScalarLM | Likely
RISE = 0.2  # of the training, until the confidence loss has its whole weight
USUAL = Recipe(epochs=1, batch=16, lr=1e-3, warmup=0.1)


@dataclass(frozen=True)
class Halves:
    """Rows whose truth the supervisor learns, rows that it labels for the students, and rows that measure everyone."""

    supervisor: Judged
    student: Judged
    test: Judged


@dataclass(frozen=True)
class Study:
    """How the students learn.   `alpha`: the weight of their own convictions in the end, 0 leaves the confident student out.

    `reads`: all score replies by a fresh linear head, or by their likelihood, which has no head to learn first and compares pairs only.
    `limits`: tokens of a prompt and of a completion, None for no limit.   `recipes`: another recipe for one stage, by its name.
    """

    recipe: Recipe = USUAL
    alpha: float = 0.75
    reads: Literal["head", "likelihood"] = "head"
    limits: tuple[int | None, int | None] = (None, None)
    recipes: Mapping[str, Recipe] = field(default_factory=dict)

    def plan(self, rows: Judged, model: Learner) -> Plan:
        """Rows as a model reads them."""
        prompt, completion = self.limits
        return Plan(rows, model.tokenizer, max_prompt_tokens=prompt, max_completion_tokens=completion, keep_alike=True)

    def of(self, name: str) -> Recipe:
        """The recipe of a stage."""
        return self.recipes.get(name, self.recipe)


class Labelled(Sequence[Group]):
    """Rows with other labels: `labels` holds, by row, the probability that the first reply is better, or that the only one is desirable."""

    def __init__(self, plan: Plan, labels: Mapping[int, float]) -> None:
        self.groups = [replace(group, preference=labels[group.row]) for group in plan if group.row in labels]

    def __len__(self) -> int:
        return len(self.groups)

    @overload
    def __getitem__(self, index: int) -> Group: ...
    @overload
    def __getitem__(self, index: slice) -> list[Group]: ...
    def __getitem__(self, index: int | slice) -> Any:
        return self.groups[index]


def truth(plan: Plan) -> dict[int, float]:
    """What people (or the world) say, by row; ties say nothing and are left out."""
    found = {g.row: g.preference if len(g.completions) == 2 else float(g.desirable) for g in plan}
    return {row: p for row, p in found.items() if p != 0.5}


def labels(model: Learner, plan: Plan) -> dict[int, float]:
    """What a model says, by row: probabilities."""
    return dict(zip((g.row for g in plan), said(model, plan[:]).sigmoid().tolist(), strict=True))


def right(model: Learner, plan: Plan) -> dict[int, float]:
    """1 where a model is on the side of the truth, ½ where it cannot decide, by row."""
    known, odds = truth(plan), dict(zip((g.row for g in plan), said(model, plan[:]).tolist(), strict=True))
    return {row: 0.5 if odds[row] == 0 else float((odds[row] > 0) == (p > 0.5)) for row, p in known.items()}


def learned(base: LM, rows: Judged, label: Mapping[int, float] | None, how: Study, name: str) -> tuple[Learner, Steps]:
    """A model on the weights of `base`, and the steps that fit it to labels, or to the truth where there are none."""
    recipe = how.of(name)
    if how.reads == "likelihood" and any(isinstance(row, Label) for row in rows[:1]):
        raise UserError("the likelihood of one reply does not say whether it is good", "Give comparisons as --data, or --reads head.")
    model = Likely(base.copy()) if how.reads == "likelihood" else ScalarLM.on(base, seed=recipe.seed)
    plan = how.plan(rows, model)
    data = Labelled(plan, truth(plan) if label is None else label)
    alpha = how.alpha if name == "confident" else 0.0
    return model, weak_to_strong(model, State(), Loader(data), alpha=alpha, rise=rise_of(recipe, len(data)))


def rise_of(recipe: Recipe, rows: int) -> int:
    """A fifth of the optimiser steps that a recipe makes of so many rows."""
    steps = limit_steps(recipe, -(-rows // recipe.batch))
    if steps == float("inf"):
        raise UserError("a weak-to-strong study wants a budget in epochs or steps", "Give --epochs or --steps.")
    return max(1, round(RISE * steps))


def study(
    weak: LM, strong: LM, via: Mapping[str, LM], rows: Halves, how: Study = Study()
) -> Generator[Stage[Any], Any, dict[str, Learner]]:
    """The stages; returns the models by name: weak, ceiling, naive, confident, and with `via` the chain's."""
    made: dict[str, Learner] = {}

    def stage(name: str, base: LM, some: Judged, label: Mapping[int, float] | None) -> Stage[Any]:
        made[name], steps = learned(base, some, label, how, name)
        return Stage(name, steps, how.of(name))

    yield stage("weak", weak, rows.supervisor, None)
    by_weak = labels(made["weak"], how.plan(rows.student, made["weak"]))
    yield stage("ceiling", strong, rows.student, None)
    yield stage("naive", strong, rows.student, by_weak)
    if how.alpha:
        yield stage("confident", strong, rows.student, by_weak)
    passed = by_weak
    for name, base in via.items():
        yield stage(f"via-{name}", base, rows.student, passed)
        passed = labels(made[f"via-{name}"], how.plan(rows.student, made[f"via-{name}"]))
    if via:
        yield stage("bootstrapped", strong, rows.student, passed)
    return made


STUDENTS = ("naive", "confident", "bootstrapped")


def measured(made: Mapping[str, Learner], rows: Judged, how: Study = Study()) -> dict[str, list[float]]:
    """By model, a number per row of the test that all of them could read: whether it was right."""
    found = {name: right(model, how.plan(rows, model)) for name, model in made.items()}
    shared = sorted(set.intersection(*(set(x) for x in found.values())))
    if not shared:
        raise UserError("no row of the test has a truth that all models can read", "Give --test with comparisons that are not ties.")
    return {name: [x[row] for row in shared] for name, x in found.items()}
