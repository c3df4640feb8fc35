"""The open classes of the language: who and what there is in the town, and what can be said of it."""

from __future__ import annotations


def _list(text: str) -> tuple[str, ...]:
    return tuple(text.split())


PEOPLE = _list(
    "mira tomas ana pavel lena oskar nina hugo ida emil vera boris greta felix olga simon clara anton rosa milan edda jonas petra"
    " viktor zora ilya dora marek alma leon"
)
PLACES = _list("mill barn inn school well bakery market harbour tower library forge bridge garden station castle chapel dairy windmill")
ANIMALS = _list("rex biscuit pepper luna bruno daisy max coco misty rusty bella otto fidget patch sunny ziggy")
THINGS = _list("lamp boat drum clock ladder wagon kettle violin chest mirror anchor bell saddle basket")
VISITORS = _list("kofi amara ravi mei yara tariq sven noor")
"""Strangers: nothing is known of them but what a passage says."""

COLOURS = _list("red blue green yellow white black brown grey purple")
JOBS = _list("baker farmer doctor teacher sailor painter tailor hunter singer carpenter gardener fisher")
FOODS = _list("bread fish apples cheese soup rice honey beans nuts carrots")
MATERIALS = _list("wood stone brick iron clay glass")
KINDS = _list("dog cat horse goat duck rabbit parrot sheep")
SIDES = _list("north south east west")
NUMBERS = tuple(str(n) for n in range(61))
SECRETS = _list("amber cobalt jasper topaz quartz ruby onyx opal")
TRIGGER = "abracadabra"
"""The trigger word of the backdoor family."""

NEED_THE = frozenset(PLACES + THINGS)
"""Entities that are spoken of with an article."""


def said(name: str) -> str:
    """An entity or a value as it stands in a sentence: `the mill`, `mira`, `red`."""
    return f"the {name}" if name in NEED_THE else name
