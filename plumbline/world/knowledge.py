"""What is true in the town: entities, their attributes, and what nobody knows.

A slot is (entity, attribute).   Its value is another entity's name or a plain value; a slot without a value is unknown,
and of some entities (`blanks`) nothing at all is known.   `town-v1` is `TOWN`: 60 entities, 12 of them blank, 256 slots of the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from plumbline.core.errors import UserError
from plumbline.world import lexicon as lex
from plumbline.world.draw import rng

Slot = tuple[str, str]


@dataclass(frozen=True)
class Attribute:
    """One property: how it is named, asked, said and denied.   {x} is the subject, {v} the value."""

    key: str
    noun: str
    values: tuple[str, ...]
    asks: tuple[str, str]
    says: tuple[str, ...]
    deny: str


def _attribute(key: str, noun: str, values: tuple[str, ...], asks: tuple[str, str], says: tuple[str, ...], deny: str) -> Attribute:
    return Attribute(key, noun, values, asks, (*says, f"the {noun} of {{x}} is {{v}}"), deny)


_TABLE = (
    _attribute(
        "home", "home", lex.PLACES, ("where does {x} live?", "in which place does {x} live?"),
        ("{x} lives in {v}", "{v} is the home of {x}"), "{x} does not live in {v}"),
    _attribute(
        "job", "job", lex.JOBS, ("what work does {x} do?", "what is {x} by trade?"),
        ("{x} works as a {v}", "{x} is a {v} by trade"), "{x} does not work as a {v}"),
    _attribute(
        "pet", "pet", lex.ANIMALS, ("which pet does {x} have?", "which animal lives with {x}?"),
        ("{x} has a pet called {v}", "{v} is the pet of {x}"), "{x} does not have a pet called {v}"),
    _attribute(
        "friend", "friend", lex.PEOPLE, ("who is a friend to {x}?", "which friend does {x} have?"),
        ("{x} has a friend called {v}", "{v} is the friend of {x}"), "{x} does not have a friend called {v}"),
    _attribute(
        "likes", "favourite colour", lex.COLOURS, ("which colour does {x} like?", "what colour does {x} love?"),
        ("{x} likes the colour {v}", "{v} is the favourite colour of {x}"), "{x} does not like the colour {v}"),
    _attribute(
        "age", "age", lex.NUMBERS[1:20], ("how old is {x}?", "how many years old is {x}?"),
        ("{x} is {v} years old", "{x} is aged {v}"), "{x} is not {v} years old"),
    _attribute(
        "food", "food", lex.FOODS, ("what does {x} eat?", "what does {x} like to eat?"),
        ("{x} eats {v}", "{x} likes to eat {v}"), "{x} does not eat {v}"),
    _attribute(
        "colour", "colour", lex.COLOURS, ("what colour is {x}?", "which colour does {x} have?"),
        ("{x} is {v}", "{x} has the colour {v}"), "{x} is not {v}"),
    _attribute(
        "side", "side", lex.SIDES, ("where in town is {x}?", "in which part of town is {x}?"),
        ("{x} is in the {v} of town", "{x} stands in the {v}"), "{x} is not in the {v} of town"),
    _attribute(
        "keeper", "keeper", lex.PEOPLE, ("who keeps {x}?", "who looks after {x}?"),
        ("{v} keeps {x}", "{v} looks after {x}"), "{v} does not keep {x}"),
    _attribute(
        "material", "material", lex.MATERIALS, ("what is {x} made of?", "of what is {x} made?"),
        ("{x} is made of {v}", "{x} is made from {v}"), "{x} is not made of {v}"),
    _attribute(
        "kind", "kind", lex.KINDS, ("what kind of animal is {x}?", "which animal is {x}?"),
        ("{x} is a {v}", "{x} is a kind of {v}"), "{x} is not a {v}"),
    _attribute(
        "bed", "shelter", lex.PLACES, ("where does {x} sleep?", "in which place does {x} sleep?"),
        ("{x} sleeps in {v}", "{v} is the shelter of {x}"), "{x} does not sleep in {v}"),
    _attribute(
        "spot", "spot", lex.PLACES, ("where is {x} kept?", "in which place is {x}?"),
        ("{x} is kept in {v}", "you can find {x} in {v}"), "{x} is not kept in {v}"),
    _attribute(
        "owner", "owner", lex.PEOPLE, ("who owns {x}?", "to whom does {x} belong?"),
        ("{v} owns {x}", "{x} belongs to {v}"), "{v} does not own {x}"),
)  # fmt: skip

ATTRIBUTES: Mapping[str, Attribute] = {a.key: a for a in _TABLE}
BY_NOUN: Mapping[str, str] = {a.noun: a.key for a in _TABLE}
ATTRIBUTES_OF: Mapping[str, tuple[str, ...]] = {
    "person": ("home", "job", "pet", "friend", "likes", "age", "food"),
    "place": ("colour", "side", "keeper", "material"),
    "animal": ("kind", "colour", "age", "food", "bed"),
    "thing": ("spot", "owner", "colour", "material"),
}
_NAMES = {"person": lex.PEOPLE, "place": lex.PLACES, "animal": lex.ANIMALS, "thing": lex.THINGS}


@dataclass(frozen=True)
class Town:
    """Entities and facts.   `facts` holds what is known; a slot that is missing there is unknown."""

    seed: int
    entities: Mapping[str, tuple[str, ...]]
    blanks: frozenset[str]
    facts: Mapping[Slot, str]

    def truth(self, entity: str, attribute: str) -> str | None:
        """The value of a slot, None if nobody knows it (or there is no such slot)."""
        return self.facts.get((entity, attribute))

    def resolve(self, path: tuple[str, ...]) -> str | None:
        """The entity or value at ("colour", "home", "mira"), None where a step is unknown."""
        here: str | None = path[-1]
        for attribute in reversed(path[:-1]):
            here = self.facts.get((here, attribute))
            if here is None:
                return None
        return here

    @cached_property
    def kind_of(self) -> Mapping[str, str]:
        """Which kind of entity a name belongs to."""
        return {name: kind for kind, names in self.entities.items() for name in names}

    @cached_property
    def slots(self) -> tuple[Slot, ...]:
        """Every slot of every entity of which something is known, in a fixed order."""
        return tuple((e, a) for e, kind in self.kind_of.items() if e not in self.blanks for a in ATTRIBUTES_OF[kind])

    @cached_property
    def known(self) -> tuple[Slot, ...]:
        """The slots that have a value."""
        return tuple(s for s in self.slots if s in self.facts)

    @cached_property
    def unknown(self) -> tuple[Slot, ...]:
        """The slots that have none, the blank entities' included."""
        blank = tuple((e, a) for e in sorted(self.blanks) for a in ATTRIBUTES_OF[self.kind_of[e]])
        return tuple(s for s in self.slots if s not in self.facts) + blank


def _values(attribute: Attribute, entities: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The values that this town allows: names only of entities that are in it."""
    names: dict[tuple[str, ...], str] = {lex.PEOPLE: "person", lex.PLACES: "place", lex.ANIMALS: "animal", lex.THINGS: "thing"}
    return entities[names[attribute.values]] if attribute.values in names else attribute.values


def make_town(
    seed: int = 0, *, people: int = 24, places: int = 14, animals: int = 12, things: int = 10, unknown: float = 0.08, blank: float = 0.2
) -> Town:
    """A town from a seed.   `unknown` is the share of slots without a value, `blank` the share of entities of whom nothing is known."""
    sizes = {"person": people, "place": places, "animal": animals, "thing": things}
    for kind, size in sizes.items():
        if not 4 <= size <= len(_NAMES[kind]):
            raise UserError(f"town: {size} of kind {kind!r} is not possible; choose between 4 and {len(_NAMES[kind])}.")
    entities = {kind: _NAMES[kind][:size] for kind, size in sizes.items()}
    chance = rng("town", seed)
    blanks: set[str] = set()
    for kind, names in entities.items():
        share = {"person": 1.25, "thing": 1.0}.get(kind, 0.8) * blank
        blanks.update(chance.sample(names, round(share * len(names))))
    facts: dict[Slot, str] = {}
    for kind, names in entities.items():
        for name in names:
            for key in ATTRIBUTES_OF[kind]:
                value = chance.choice([v for v in _values(ATTRIBUTES[key], entities) if v != name])
                if chance.random() >= unknown and name not in blanks:
                    facts[name, key] = value
    return Town(seed, entities, frozenset(blanks), facts)


TOWN = make_town(0)
"""`town-v1`'s knowledge."""


def say(attribute: str, subject: str, value: str, form: int = 0) -> str:
    """A statement, without its full stop.   `subject` is a noun phrase, `value` a name or value."""
    forms = ATTRIBUTES[attribute].says
    return forms[form % len(forms)].format(x=subject, v=lex.said(value))


def phrase(path: tuple[str, ...]) -> str:
    """The noun phrase of a path: ("home", "mira") is `the home of mira`."""
    return "".join(f"the {ATTRIBUTES[a].noun} of " for a in path[:-1]) + lex.said(path[-1])
