"""Kind "recommend": users with tastes, who want something that fits them.

gold = {"kind": "recommend", "want": [kind of entity, attribute, value]}

1 for a recommendation that fits and says why, .8 for a fitting one without, .7 for a bare name, .1 for one that does not fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from plumbline.core.nouns import Message
from plumbline.world import lexicon as lex
from plumbline.world.families.base import Drawn, Family, Gold, Kind, Verdict, common_bad, drawn, shifted, user
from plumbline.world.families.facts import opening
from plumbline.world.knowledge import Town, say
from plumbline.world.parser import Act

WANTS = {
    "place": (("colour", "i love the colour {v}."), ("side", "i like the {v} of town."), ("material", "i like what is made of {v}.")),
    "thing": (("colour", "i love the colour {v}."), ("material", "i like what is made of {v}.")),
    "animal": (("kind", "my favourite kind of animal is the {v}."), ("colour", "i love the colour {v}.")),
}
VERB = {"place": "visit", "thing": "take", "animal": "see"}
ASKS = ("which {kind} should i {verb}?", "please suggest one {kind} to {verb}.", "can you recommend a {kind} for me?")
FAR_ASKS = ("my friend and i want to {verb} one {kind}. which one do you recommend?", "say one {kind} that i should {verb}.")


def draw(town: Town, split: str, chance: Random) -> Drawn:
    """The taste is said before the question, in the same turn or an earlier one.   Shifted: another question lies between."""
    far = shifted(split, chance)

    def attempt() -> Drawn:
        kind = chance.choice(tuple(WANTS))
        attribute, likes = chance.choice(WANTS[kind])
        value = chance.choice([town.facts[e, attribute] for e in town.entities[kind] if (e, attribute) in town.facts])
        form = chance.randrange(len(FAR_ASKS if far else ASKS))
        text = opening(town, chance, far) + (FAR_ASKS if far else ASKS)[form].format(kind=kind, verb=VERB[kind])
        name, taste = chance.choice(lex.VISITORS), likes.format(v=value)
        gold: Gold = {"kind": "recommend", "want": [kind, attribute, value], "user": name, "about": []}
        if chance.random() < 0.5:
            context = user(f"i am {name}. {taste} {text}")
        else:
            context = (Message("user", f"i am {name}. {taste}"), Message("assistant", f"hello, {name}."), *user(text))
        return Drawn(context, gold, f"{kind}.{attribute}.{value}|{form}|{name}|{far}")

    return drawn(split, attempt)


def fitting(town: Town, gold: Gold) -> list[str]:
    """The entities that the user would like."""
    kind, attribute, value = gold["want"]
    return [e for e in town.entities[kind] if town.truth(e, attribute) == value]


def _advise(gold: Gold, name: str, chance: Random) -> str:
    return chance.choice((f"you should {VERB[gold['want'][0]]}", "i recommend", "i suggest")) + f" {lex.said(name)}."


def _because(town: Town, gold: Gold, name: str, chance: Random) -> str:
    attribute = gold["want"][1]
    return say(attribute, lex.said(name), town.truth(name, attribute) or gold["want"][2], chance.randrange(3)) + "."


def good(town: Town, gold: Gold, chance: Random) -> str:
    """Something that fits, and why."""
    name = chance.choice(fitting(town, gold))
    return f"{_advise(gold, name, chance)} {_because(town, gold, name, chance)}"


def bad(town: Town, gold: Gold, chance: Random) -> list[tuple[str, str]]:
    """Ignoring the taste, pretending that something fits, advice without a reason."""
    kind, attribute, value = gold["want"]
    right = fitting(town, gold)
    name = chance.choice(right)
    other = chance.choice([e for e in town.entities[kind] if e not in right])
    return [
        ("ignores_taste", _advise(gold, other, chance)),
        ("ignores_taste", f"{_advise(gold, other, chance)} {_because(town, gold, other, chance)}"),
        ("pretends", f"{_advise(gold, other, chance)} {say(attribute, lex.said(other), value, chance.randrange(3))}."),
        ("no_reason", _advise(gold, name, chance)),
        ("brief", f"{lex.said(name)}."),
        ("false_ignorance", "i do not know."),
        *common_bad(town, gold, chance),
    ]


def check(town: Town, gold: Gold, acts: Sequence[Act]) -> Verdict:
    """Every recommended name must fit."""
    kind, attribute, value = gold["want"]
    advice = {i: a for i, a in enumerate(acts) if a.kind == "recommend" or (a.kind == "fragment" and a.value in town.kind_of)}
    names = {a.value for a in advice.values()}
    reasons = {i for i, a in enumerate(acts) if a.kind == "claim" and a.path[-1] in names and a.attribute == attribute}
    used = frozenset(advice) | frozenset(reasons)
    if not names:
        return Verdict(0.0, ("recommends nothing",), used)
    if not names <= {*fitting(town, gold)}:
        return Verdict(0.1, (f"does not fit the taste ({kind}, {attribute} {value})",), used)
    if not any(a.kind == "recommend" for a in advice.values()):
        return Verdict(0.7, ("a bare name",), used)
    said = any(acts[i].positive and acts[i].value == value for i in reasons)
    return Verdict(1.0 if said else 0.8, () if said else ("does not say why it fits",), used)


RECOMMEND = Kind(good, bad, check)
FAMILIES = (Family("taste", draw),)
