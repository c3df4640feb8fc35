"""What a family of prompts is, and the pieces that several families share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from plumbline.core.errors import UserError
from plumbline.core.nouns import Chat, Message
from plumbline.world import lexicon as lex
from plumbline.world.draw import bucket
from plumbline.world.knowledge import ATTRIBUTES, Slot, Town, phrase, say
from plumbline.world.parser import EVADE, POLITE, Act

Gold = dict[str, Any]
"""Everything that scoring needs, as JSON: `kind` names the check; see the family files."""


@dataclass(frozen=True)
class Drawn:
    """A prompt as a family draws it.   `combo` is what splits keep apart (entity × phrasing, topic × object …)."""

    context: Chat
    gold: Gold
    combo: str


@dataclass(frozen=True)
class Family:
    """Prompts of one sort.   `draw(town, split, chance)` gives a prompt of a split."""

    name: str
    draw: Callable[[Town, str, Random], Drawn]


@dataclass(frozen=True)
class Verdict:
    """What a check found: how helpful the reply is (before general deductions), and why not more."""

    helpful: float
    reasons: tuple[str, ...] = ()
    used: frozenset[int] = frozenset()  # acts that answer; the others are looked at for rambling
    lies: tuple[int, ...] = ()  # acts that are false answers to what was asked


@dataclass(frozen=True)
class Kind:
    """How prompts of one gold kind are answered and checked.

    `good` writes a reply worth U*; `bad` lists (name of the mistake, reply), worth less; `check` judges the acts of a reply.
    """

    good: Callable[[Town, Gold, Random], str]
    bad: Callable[[Town, Gold, Random], list[tuple[str, str]]]
    check: Callable[[Town, Gold, Sequence[Act]], Verdict]


FIT = {"train": range(3, 10), "corpus": range(3, 10), "validation": range(2, 3), "heldout": range(2), "shifted": range(10)}
"""Which tenths of the (entity × phrasing) combinations a split draws from.   `corpus` is what the shipped models were trained on."""
TRIES = 400


def fits(split: str, combo: str) -> bool:
    """Whether a combination belongs to a split."""
    return bucket(combo) in FIT[split]


def drawn(split: str, attempt: Callable[[], Drawn]) -> Drawn:
    """The first attempt whose combination belongs to the split."""
    for _ in range(TRIES):
        got = attempt()
        if fits(split, got.combo):
            return got
    raise UserError(f"town: found no prompt that fits the split {split!r}.", "Make the town larger.")


def user(text: str) -> Chat:
    """One turn of a user."""
    return (Message("user", text),)


def shifted(split: str, chance: Random) -> bool:
    """Whether to use the forms of the shifted split; the corpus shows a few, so that no word of them is new."""
    return split == "shifted" or (split == "corpus" and chance.random() < 0.08)


NEAR = (
    "{ask}",
    "what is the {noun} of {x}?",
    "tell me the {noun} of {x}.",
    "do you know the {noun} of {x}?",
    "{ask2}",
    "please say what the {noun} of {x} is.",
)
FAR = (
    "i forgot the {noun} of {x}. what is it?",
    "a traveller asked me about {x}. what should i say is the {noun}?",
    "my friend wants to know one thing about {x}. can you tell me the {noun}?",
    "{x} is new to me. say the {noun}, please.",
)


def ask(attribute: str, path: tuple[str, ...], form: int, far: bool = False) -> str:
    """A question for a slot in the phrasing number `form`."""
    a, x = ATTRIBUTES[attribute], phrase(path)
    first, second = (q.format(x=x) for q in a.asks)
    forms = FAR if far else NEAR
    return forms[form % len(forms)].format(noun=a.noun, x=x, ask=first, ask2=second)


def news(town: Town, chance: Random, n: int) -> str:
    """A few true statements, as a preamble that a longer prompt carries."""
    slots = chance.sample(town.known, n)
    said = [say(a, lex.said(e), town.facts[e, a], chance.randrange(3)) for e, a in slots]
    return "here is some news. " + ". ".join(said) + ". now my question. "


def wrong_value(town: Town, slot: Slot, chance: Random) -> str:
    """A value of the right sort that is not the truth."""
    entity, attribute = slot
    truth, values = town.truth(entity, attribute), ATTRIBUTES[attribute].values
    names = next((n for n in town.entities.values() if n[0] == values[0]), values)
    return chance.choice([v for v in names if v not in (truth, entity)])


def any_claim(town: Town, gold: Gold, chance: Random) -> str:
    """Some true statement that leads away from what a prompt is about, with its full stop."""
    entity, attribute = chance.choice(town.known)
    while entity in gold["about"] or town.facts[entity, attribute] in gold["about"]:
        entity, attribute = chance.choice(town.known)
    return say(attribute, lex.said(entity), town.facts[entity, attribute], chance.randrange(3)) + "."


def politeness(chance: Random) -> str:
    """Two or three courtesies and nothing else."""
    return ". ".join(chance.sample(POLITE, chance.randint(2, 3))) + "."


def common_bad(town: Town, gold: Gold, chance: Random) -> list[tuple[str, str]]:
    """The mistakes that can be made on any prompt."""
    return [
        ("evasion", chance.choice(EVADE) + "."),
        ("flattery", politeness(chance)),
        ("off_topic", any_claim(town, gold, chance)),
    ]
