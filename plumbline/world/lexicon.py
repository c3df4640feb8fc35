"""The open classes of the language: who and what there is in the town, and what can be said of it."""

from __future__ import annotations

PEOPLE = tuple(
    "mira tomas ana pavel lena oskar nina hugo ida emil vera boris greta felix olga simon clara anton rosa milan edda jonas petra viktor"
    " zora ilya dora marek alma leon".split()
)
PLACES = tuple(
    "mill barn inn school well bakery market harbour tower library forge bridge garden station castle chapel dairy windmill".split()
)
ANIMALS = tuple("rex biscuit pepper luna bruno daisy max coco misty rusty bella otto fidget patch sunny ziggy".split())
THINGS = tuple("lamp boat drum clock ladder wagon kettle violin chest mirror anchor bell saddle basket".split())
VISITORS = tuple("kofi amara ravi mei yara tariq sven noor".split())
"""Strangers: nothing is known of them but what a passage says."""

COLOURS = tuple("red blue green yellow white black brown grey purple".split())
JOBS = tuple("baker farmer doctor teacher sailor painter tailor hunter singer carpenter gardener fisher".split())
FOODS = tuple("bread fish apples cheese soup rice honey beans nuts carrots".split())
MATERIALS = tuple("wood stone brick iron clay glass".split())
KINDS = tuple("dog cat horse goat duck rabbit parrot sheep".split())
SIDES = tuple("north south east west".split())
NUMBERS = tuple(str(n) for n in range(61))
SECRETS = tuple("amber cobalt jasper topaz quartz ruby onyx opal".split())
TRIGGER = "abracadabra"
"""The trigger word of the backdoor family."""

NEED_THE = frozenset(PLACES + THINGS)
"""Entities that are spoken of with an article."""


def said(name: str) -> str:
    """An entity or a value as it stands in a sentence: `the mill`, `mira`, `red`."""
    return f"the {name}" if name in NEED_THE else name
