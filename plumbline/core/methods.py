"""The verbs: a method is a generator of `Step`s, a pipeline one of `Stage`s; `@method` registers the former.

@method(data=Comparison, paper="arXiv 2305.18290")
def dpo(policy, reference, data, *, beta=0.1): ...

dpo(beta=0.2)                     → the method with its settings, for `train`
dpo(policy, reference, batches)   → the generator of steps, for pipelines and tests
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from plumbline.core.interfaces import Updatable
from plumbline.core.registered import Registered

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Step:
    """A loss to minimise by updating the named objects.

    `loss` is a scalar tensor, a sum of `part.per_example` and `part.per_token`; None for a rank that has nothing to add.
    `metrics` are tensors or numbers; their mean over the optimiser batch is logged.
    """

    loss: Any
    update: Updatable | tuple[Updatable, ...]
    metrics: Mapping[str, Any] = field(default_factory=dict)

    @property
    def updates(self) -> tuple[Updatable, ...]:
        """The objects to update, always as a tuple."""
        return self.update if isinstance(self.update, tuple) else (self.update,)


Steps = Generator[Step, None, Any]


@dataclass(frozen=True, slots=True)
class Stage(Generic[R]):
    """A named part of a pipeline: its steps and its own recipe (epochs, learning rate …).   A finished stage is never re-entered."""

    name: str
    steps: Generator[Step, None, R]
    recipe: Any


class State:
    """Scalars that must survive a restart (an adaptive KL coefficient, a counter): handed in, saved with every checkpoint."""

    if TYPE_CHECKING:  # any name may be read and set

        def __getattr__(self, name: str) -> float: ...
        def __setattr__(self, name: str, value: float) -> None: ...

    def __init__(self, **values: float) -> None:
        self.__dict__.update(values)

    def parameters(self) -> list[Any]:
        """None: a state is written by the method, not by an optimiser."""
        return []

    def state_dict(self) -> dict[str, Any]:
        """The values by name."""
        return dict(self.__dict__)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Replace the values."""
        self.__dict__.update(state)


class _Nobody(State):
    """Stands in every role of a method that is only asked what it refuses: as data it is empty, as state it forgets nothing."""

    def __iter__(self) -> Iterator[Any]:
        return iter(())


@dataclass(frozen=True)
class Method(Registered):
    """A registered method: with roles it is the generator of steps, without them the method with more settings."""

    @property
    def roles(self) -> tuple[str, ...]:
        """Positional parameters: what the runtime hands in (policy, reference, data …)."""
        kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        return tuple(p.name for p in inspect.signature(self.function).parameters.values() if p.kind in kinds)

    def check(self) -> None:
        """Let the method refuse its settings before anything is loaded: it runs with nobody in its roles, on no data."""
        for _ in self.function(*(_Nobody() for _ in self.roles), **self.settings):
            raise ValueError(f"{self.name} yields a step of no data")


def method(*, data: type, paper: str = "") -> Callable[[Callable[..., Steps]], Method]:
    """Register a generator function of steps as a method that eats `data` and comes from `paper`."""
    return lambda function: Method(function, data, paper)
