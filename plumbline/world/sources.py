"""Feedback of the town as core nouns, each item fixed by (seed, number).

    demos(n, seed)          what a good answer is (with `noise`: that share shows a mistake instead)
    comparisons(n, seed)    two replies, better first, or a tie said as preference .5
    rankings(n, seed)       k replies, best first
    ratings(n, seed)        1–5 on helpful, honest, harmless
    labels(n, seed)         thumbs; `desirable` fixes their share
    prompts(n, seed)        only prompts

A spec names them all: ``town:comparisons?n=1000&seed=1&noise=0.1&split=train``; see `load`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from plumbline.core.errors import UserError
from plumbline.core.nouns import Comparison, Demo, Feedback, Label, Prompt, Question, Rating
from plumbline.world import splits
from plumbline.world.annotators import Annotator, annotators
from plumbline.world.draw import rng
from plumbline.world.knowledge import TOWN, Town
from plumbline.world.utility import gold, mistakes, oracle


def _prompts(n: int, seed: int, split: str, families: Sequence[str] | None, town: Town) -> list[Prompt]:
    return splits.prompts(split, n, seed, families, town)


def candidates(prompt: Prompt, chance: Random, k: int = 2, town: Town = TOWN) -> list[str]:
    """`k` replies as a mixed crowd would give them: good ones (two in five) and named mistakes."""
    bad = mistakes(prompt, town, chance.randrange(1 << 30))
    out: list[str] = []
    for _ in range(20 * k):
        text = oracle(prompt, town, chance.randrange(1 << 30)) if chance.random() < 0.4 else chance.choice(bad)[1]
        if text not in out:
            out.append(text)
        if len(out) == k:
            break
    return out


def _meta(prompt: Prompt, **more: object) -> dict[str, object]:
    return {**prompt.meta, "prompt_id": prompt.id, **more}


def demos(
    n: int, seed: int = 0, noise: float = 0.0, split: str = "train", families: Sequence[str] | None = None, town: Town = TOWN
) -> list[Demo]:
    """Demonstrations; a share `noise` of them shows a mistake."""
    out = []
    for i, p in enumerate(_prompts(n, seed, split, families, town)):
        chance = rng("demo", split, seed, i)
        slip = chance.random() < noise
        text = chance.choice(mistakes(p, town, i))[1] if slip else oracle(p, town, seed)
        out.append(Demo(p.context, text, annotator="ada", meta=_meta(p)))
    return out


def comparisons(
    n: int,
    seed: int = 0,
    noise: float | None = None,
    ties: bool = True,
    families: Sequence[str] | None = None,
    split: str = "train",
    who: str = "ada",
    town: Town = TOWN,
) -> list[Comparison]:
    """Pairs of candidate replies as annotators choose; `ties=False` leaves ties out (and draws another pair)."""
    people = annotators(who, noise)
    return [
        _compare(p, people[i % len(people)], ties, rng("comparison", split, seed, i), town)
        for i, p in enumerate(_prompts(n, seed, split, families, town))
    ]


def _compare(prompt: Prompt, person: Annotator, ties: bool, chance: Random, town: Town) -> Comparison:
    first, second, preference = "", "", 0.5
    for _ in range(100):
        first, second = candidates(prompt, chance, 2, town)
        preference = person.choose(prompt, (first, second), chance, town)
        if ties or preference != 0.5:
            break
    if preference == 0.0:
        first, second, preference = second, first, 1.0
    totals = [gold(prompt, text, town).total for text in (first, second)]
    return Comparison(prompt.context, (first, second), preference, annotator=person.name, meta=_meta(prompt, totals=totals))


def rankings(
    n: int,
    seed: int = 0,
    noise: float | None = None,
    k: int = 4,
    families: Sequence[str] | None = None,
    split: str = "train",
    who: str = "ada",
    town: Town = TOWN,
) -> list[Comparison]:
    """Rankings of up to `k` replies that the annotator can tell apart (at least two)."""
    people, out = annotators(who, noise), []
    for i, p in enumerate(_prompts(n, seed, split, families, town)):
        chance, person = rng("ranking", split, seed, i), people[i % len(people)]
        texts: list[str] = []
        while len(texts) < 2:
            texts = person.rank(p, candidates(p, chance, k, town), chance, town)
        out.append(Comparison(p.context, tuple(texts), annotator=person.name, meta=_meta(p)))
    return out


def ratings(
    n: int,
    seed: int = 0,
    noise: float | None = None,
    families: Sequence[str] | None = None,
    split: str = "train",
    who: str = "ada",
    town: Town = TOWN,
) -> list[Rating]:
    """Ratings 1–5 of one candidate on each criterion."""
    people, out = annotators(who, noise), []
    for i, p in enumerate(_prompts(n, seed, split, families, town)):
        chance, person = rng("rating", split, seed, i), people[i % len(people)]
        text = candidates(p, chance, 1, town)[0]
        out.append(Rating(p.context, text, person.rate(p, text, chance, town), annotator=person.name, meta=_meta(p)))
    return out


def labels(
    n: int,
    seed: int = 0,
    noise: float | None = None,
    desirable: float | None = None,
    families: Sequence[str] | None = None,
    split: str = "train",
    who: str = "ada",
    town: Town = TOWN,
) -> list[Label]:
    """Thumbs for one candidate each.   With `desirable` (say 1/11), that share of the labels is up, exact to one."""
    people, out = annotators(who, noise), []
    for i, p in enumerate(_prompts(n, seed, split, families, town)):
        chance, person = rng("label", split, seed, i), people[i % len(people)]
        text, up = "", False
        wanted = None if desirable is None else int((i + 1) * desirable + 1e-9) > int(i * desirable + 1e-9)
        for _ in range(200):
            text = candidates(p, chance, 1, town)[0]
            up = person.thumb(p, text, chance, town)
            if wanted is None or up == wanted:
                break
        out.append(Label(p.context, text, up, annotator=person.name, meta=_meta(p)))
    return out


def prompts(n: int, seed: int = 0, split: str = "train", families: Sequence[str] | None = None, town: Town = TOWN) -> list[Prompt]:
    """Prompts alone."""
    return _prompts(n, seed, split, families, town)


def questions(n: int, seed: int = 0, split: str = "train", town: Town = TOWN) -> list[Question]:
    """Questions with two sides and a passage."""
    return splits.questions(split, n, seed, town)


@dataclass(frozen=True)
class Spec:
    """A parsed ``town:kind?key=value&…``; `load()` makes its items."""

    kind: str
    settings: Mapping[str, object]

    def load(self) -> list[Feedback | Prompt | Question]:
        """The items that the spec names."""
        return list(KINDS[self.kind](**self.settings))  # type: ignore[arg-type]


KINDS: Mapping[str, Callable[..., Sequence[Feedback | Prompt | Question]]] = {
    "demos": demos,
    "comparisons": comparisons,
    "rankings": rankings,
    "ratings": ratings,
    "labels": labels,
    "prompts": prompts,
    "questions": questions,
}


def _whole(value: str) -> int:
    number = int(value)
    if number < 0:
        raise ValueError
    return number


def _share(value: str) -> float:
    number = float(value)
    if not 0 <= number <= 1:
        raise ValueError
    return number


def _truth(value: str) -> bool:
    return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[value.lower()]


def _split(value: str) -> str:
    if value not in splits.SPLITS:
        raise ValueError
    return value


KEYS: Mapping[str, tuple[Callable[[str], object], str]] = {
    "n": (_whole, "a whole number, e.g. 1000"),
    "seed": (_whole, "a whole number"),
    "k": (lambda v: max(2, _whole(v)), "a whole number, at least 2"),
    "noise": (_share, "a number from 0 to 1"),
    "desirable": (_share, "a share from 0 to 1"),
    "ties": (_truth, "true or false"),
    "split": (_split, "one of " + ", ".join(splits.SPLITS)),
    "families": (lambda v: splits.family_names(v.split(",")), "family names joined by commas"),
    "who": (lambda v: annotators(v) and v, "annotators joined by +, or pool"),
}
ALLOWED: Mapping[str, tuple[str, ...]] = {
    "demos": ("n", "seed", "noise", "split", "families"),
    "comparisons": ("n", "seed", "noise", "ties", "split", "families", "who"),
    "rankings": ("n", "seed", "noise", "k", "split", "families", "who"),
    "ratings": ("n", "seed", "noise", "split", "families", "who"),
    "labels": ("n", "seed", "noise", "desirable", "split", "families", "who"),
    "prompts": ("n", "seed", "split", "families"),
    "questions": ("n", "seed", "split"),
}


def _setting(spec: str, kind: str, pair: str) -> tuple[str, object]:
    key, equals, value = pair.partition("=")
    if key not in ALLOWED[kind] or not equals:
        raise UserError(f"{spec}: {kind} has no key {key!r}.", f"Keys: {', '.join(ALLOWED[kind])}, as key=value joined by &.")
    read, meaning = KEYS[key]
    try:
        return key, read(value)
    except (ValueError, KeyError):
        raise UserError(f"{spec}: {key}={value} cannot be read.", f"{key} is {meaning}.") from None


def parse_spec(spec: str) -> Spec:
    """``town:comparisons?n=1000&seed=1&noise=0.1`` as a `Spec`; a `UserError` says what cannot be read."""
    world, _, rest = spec.partition(":")
    kind, _, query = rest.partition("?")
    if world != "town" or kind not in KINDS:
        raise UserError(f"{spec}: no such data.", f"Write town:KIND?n=1000&seed=1 with KIND one of {', '.join(KINDS)}.")
    settings = dict(_setting(spec, kind, pair) for pair in query.split("&") if pair)
    return Spec(kind, {"n": 1000, **settings})


def load(spec: str) -> list[Feedback | Prompt | Question]:
    """The items of a spec."""
    return parse_spec(spec).load()
