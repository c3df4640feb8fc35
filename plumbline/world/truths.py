"""Pairs of replies of which one is true: the same sentences, but of what was asked one fact is another.

    who is the keeper of the mill?      the mill is kept by nina.   /   the mill is kept by oskar.

The false value is any other of its sort, so that there is something to learn at several depths: that "nobody knows" is not said in vain,
which values are true of many (a table of words alone tells three of four pairs apart), which of whom, and at last the town itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from random import Random
from typing import Any

from plumbline.core.errors import UserError
from plumbline.core.nouns import Comparison, Prompt
from plumbline.world.draw import rng
from plumbline.world.families import KINDS
from plumbline.world.families.answers import slots_of
from plumbline.world.families.base import wrong_value
from plumbline.world.knowledge import TOWN, Town
from plumbline.world.sources import KEYS
from plumbline.world.splits import prompt
from plumbline.world.utility import gold, gold_of, town_of

FAMILIES = ("fact", "twohop", "compare")
TRIES = 8  # other facts tried until one makes the reply false: a wrong age may leave the older one the older


def truths(n: int, seed: int = 0, split: str = "train", families: Sequence[str] = FAMILIES, town: Town = TOWN) -> list[Comparison]:
    """`n` pairs, the true reply first; the families take turns."""
    if odd := sorted(set(families) - {*FAMILIES, "passage", "sum"}):
        raise UserError(f"truths of the family {odd[0]!r} are not to be had.", f"Choose among {', '.join(FAMILIES)}, passage, sum.")
    streams = [_pairs(split, seed, family, town) for family in families]
    return [next(streams[i % len(streams)]) for i in range(n)]


def _pairs(split: str, seed: int, family: str, town: Town) -> Iterator[Comparison]:
    """The pairs of one family, without end; prompts of which none can be made are passed over."""
    for number in count():
        asked = prompt(split, number, seed, (family,), town)
        pair = _pair(asked, town, seed, number)
        if pair:
            totals = [gold(asked, text, town).total for text in pair]
            yield Comparison(asked.context, pair, annotator="gold", meta={**asked.meta, "prompt_id": asked.id, "totals": totals})


def _pair(asked: Prompt, town: Town, seed: int, number: int) -> tuple[str, str] | None:
    """A true and a false reply in the same words, or nothing where no other fact makes it false."""
    for attempt in range(TRIES):
        key = ("truth", asked.meta["split"], asked.meta["family"], seed, number, attempt)
        right, wrong = (_said(asked, t, rng(*key)) for t in (town_of(gold_of(asked), town), _falsified(asked, town, rng(*key, "other"))))
        if gold(asked, right, town).honest and not gold(asked, wrong, town).honest:
            return right, wrong
    return None


def _said(asked: Prompt, town: Town, chance: Random) -> str:
    """What a good reply would be if the town were so."""
    known = gold_of(asked)
    return KINDS[known["kind"]].good(town, known, chance)


def _falsified(asked: Prompt, town: Town, chance: Random) -> Town:
    """The town with another value for one of the facts that were asked for."""
    here = town_of(gold_of(asked), town)
    slot = chance.choice(slots_of(gold_of(asked)))
    return Town(here.seed, here.entities, here.blanks, {**here.facts, slot: wrong_value(here, slot, chance)})


def load(spec: str) -> list[Comparison]:
    """The pairs of ``town:truths?n=1000&seed=1&split=train&families=fact,compare``."""
    settings: dict[str, Any] = {"n": 1000}
    for pair in filter(None, spec.partition("?")[2].split("&")):
        key, equals, value = pair.partition("=")
        if key not in ("n", "seed", "split", "families") or not equals:
            raise UserError(f"{spec}: truths has no key {key!r}.", "Keys: n, seed, split, families, as key=value joined by &.")
        read, meaning = KEYS[key]
        try:
            settings[key] = read(value)
        except (ValueError, KeyError):
            raise UserError(f"{spec}: {key}={value} cannot be read.", f"{key} is {meaning}.") from None
    return truths(**settings)
