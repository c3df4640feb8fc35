"""`play`: a protocol over many items, each game recorded in games.jsonl as it ends, so that a killed run goes on where it stood.

A question is played in both orders of its sides, and in every value of the settings that the protocol wants balanced (`Rules.each`).
Its games are a group: figures (evals/debate.py) are of whole groups, and a group with a game that failed is dropped and counted.
Noise is fixed by (seed, game), not by which games are played together, so a resumed run draws what the killed one would have drawn.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass, replace
from typing import Any

from plumbline.core.errors import UserError
from plumbline.core.interfaces import Model
from plumbline.core.nouns import Game, Question, Turn, words_of
from plumbline.core.play import Playing, play
from plumbline.core.protocols import Rules, drawn
from plumbline.engine.runs import RunFolder

AT_ONCE = 32
Row = dict[str, Any]


@dataclass(frozen=True)
class Seat:
    """One game to play: the item as it is played, the balanced settings, its name, the name of its group, the seed of its noise."""

    name: str
    group: str
    item: Any
    settings: Mapping[str, Any]
    seed: int


def seats(rules: Rules, items: Sequence[Any], seed: int = 0) -> list[Seat]:
    """All games of all items, group by group."""
    found: list[Seat] = []
    for number, item in enumerate(items, 1):
        group = str(getattr(item, "id", "") or f"row {number}")
        for how, played in _orders(item):
            for values in itertools.product(*rules.each.values()):
                chosen = dict(zip(rules.each, values, strict=True))
                name = "/".join([group, *how, *(f"{key}={value}" for key, value in chosen.items())])
                found.append(Seat(name, group, played, chosen, zlib.crc32(f"{seed} {name}".encode())))
    repeated = [a.name for a, b in itertools.pairwise(sorted(found, key=lambda s: s.name)) if a.name == b.name]
    if repeated:
        raise UserError(f"two items are called {repeated[0].split('/')[0]!r}", "Give every item an id of its own.")
    return found


def _orders(item: Any) -> Iterator[tuple[list[str], Any]]:
    """A question with its sides as they stand and swapped; anything else as it is."""
    if not isinstance(item, Question):
        yield [], item
    elif len(item.sides) != 2:
        raise UserError(f"the question {item.id!r} has {len(item.sides)} sides", "Give every question two.")
    else:
        yield ["ab"], item
        yield ["ba"], replace(item, sides=item.sides[::-1])


def play_all(
    rules: Rules,
    items: Sequence[Any],
    models: Mapping[str, Model],
    *,
    run: RunFolder | None = None,
    temperature: float = 1.0,
    seed: int = 0,
    at_once: int = AT_ONCE,
) -> list[Row]:
    """Play what `run` has no record of, `at_once` games together; the records of all games, in order."""
    wanted = seats(rules, items, seed)
    done: dict[str, Row] = {}
    if run is not None:
        run.rewind(0)  # a last line that was cut is left out of the file, before others are written after it
        done = {row["game"]: row for row in run.read("games")}

    def begin(seat: Seat) -> Playing:
        return drawn(rules(**seat.settings)(seat.item), temperature=temperature, seed=seat.seed)

    left = [seat for seat in wanted if seat.name not in done]
    for some in (left[i : i + at_once] for i in range(0, len(left), at_once)):
        for seat, game in zip(some, play(begin, some, models), strict=True):
            done[seat.name] = record(rules, seat, game)
            if run is not None:
                run.append("games", done[seat.name])
    return [done[seat.name] for seat in wanted]


def record(rules: Rules, seat: Seat, game: Game) -> Row:
    """A line of games.jsonl: token ids and log-probabilities as sampled, so that training renders nothing again."""
    outcome = asdict(game.outcome) if is_dataclass(game.outcome) and not isinstance(game.outcome, type) else game.outcome
    how = {"game": seat.name, "group": seat.group, "protocol": rules.name, "settings": dict(seat.settings)}
    return {**how, "outcome": outcome, "error": game.error, "turns": [_turn(turn) for turn in game.turns]}


def _turn(turn: Turn) -> Row:
    context = turn.context if isinstance(turn.context, str) else [{"role": m.role, "content": words_of(m.content)} for m in turn.context]
    said = {name: value for name, value in asdict(turn.reply).items() if value not in ((), [])}
    return {"speaker": turn.speaker, "context": context, **said}
