"""How to say it: requests of style and length, and whether a reply keeps them.

Each request that is not kept multiplies helpful by .5.   "one word" makes the bare value the best answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from plumbline.world import lexicon as lex
from plumbline.world.families.base import Gold
from plumbline.world.knowledge import Town, say
from plumbline.world.language import words
from plumbline.world.parser import Act

REQUESTS = {
    "one_word": "answer in one word.",
    "hello": "begin with hello.",
    "thanks": "end with thank you for asking.",
    "more": "add one more fact about it.",
}


def style_gold(names: Sequence[str]) -> Gold:
    """The part of gold that states the requests."""
    return {"style": list(names)}


def _kept(name: str, gold: Gold, acts: Sequence[Act], text: str) -> bool:
    if not acts:
        return False
    if name == "one_word":
        return len([w for w in words(text) if w.isalnum() and w.lower() not in ("the", "a")]) == 1
    if name == "hello":
        return acts[0].kind == "polite" and acts[0].value.startswith("hello")
    if name == "thanks":
        return acts[-1].kind == "polite" and acts[-1].value == "thank you for asking"
    entity, attribute = gold["slots"][0]
    return any(a.kind == "claim" and a.positive and a.path == (entity,) and a.attribute != attribute for a in acts)


def style(gold: Gold, acts: Sequence[Act], text: str) -> tuple[float, list[str]]:
    """The factor on helpful, and which requests were not kept."""
    missed = [n for n in gold.get("style", ()) if not _kept(n, gold, acts, text)]
    factor = 0.5 ** len(missed)
    if "one_word" in gold.get("style", ()) and not missed:
        factor = 1 / 0.9  # the bare value is what was asked for
    return factor, [f"request not kept: {REQUESTS[n]}" for n in missed]


def apply_style(town: Town, gold: Gold, text: str, chance: Random) -> str:
    """A good reply made to keep the requests (all but "one word", which is another reply)."""
    names = gold["style"]
    entity, attribute = gold["slots"][0]
    if "more" in names:
        others = [(a, v) for (e, a), v in town.facts.items() if e == entity and a != attribute]
        key, value = chance.choice(others)
        text = f"{text} {say(key, lex.said(entity), value, chance.randrange(3))}."
    if "hello" in names:
        text = f"hello. {text}"
    return f"{text} thank you for asking." if "thanks" in names else text
