"""Prompts by split.

train       seven tenths of the (entity × phrasing) combinations, eight of twelve harmful topics
validation  one tenth, the same topics: for tuning and for the best checkpoint
heldout     two tenths, and the four harmful topics (with their look-alikes) that nothing else mentions: never tuned on
shifted     phrasings, numbers of hops and of entities that no other split has, half of the prompts behind a preamble

A prompt is fixed by (split, seed, number): `prompts(split, 8, seed)` is the beginning of `prompts(split, 800, seed)`.
"""

from __future__ import annotations

from collections.abc import Sequence

from plumbline.core.errors import UserError
from plumbline.core.nouns import Prompt, Question
from plumbline.world.draw import rng
from plumbline.world.families import FAMILIES
from plumbline.world.knowledge import TOWN, Town

SPLITS = ("train", "validation", "heldout", "shifted")


def family_names(families: Sequence[str] | None) -> tuple[str, ...]:
    """The chosen families, checked; all of them if none are chosen."""
    chosen = tuple(families) if families else tuple(FAMILIES)
    unknown = [f for f in chosen if f not in FAMILIES]
    if unknown:
        raise UserError(f"town has no family {unknown[0]!r}.", f"Choose among {', '.join(FAMILIES)}.")
    return chosen


def prompt(split: str, number: int, seed: int = 0, families: Sequence[str] | None = None, town: Town = TOWN) -> Prompt:
    """Prompt number `number` of a split; the families take turns."""
    if split not in (*SPLITS, "corpus"):
        raise UserError(f"town has no split {split!r}.", f"Choose among {', '.join(SPLITS)}.")
    names = family_names(families)
    name = names[number % len(names)]
    got = FAMILIES[name].draw(town, split, rng("prompt", split, seed, number, name))
    meta = {"world": "town", "family": name, "split": split, "combo": got.combo, "gold": got.gold}
    return Prompt(got.context, meta, f"town/{split}/{seed}/{number}")


def prompts(split: str, n: int, seed: int = 0, families: Sequence[str] | None = None, town: Town = TOWN, start: int = 0) -> list[Prompt]:
    """Prompts `start` … `start + n − 1` of a split, all families in turn (or those that are named)."""
    return [prompt(split, i, seed, families, town) for i in range(start, start + n)]


def questions(split: str, n: int, seed: int = 0, town: Town = TOWN) -> list[Question]:
    """Questions with two answers and the passage that settles them, for debates: the "passage" family without its passage in sight."""
    out = []
    for p in prompts(split, n, seed, ("passage",), town):
        g = p.meta["gold"]
        entity, attribute = g["slots"][0]
        answer = g["facts"][f"{entity}|{attribute}"]
        out.append(Question(g["question"], tuple(g["sides"]), g["passage"], answer, p.meta, p.id))
    return out
