"""Validation during training: which evaluation was the best, and when to stop waiting for a better one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plumbline.core.errors import UserError
from plumbline.engine.recipe import Recipe


def _mean(figure: Any) -> float:
    """A figure's mean: figures are numbers, or {"mean", "lo", "hi", "n"}."""
    return float(figure["mean"] if isinstance(figure, Mapping) else figure)


class Validation:
    """The best evaluation so far, by one figure."""

    def __init__(self, recipe: Recipe) -> None:
        self.watched, self.patience = recipe.best, recipe.patience
        self.best: dict[str, Any] | None = None
        self.last: dict[str, Any] = {}
        self.waited = 0
        self.improved_at = -1

    def see(self, step: int, figures: Mapping[str, Any]) -> float | None:
        """Note an evaluation; returns gold, where it is among the figures."""
        self.last = dict(figures)
        name = self._name(figures)
        if name:
            value = _mean(figures[name.removeprefix("-")]) * (-1 if name.startswith("-") else 1)
            if self.best is None or value > self.best["value"]:
                self.best = {"step": step, "value": value, "figure": name}
                self.waited, self.improved_at = 0, step
            else:
                self.waited += 1
        return _mean(figures["gold"]) if "gold" in figures else None

    def _name(self, figures: Mapping[str, Any]) -> str:
        name = self.watched or ("gold" if "gold" in figures else "-loss" if "loss" in figures else "")
        if name and name.removeprefix("-") not in figures:
            raise UserError(f"best is {self.watched!r}, which the evaluation does not give", f"It gives: {', '.join(figures)}.")
        return name

    @property
    def exhausted(self) -> bool:
        """Whether the wait for something better has been long enough."""
        return 0 < self.patience <= self.waited

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run must know."""
        return {"best": self.best, "waited": self.waited, "last": self.last}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore it."""
        self.best, self.waited, self.last = state["best"], state["waited"], state["last"]
