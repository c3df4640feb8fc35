"""A recipe: how long to train, how fast, and what to keep.   One frozen value per drive; a pipeline has one per stage.

The learning rate of an optimiser step with share p ∈ [0, 1) of the budget used, warm-up share w:

    lr · min(1, p′/w)  while p < w  (p′: the share after the step, so that the first rate is not 0),   then  lr · f((p − w)/(1 − w))
    f(x) = ½(1 + cos πx)  (cosine),   1 − x  (linear),   1  (constant)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from plumbline.core.errors import UserError

LEAST = {"batch": 1, "micro_tokens": 1, "keep": 1, "warmup": 0, "weight_decay": 0, "max_grad_norm": 0, "explode": 0}
LEAST |= {"seed": 0, "eval_every": 0, "save_every": 0, "patience": 0}
Schedule = Literal["cosine", "linear", "constant"]
Dtype = Literal["float32", "bfloat16"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """Run-wide settings.   Of the budgets the first that is used up ends the run; with none, one epoch is made.

    `epochs`: a budget: times over the data, a fraction too.   `steps`: a budget of optimiser steps.   `tokens`: a budget of positions
    computed.   `minutes`: a budget of time.   `batch`: examples per optimiser step.   `micro_tokens`: positions computed at once (memory,
    never the result).
    `lr`: one for all roles, or one per role ("policy=1e-6,value=1e-5").   `warmup`: a share of the budget below 1, else steps.
    `schedule`: how the rate falls after the warm-up.   `weight_decay`, `betas`: AdamW's.   `seed`: of the order of rows, and of sampling.
    `max_grad_norm`: largest gradient norm of a role, 0 for none.   `eval_every`: in steps; 0 evaluates at the end only.
    `save_every`: in steps; 0 saves every ten minutes and at the end.   `keep`: newest checkpoints kept besides the best.
    `best`: the validation metric that picks the best, "-name" where lower is better (default: gold, else -loss).
    `patience`: evaluations without improvement before stopping, 0 never stops.   `explode`: stop when the loss is this many times its
    recent size, 0 never stops.
    `dtype`: bfloat16 computes under autocast, weights and optimisers stay as they are.   `track`: an Accelerate tracker's name.
    `ignore_memory`: begin even where more memory is needed than is free.
    """

    epochs: float | None = None
    steps: int | None = None
    tokens: int | None = None
    minutes: float | None = None
    batch: int = 32
    micro_tokens: int = 8192
    lr: float | str | Mapping[str, float] = 1e-4
    warmup: float = 0.03
    schedule: Schedule = "cosine"
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    max_grad_norm: float = 1.0
    seed: int = 0
    dtype: Dtype = "float32"
    eval_every: int = 0
    save_every: int = 0
    keep: int = 2
    best: str = ""
    patience: int = 0
    explode: float = 100.0
    track: str = ""
    ignore_memory: bool = False

    def __post_init__(self) -> None:
        for name in ("epochs", "steps", "tokens", "minutes"):
            value = getattr(self, name)
            if value is not None and not (value >= 0 and math.isfinite(value)):
                raise UserError(f"{name} is {value}", f"Give {name} as a number of at least 0.")
        for name, least in LEAST.items():
            value = getattr(self, name)
            if not (value >= least and math.isfinite(value)):
                raise UserError(f"{name} is {value}", f"Give {name} as a number of at least {least}.")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise UserError(f"betas are {self.betas}", "Give two numbers from 0 to below 1.")
        if self.schedule not in ("cosine", "linear", "constant"):
            raise UserError(f"there is no schedule {self.schedule!r}", "Schedules: cosine, linear, constant.")
        if self.dtype not in ("float32", "bfloat16"):
            raise UserError(f"there is no dtype {self.dtype!r} to train in", "Types: float32, bfloat16 (autocast).")
        self.rates()

    def rates(self) -> dict[str, float]:
        """Learning rates by role; the key "" holds the one for every other role."""
        if isinstance(self.lr, Mapping):
            pairs = dict(self.lr)
        elif isinstance(self.lr, str):
            pairs = _pairs(self.lr)
        else:
            pairs = {"": float(self.lr)}
        for role, rate in pairs.items():
            if not (rate >= 0 and math.isfinite(rate)):
                raise UserError(f"lr{'=' if not role else f' of {role} is '}{rate}", "Give a finite learning rate of at least 0.")
        return pairs

    def rate(self, role: str) -> float:
        """The peak learning rate of a role."""
        rates = self.rates()
        if role not in rates and "" not in rates:
            raise UserError(f"no learning rate is given for {role!r}", f"Add {role}=… to lr, which names {', '.join(rates)}.")
        return rates.get(role, rates.get("", 0.0))

    @property
    def budget_epochs(self) -> float | None:
        """Epochs to make: one where no budget is set at all."""
        unset = self.epochs is None and self.steps is None and self.tokens is None and self.minutes is None
        return 1.0 if unset else self.epochs


def _pairs(text: str) -> dict[str, float]:
    """ "1e-4" or "policy=1e-6,value=1e-5"."""
    try:
        if "=" not in text:
            return {"": float(text)}
        halves = [piece.split("=", 1) for piece in text.split(",")]
        return {role.strip(): float(rate) for role, rate in halves}
    except ValueError:
        raise UserError(f"lr {text!r} is neither a number nor role=number pairs", "Write 1e-4, or policy=1e-6,value=1e-5.") from None


def limit_steps(recipe: Recipe, per_epoch: int) -> float:
    """Optimiser steps that the epochs and steps of a recipe allow; infinite where only tokens or minutes are set."""
    epochs = recipe.budget_epochs
    by_epochs = math.inf if epochs is None else math.ceil(round(epochs * per_epoch, 9))
    return min(by_epochs, math.inf if recipe.steps is None else recipe.steps)


def used(recipe: Recipe, per_epoch: int, *, step: int, tokens: int, seconds: float) -> float:
    """Share of the budget that is used after `step` steps: 1 or more means that the run is over."""
    shares = [_share(step, limit_steps(recipe, per_epoch))]
    if recipe.tokens is not None:
        shares.append(_share(tokens, recipe.tokens))
    if recipe.minutes is not None:
        shares.append(_share(seconds, recipe.minutes * 60))
    return max(shares)


def _share(part: float, whole: float) -> float:
    return 1.0 if whole == 0 else part / whole


def factor(recipe: Recipe, *, step: int, before: float, after: float, per_epoch: int) -> float:
    """What the peak rate is multiplied by at step `step` (from 0), which takes the used share of the budget from `before` to `after`."""
    if recipe.warmup >= 1:
        if step < recipe.warmup:
            return min(1.0, (step + 1) / recipe.warmup)
        total = limit_steps(recipe, per_epoch)
        warm = recipe.warmup / total if recipe.warmup < total < math.inf else 0.0
    else:
        warm = recipe.warmup
        if before < warm:
            return min(1.0, after / warm)
    x = min(1.0, (before - warm) / (1 - warm))
    return {"cosine": 0.5 * (1 + math.cos(math.pi * x)), "linear": 1 - x, "constant": 1.0}[recipe.schedule]
