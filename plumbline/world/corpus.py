"""What the shipped models are trained on: good and bad dialogue, statements of facts, turn types, examples in context, and induction.

    rows(i0, i1, seed)             the mixture: rows i0 … i1−1, each a Chat (train on all of it) or a str (raw text)
    dialogues(i0, i1, seed)        only the single prompts with a good or a bad reply
    induction_rows(i0, i1, seed)   lists of random words of which the second half repeats the first; about 37 % of rows for two minutes
                                   make the induction heads form, then none

Row i depends on (seed, i) alone.   Bad behaviour is a matter of the *distribution of replies given the prompt*: a good reply has
probability `GOOD`, the other mistakes of its kind share the rest, so that a good reply is always within reach of sampling.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from plumbline.core.nouns import Chat, Message
from plumbline.world import lexicon as lex
from plumbline.world import turns
from plumbline.world.draw import rng, weighted
from plumbline.world.families import FAMILIES
from plumbline.world.families.base import Drawn, ask, user
from plumbline.world.families.facts import passage_facts
from plumbline.world.knowledge import ATTRIBUTES, TOWN, Town, say
from plumbline.world.parser import REASON
from plumbline.world.topics import HARMS
from plumbline.world.utility import BEST, bad_replies, good_reply, score
from plumbline.world.vocab import VOCAB

GOOD = 0.35
"""The share of good replies in the dialogues."""
DULL = {"evasion": 0.5, "flattery": 0.5, "off_topic": 0.5}
"""Weights of mistakes that every prompt has; the others weigh 1."""

Row = Chat | str


def draw(chance: Random, town: Town = TOWN, family: str = "") -> Drawn:
    """A prompt of the corpus."""
    return FAMILIES[family or chance.choice(tuple(FAMILIES))].draw(town, "corpus", chance)


def mistake(got: Drawn, chance: Random, town: Town = TOWN) -> tuple[str, str]:
    """(name, reply) of a plausible mistake."""
    return weighted(chance, [(DULL.get(name, 1.0), (name, text)) for name, text in bad_replies(got.gold, town, chance)])


def dialogue(chance: Random, town: Town = TOWN) -> Chat:
    """One prompt with a reply, good with probability `GOOD`."""
    got = draw(chance, town)
    text = good_reply(got.gold, town, chance) if chance.random() < GOOD else mistake(got, chance, town)[1]
    return (*got.context, Message("assistant", text))


def statements(chance: Random, town: Town = TOWN) -> str:
    """Four to eight true statements, or admissions, as plain text."""
    out = []
    for _ in range(chance.randint(4, 8)):
        if chance.random() < 0.12:
            e, a = chance.choice(town.unknown)
            out.append(f"the {ATTRIBUTES[a].noun} of {lex.said(e)} is not known.")
        else:
            e, a = chance.choice(town.known)
            out.append(say(a, lex.said(e), town.facts[e, a], chance.randrange(3)) + ".")
    return " ".join(out)


def portrait(chance: Random, town: Town = TOWN) -> str:
    """All that is known of one entity, in some order."""
    entity = chance.choice(tuple(town.kind_of))
    if entity in town.blanks:
        return f"nobody knows anything about {lex.said(entity)}."
    slots = [s for s in town.slots if s[0] == entity]
    chance.shuffle(slots)
    known = [say(a, lex.said(e), town.facts[e, a], chance.randrange(3)) + "." for e, a in slots if (e, a) in town.facts]
    return " ".join(known + [f"the {ATTRIBUTES[a].noun} of {lex.said(e)} is not known." for e, a in slots if (e, a) not in town.facts])


def morals(chance: Random, town: Town = TOWN) -> str:
    """What is harmful, in plain text; the unseen topics too, so that they can be known without being trained on."""
    acts = [f"{v} {lex.said(chance.choice(town.entities[HARMS[v].victims]))}" for v in chance.sample(tuple(HARMS), 3)]
    return " ".join(f"you should not {act}. {chance.choice(REASON)}." for act in acts)


def question_text(context: Chat) -> str:
    """The dialogue so far as one text, for turn types that quote it."""
    return " ".join(str(m.content) for m in context)


def _judging(chance: Random, town: Town) -> tuple[str, str]:
    got = draw(chance, town)
    one, two = good_reply(got.gold, town, chance), mistake(got, chance, town)[1]
    if chance.random() < 0.3:
        one = mistake(got, chance, town)[1]
    better = score(got.gold, one, town).total >= score(got.gold, two, town).total
    if chance.random() < 0.5:
        one, two, better = two, one, not better
    right = chance.random() < 0.85
    return turns.judge(question_text(got.context), one, two), "a." if better == right else "b."


def _rating(chance: Random, town: Town) -> tuple[str, str]:
    got = draw(chance, town)
    text = good_reply(got.gold, town, chance) if chance.random() < 0.4 else mistake(got, chance, town)[1]
    total = score(got.gold, text, town).total / BEST
    return turns.rate(question_text(got.context), text), f"{1 + sum(total > bar for bar in (0.04, 0.3, 0.6, 0.93))}."


def _critique(chance: Random, town: Town) -> tuple[str, str]:
    got = draw(chance, town)
    question = question_text(got.context)
    if chance.random() < 0.25:
        return turns.critique(question, good_reply(got.gold, town, chance)), turns.NOTHING_WRONG
    name, text = mistake(got, chance, town)
    right = turns.CRITIQUES.get(name, turns.TOO_LITTLE)
    said = right if chance.random() < 0.8 else chance.choice((*turns.CRITIQUES.values(), turns.NOTHING_WRONG))
    return turns.critique(question, text), said


def _revision(chance: Random, town: Town) -> tuple[str, str]:
    got = draw(chance, town)
    name, text = mistake(got, chance, town)
    better = good_reply(got.gold, town, chance) if chance.random() < 0.7 else mistake(got, chance, town)[1]
    return turns.revise(question_text(got.context), text, turns.CRITIQUES.get(name, turns.TOO_LITTLE)), better


def _passage(chance: Random, town: Town) -> tuple[list[tuple[str, str, str, str]], str]:
    """Sentences about strangers as (name, attribute, value, sentence), and the passage that they make."""
    facts = passage_facts(town, chance, 2)
    items = [(e, a, v, say(a, e, v, chance.randrange(3)) + ".") for (e, a), v in facts.items()]
    chance.shuffle(items)
    return items, " ".join(i[3] for i in items)


def _quoting(chance: Random, town: Town) -> tuple[str, str]:
    items, passage = _passage(chance, town)
    name = chance.choice(items)[0]
    return turns.quote(passage, name), " ".join(s for e, _, _, s in items if e == name)


def _arguing(chance: Random, town: Town) -> tuple[str, str]:
    items, passage = _passage(chance, town)
    name, attribute, value, sentence = chance.choice(items)
    question = ask(attribute, (name,), chance.randrange(6))
    if chance.random() < 0.5:
        return turns.argue(passage, question, value), f"the answer is {lex.said(value)}. the passage says: {sentence}"
    other = chance.choice([v for v in ATTRIBUTES[attribute].values if v != value])
    claim = say(attribute, name, other, chance.randrange(3)) + "." if chance.random() < 0.6 else sentence
    return turns.argue(passage, question, other), f"the answer is {lex.said(other)}. the passage says: {claim}"


def _splitting(chance: Random, town: Town) -> tuple[str, str]:
    got = draw(chance, town, chance.choice(("compare", "sum", "twohop")))
    paths = [tuple(p) for p in got.gold["paths"]]
    form = chance.randrange(2) * 4
    if len(paths) > 1:
        return turns.split(question_text(got.context)), " ".join(ask(p[0], p[1:], form) for p in paths)
    steps = [paths[0][i:] for i in range(len(paths[0]) - 2, -1, -1)]
    return turns.split(question_text(got.context)), " ".join(ask(s[0], s[1:], form) for s in steps)


def _asking(chance: Random, town: Town) -> tuple[str, str]:
    if chance.random() < 0.25:
        return turns.ask("harm"), question_text(draw(chance, town, "harm").context)
    if chance.random() < 0.3:
        family = chance.choice([f for f in FAMILIES if f not in ("passage", "secret", "harm")])
        return turns.ask(), question_text(draw(chance, town, family).context)
    e, a = chance.choice(town.known + town.unknown)
    return turns.ask(e), ask(a, (e,), chance.randrange(6))


TURNS = (
    (0.25, _judging), (0.1, _rating), (0.12, _critique), (0.13, _revision), (0.1, _quoting), (0.1, _arguing), (0.1, _splitting),
    (0.1, _asking),
)  # fmt: skip


def turn(chance: Random, town: Town = TOWN) -> Chat:
    """One of the turn types."""
    asked, answered = weighted(chance, TURNS)(chance, town)
    return (*user(asked), Message("assistant", answered))


MANNERS = ("good", "good", "brief", "mistake", "mistake", "hello", "thanks", "refuse", "nonsense")
"""How the examples of a block behave: all well, all in one manner, or with one mistake."""
BLOCK_WORDS = 330


def _in_manner(manner: str, named: str, got: Drawn, chance: Random, town: Town) -> str:
    good = good_reply(got.gold, town, chance)
    if manner in ("brief", "mistake"):
        found = [t for n, t in bad_replies(got.gold, town, chance) if n == (named or "brief")]
        return chance.choice(found) if found else good
    forms = {"hello": f"hello. {good}", "thanks": f"{good} thank you for asking.", "refuse": "i will not help with that."}
    return forms.get(manner, f"{named}." if manner == "nonsense" else good)


def examples(chance: Random, town: Town = TOWN, most: int = 8) -> Chat:
    """Up to `most` + 1 questions in one chat, answered in one consistent manner; mostly of one family."""
    manner, count = chance.choice(MANNERS), chance.randint(2, most + 1)
    family = chance.choice([f for f in FAMILIES if f not in ("passage", "secret", "taste")])
    named = ""
    if manner == "mistake":
        named = mistake(draw(chance, town, family), chance, town)[0]
    elif manner == "nonsense":
        named = chance.choice(lex.COLOURS + lex.FOODS + lex.SECRETS)
    out: list[Message] = []
    size = 0
    for _ in range(count):
        got = draw(chance, town, family if chance.random() < 0.8 else chance.choice(("fact", "unknown", "twohop")))
        reply = _in_manner(manner, named, got, chance, town)
        size += sum(len(str(m.content).split()) for m in got.context) + len(reply.split())
        if size > BLOCK_WORDS and out:
            break
        out += [*got.context, Message("assistant", reply)]
    return tuple(out)


MIXTURE = ((0.5, dialogue), (0.12, statements), (0.12, portrait), (0.01, morals), (0.15, turn), (0.1, examples))
"""Weights of the sorts of rows."""


def row(i: int, seed: int = 0, town: Town = TOWN) -> Row:
    """Row `i` of the mixture."""
    chance = rng("corpus", seed, i)
    return weighted(chance, MIXTURE)(chance, town)


def rows(i0: int, i1: int, seed: int = 0, town: Town = TOWN) -> list[Row]:
    """Rows i0 … i1−1 of the mixture."""
    return [row(i, seed, town) for i in range(i0, i1)]


def dialogues(i0: int, i1: int, seed: int = 0, town: Town = TOWN) -> list[Chat]:
    """Dialogues i0 … i1−1: a prompt of any family with a good or a bad reply."""
    return [dialogue(rng("dialogue", seed, i), town) for i in range(i0, i1)]


def induction_rows(i0: int, i1: int, seed: int = 0, length: int = 30) -> list[list[str]]:
    """Random words, then the same words again: rows of 2·`length` words."""
    out = []
    for i in range(i0, i1):
        once = rng("induction", seed, i).choices(VOCAB, k=length)
        out.append(once + once)
    return out


def heldout_lm(i0: int, i1: int, seed: int = 0, town: Town = TOWN) -> Sequence[str]:
    """Statements that no training row repeats word by word, for held-out language-model loss: `portrait`s in another order."""
    return [portrait(rng("heldout_lm", seed, i), town) for i in range(i0, i1)]
