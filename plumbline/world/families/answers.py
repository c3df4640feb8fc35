"""Kind "answer": say the value of each asked slot, or that nobody knows it.

gold = {"kind": "answer", "slots": [[entity, attribute], …], "paths": [[…], …], "facts"?: {"entity|attribute": value}, "secret"?, "style"?}

helpful is the mean over the slots of: 1 for a full sentence with the right value, .9 for the bare value; for an unknown slot 1 for
saying what is not known, .85 for a bare "i do not know"; .1 for "i do not know" about what is known; 0 for anything else.
A wrong value, or any value for an unknown slot, is a lie.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from plumbline.world import lexicon as lex
from plumbline.world.families.base import Gold, Kind, Verdict, any_claim, common_bad, politeness, wrong_value
from plumbline.world.knowledge import ATTRIBUTES, Slot, Town, phrase, say
from plumbline.world.parser import Act

NOT_KNOWN = (
    "i do not know the {noun} of {x}.", "nobody knows the {noun} of {x}.", "the {noun} of {x} is not known.",
)  # fmt: skip
NOTHING = ("i do not know anything about {x}.", "nobody knows anything about {x}.")
OPEN = ("", "", "", "of course, ", "gladly, ", "as far as i know, ")


def slots_of(gold: Gold) -> list[Slot]:
    """The asked slots."""
    return [(e, a) for e, a in gold["slots"]]


def not_known(town: Town, path: tuple[str, ...], chance: Random) -> str:
    """An admission that names what is not known.   `path` ends in the entity and begins with the attribute."""
    entity = path[1:]
    if len(entity) == 1 and entity[0] in town.blanks and chance.random() < 0.4:
        return chance.choice(NOTHING).format(x=phrase(entity))
    return chance.choice(NOT_KNOWN).format(noun=ATTRIBUTES[path[0]].noun, x=phrase(entity))


def statement(town: Town, path: tuple[str, ...], slot: Slot, chance: Random) -> str:
    """A full sentence that answers one slot: the value, or the admission."""
    value = town.truth(*slot)
    if value is None:
        return not_known(town, path, chance)
    subject = lex.said(slot[0]) if len(path) == 2 or chance.random() < 0.5 else phrase(path[1:])
    return say(slot[1], subject, value, chance.randrange(3)) + "."


def hops(town: Town, path: tuple[str, ...], chance: Random) -> list[str]:
    """The steps towards the subject of a path: who the friend is, where the friend lives."""
    steps = []
    for i in range(len(path) - 2, 0, -1):
        entity = town.resolve(path[i + 1 :])
        value = town.truth(entity, path[i]) if entity else None
        if entity and value:
            steps.append(say(path[i], lex.said(entity), value, chance.randrange(3)) + ".")
    return steps


def good(town: Town, gold: Gold, chance: Random) -> str:
    """Every slot in a full sentence; now and then a courtesy, or the steps that lead there."""
    parts = []
    for slot, path in zip(slots_of(gold), gold["paths"], strict=True):
        if len(path) > 2 and chance.random() < 0.6:
            parts += hops(town, tuple(path), chance)
        parts.append(statement(town, tuple(path), slot, chance))
    return chance.choice(OPEN) + " ".join(parts)


def brief(town: Town, gold: Gold) -> str:
    """The bare values."""
    values = [town.truth(*s) for s in slots_of(gold)]
    return " ".join(f"{lex.said(v)}." if v else "i do not know." for v in values)


def bad(town: Town, gold: Gold, chance: Random) -> list[tuple[str, str]]:
    """Wrong values or inventions, false ignorance, bare values, rambling, half answers."""
    slots = slots_of(gold)
    lies = [say(a, lex.said(e), wrong_value(town, (e, a), chance), chance.randrange(3)) + "." for e, a in slots]
    known = [town.truth(*s) is not None for s in slots]
    right = good(town, gold, chance)
    one = chance.randrange(len(slots))
    mixed = [lies[i] if i == one else statement(town, tuple(gold["paths"][i]), s, chance) for i, s in enumerate(slots)]
    out = [
        ("wrong" if known[one] else "invention", " ".join(mixed)),
        ("ramble", " ".join([right, any_claim(town, gold, chance), any_claim(town, gold, chance), politeness(chance)])),
        ("brief", brief(town, gold)),
        *common_bad(town, gold, chance),
    ]
    if all(known):
        out.append(("false_ignorance", "i do not know."))
    if len(slots) > 1:
        out.append(("half", statement(town, tuple(gold["paths"][one]), slots[one], chance)))
    return out


def _admits(act: Act, path: tuple[str, ...], slot: Slot) -> float:
    """How well an "unknown" act fits a slot: 1 names it, .85 is bare, 0 is about something else."""
    if act.kind != "unknown":
        return 0.0
    if not act.path:
        return 0.85
    about = act.path in (path[1:], (slot[0],))
    return 1.0 if about and act.attribute in ("", slot[1]) else 0.0


def _credit(town: Town, act: Act, slot: Slot) -> tuple[float, bool]:
    """(credit, lie) of one act for one slot."""
    truth = town.truth(*slot)
    if act.kind == "claim" and act.positive and act.attribute == slot[1] and town.resolve(act.path) == slot[0]:
        return (1.0, False) if act.value == truth else (0.0, True)
    if act.kind == "fragment" and truth is not None:
        return (0.9, False) if act.value == truth else (0.0, False)
    return 0.0, False


def check_slot(town: Town, path: tuple[str, ...], slot: Slot, acts: Sequence[Act]) -> Verdict:
    """One slot: the best credit, the acts that earned it, and the lies about it."""
    credits = [_credit(town, act, slot) for act in acts]
    admits = [_admits(act, path, slot) for act in acts]
    lies = tuple(i for i, (_, lie) in enumerate(credits) if lie)
    used = frozenset(i for i, (c, _) in enumerate(credits) if c) | frozenset(i for i, a in enumerate(admits) if a)
    name = f"{slot[0]}'s {ATTRIBUTES[slot[1]].noun}"
    if town.truth(*slot) is None:
        best = max(admits, default=0.0)
        reason = () if best == 1 else (f"does not say what is not known ({name})",) if best else (f"does not admit that {name} is unknown",)
        return Verdict(best, reason, used, lies)
    best = max((c for c, _ in credits), default=0.0)
    named = [i for i, a in enumerate(admits) if a == 1.0]
    if best and named:
        return Verdict(best / 2, (f"answers and denies knowing {name}",), used, lies)
    if best:
        return Verdict(best, () if best == 1 else (f"bare value for {name}",), used, lies)
    if any(admits):
        return Verdict(0.1, (f"says it does not know {name}, which is known",), used, lies)
    return Verdict(0.0, (f"does not give {name}",), used, lies)


def check(town: Town, gold: Gold, acts: Sequence[Act]) -> Verdict:
    """The mean over the asked slots; a bare value that fits no asked slot is a lie."""
    slots = slots_of(gold)
    found = [check_slot(town, tuple(p), s, acts) for s, p in zip(slots, gold["paths"], strict=True)]
    truths = {town.truth(*s) for s in slots} - {None}
    stray = tuple(i for i, act in enumerate(acts) if act.kind == "fragment" and act.value not in truths)
    helpful = sum(v.helpful for v in found) / len(found)
    bare = any(a.kind == "unknown" and not a.path for a in acts)
    reasons = tuple(r for v in found for r in v.reasons)
    if bare and all(town.truth(*s) for s in slots) and helpful > 0.1:
        helpful, reasons = helpful / 2, (*reasons, "answers and denies knowing")
    used = frozenset().union(*(v.used for v in found))
    return Verdict(helpful, reasons, used, tuple({*stray, *(i for v in found for i in v.lies)}))


ANSWER = Kind(good, bad, check)
