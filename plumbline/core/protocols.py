"""Protocols: a generator that plays one item and yields `Ask`s; `@protocol` registers it, and `load_protocol` finds it by its source.

@protocol(data=Question, asks=("debater", "judge"), paper="arXiv 1805.00899")
def debate(question, *, rounds=3, words=100): ...

debate(rounds=1)        → the protocol with its settings, for `play`
debate(question)        → the generator of one game
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from plumbline.core.errors import UserError
from plumbline.core.nouns import Ask
from plumbline.core.play import Asked, Playing
from plumbline.core.registered import Registered
from plumbline.core.registry import entries


@dataclass(frozen=True)
class Rules(Registered):
    """A registered protocol: with an item it is the generator of one game, without one the protocol with more settings.

    `asks`: the names of the models that it asks, in the order of their flags.   `each`: settings that are no choice but played in all
    these values equally often (which side an advisor argues).
    """

    asks: tuple[str, ...]
    each: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    def check(self, item: Any) -> None:
        """Let the protocol refuse its settings before a model is loaded: it begins to play an item, and asks nobody."""
        begun = self(item)
        next(begun, None)
        begun.close()


def protocol(
    *, data: type, asks: tuple[str, ...], paper: str = "", each: Mapping[str, tuple[Any, ...]] | None = None
) -> Callable[[Callable[..., Playing]], Rules]:
    """Register a generator function of asks as a protocol that plays items of `data`, asks `asks` and comes from `paper`."""
    return lambda function: Rules(function, data, paper, asks, each or {})


def load_protocol(name: str) -> Rules:
    """Import the one file that holds the protocol."""
    for entry in entries("protocol"):
        if entry.name == name:
            return getattr(importlib.import_module(entry.module), name)
    raise UserError(
        f"there is no protocol {name!r}", f"Protocols: {', '.join(e.name for e in entries('protocol'))}. `plumbline play` describes them."
    )


def drawn(playing: Playing, *, temperature: float, seed: int) -> Generator[Asked, Any, Any]:
    """The same game with every ask drawn at a temperature from the noise of a seed.

    A choice is never drawn: the most probable of the stated answers is taken, with the probabilities at temperature 1.
    """

    def set_(ask: Ask) -> Ask:
        return replace(ask, sampling=replace(ask.sampling, temperature=0.0 if ask.choices else temperature, seed=seed))

    heard: Any = None
    while True:
        try:
            asked = playing.send(heard)
        except StopIteration as end:
            return end.value
        heard = yield set_(asked) if isinstance(asked, Ask) else [set_(a) for a in asked]
