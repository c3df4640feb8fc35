"""`play`: many games of one protocol at once.   A protocol plays one item and yields `Ask`s; batching is done here.

Every round gathers what all unfinished games ask, hands each model its asks in one list (in game order, so equal contexts stand
together and a decoder can share their prompt), and sends the replies back.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from plumbline.core.errors import ProtocolError, UserError
from plumbline.core.interfaces import Model
from plumbline.core.nouns import Ask, Game, Reply, Turn

Asked = Ask | list[Ask]
Playing = Generator[Asked, Any, Any]


@dataclass
class _Table:
    """One game being played: its generator, what it asks now, and the turns so far."""

    item: Any
    playing: Playing
    asks: list[Ask] = field(default_factory=list)
    single: bool = True
    turns: list[Turn] = field(default_factory=list)
    outcome: Any = None
    error: str = ""
    over: bool = False

    def move(self, answer: Any) -> None:
        """Send an answer (None to begin) and note what is asked next."""
        try:
            asked = self.playing.send(answer)
        except StopIteration as end:
            self.outcome, self.over, self.asks = end.value, True, []
        except ProtocolError as error:
            self.error, self.over, self.asks = str(error) or type(error).__name__, True, []
        else:
            self.single = isinstance(asked, Ask)
            self.asks = [asked] if isinstance(asked, Ask) else list(asked)

    def hear(self, replies: list[Reply]) -> None:
        """Record the replies to what was asked, and go on."""
        self.turns += [Turn(a.model, a.context, r) for a, r in zip(self.asks, replies, strict=True)]
        self.move(replies[0] if self.single else replies)

    def game(self) -> Game:
        """The finished record."""
        return Game(tuple(self.turns), self.outcome, self.error, self.item)


def _answer(models: Mapping[str, Model], tables: Sequence[_Table]) -> list[list[Reply]]:
    """All asks of a round, one call per model; replies back by table."""
    replies: list[list[Reply | None]] = [[None] * len(t.asks) for t in tables]
    places: dict[str, list[tuple[int, int]]] = {}
    for i, table in enumerate(tables):
        for j, ask in enumerate(table.asks):
            places.setdefault(ask.model, []).append((i, j))
    for name, spots in places.items():
        if name not in models:
            raise UserError(f"the protocol asks model {name!r}, but the models are {sorted(models)}", f"Pass a model for {name!r}.")
        for (i, j), reply in zip(spots, models[name].answer([tables[i].asks[j] for i, j in spots]), strict=True):
            replies[i][j] = reply
    return [[r for r in row if r is not None] for row in replies]


def play(protocol: Callable[[Any], Playing], items: Sequence[Any], models: Mapping[str, Model]) -> list[Game]:
    """Play `protocol(item)` for every item; games in the order of the items.

    A `ProtocolError` ends its game, which is returned with `error` set; any other exception stops everything.
    """
    tables = [_Table(item, protocol(item)) for item in items]
    for table in tables:
        table.move(None)
    while open_tables := [t for t in tables if not t.over]:
        for table, heard in zip(open_tables, _answer(models, open_tables), strict=True):
            table.hear(heard)
    return [t.game() for t in tables]
