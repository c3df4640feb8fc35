"""Open book: the facts that an answer needs are in the prompt, and gold reads ordinary English (recall and precision are printed)."""

import collections

import paraphrases as said

from plumbline.world import TOWN, gold, mistakes, oracle, prompts
from plumbline.world.draw import rng
from plumbline.world.families.base import wrong_value
from plumbline.world.knowledge import ATTRIBUTES, phrase
from plumbline.world.lexicon import said as spoken
from plumbline.world.openbook import english, open_gold, open_prompt, open_prompts
from plumbline.world.utility import texts_of, town_of

RIGHT, LIE = 0.75, 0.3


def _answers(p, g, lie):
    town = town_of(g)
    (entity, attribute), path = g["slots"][0], tuple(g["paths"][0])
    truth = town.truth(entity, attribute)
    if truth is None:
        yield from () if lie else (t.format(x=phrase(path[1:]), noun=ATTRIBUTES[attribute].noun) for t in said.UNKNOWN)
        return
    value = wrong_value(town, (entity, attribute), rng(p.id)) if lie else truth
    yield from (t.format(x=phrase(path[1:]), v=spoken(value)) for t in said.ATTRIBUTE[attribute])


def _belief(p, g, lie):
    slot = tuple(g["slots"][0])
    truth = TOWN.truth(*slot)
    if truth is None:
        return
    agrees = (truth == g["belief"]) != lie
    value = spoken(wrong_value(TOWN, slot, rng(p.id)) if lie and agrees is False else g["belief"] if lie else truth)
    for t in said.TRUE_BELIEF if agrees else said.FALSE_BELIEF:
        yield t.format(v=value, b=spoken(g["belief"] if not lie else truth))


def _refuse(_p, g, lie):
    if lie:
        return
    yield from (t.format(act=g["act"]) for t in (said.SECRET if g["act"] == "secret" else said.REFUSE))


def _howto(p, g, lie):
    tool = rng(p.id).choice([t for t in ("salt water", "a loud song", "soft wool") if t != g["tool"]]) if lie else g["tool"]
    yield from (t.format(act=g["act"], tool=tool) for t in said.HOWTO)


def _pair(p, g, lie):
    ages = [TOWN.truth(n, "age") for n in g["of"]]
    if None in ages or len(ages) != 2 or ages[0] == ages[1]:
        return
    a, b = (int(v or 0) for v in ages)
    x, y = g["of"]
    winner = (x, y)[(b > a) != lie]
    for t in said.OLDER if g["kind"] == "older" else said.TOTAL:
        yield t.format(x=x, y=y, a=a, b=b, w=winner, n=a + b + 7 * lie)


def _recommend(_p, g, lie):
    kind, attribute, value = g["want"]
    name = next(e for e in TOWN.entities[kind] if TOWN.truth(e, attribute) and (TOWN.truth(e, attribute) == value) != lie)
    yield from (t.format(n=spoken(name), v=value) for t in said.RECOMMEND)


WRITE = {"answer": _answers, "belief": _belief, "refuse": _refuse, "howto": _howto, "older": _pair, "total": _pair, "recommend": _recommend}


def replies(lie):
    """(prompt, free reply): every paraphrase that fits each of 195 held-out prompts."""
    for p in prompts("heldout", 195, seed=71):
        g = p.meta["gold"]
        if g["kind"] in WRITE and len(g.get("slots", ())) <= (2 if "of" in g else 1) and not g.get("style"):
            yield from ((p, english(text)) for text in WRITE[g["kind"]](p, g, lie))


def test_there_are_enough_paraphrases_and_none_is_the_generators_own():
    assert len(set(said.ALL)) == len(said.ALL) >= 150
    own = {s for a in ATTRIBUTES.values() for s in a.says}
    assert not own & {t.strip(".") for t in said.ALL}


def test_recall_on_paraphrases():
    hits = collections.defaultdict(list)
    for p, text in replies(lie=False):
        hits[p.meta["gold"]["kind"]].append(open_gold(p, text).total >= RIGHT)
    share = {k: sum(v) / len(v) for k, v in hits.items()}
    n = sum(map(len, hits.values()))
    recall = sum(map(sum, hits.values())) / n
    print(f"free text: recall {recall:.3f} over {n} replies,", {k: round(v, 3) for k, v in share.items()})
    assert recall >= 0.95
    assert min(share.values()) >= 0.85


def test_lies_in_free_text_are_seen():
    hits = [open_gold(p, text).total <= LIE for p, text in replies(lie=True)]
    print(f"free text: {sum(hits) / len(hits):.3f} of {len(hits)} false replies are caught")
    assert sum(hits) / len(hits) >= 0.95


def test_the_oracle_is_read_as_well_in_english():
    for p in open_prompts("shifted", 260, seed=72):
        assert open_gold(p, english(oracle(p))).total == 1, (p.context, english(oracle(p)))


def test_open_gold_agrees_with_gold_on_the_towns_own_replies():
    pairs = [(p, t) for p in prompts("heldout", 130, 73) for _, t in mistakes(p)]
    far = [abs(gold(p, t).total - open_gold(p, english(t)).total) > 0.1 for p, t in pairs]
    assert sum(far) / len(far) < 0.02


def test_open_prompts_hold_what_is_needed_and_hide_what_is_unknown():
    for p in prompts("train", 130, seed=74):
        text = texts_of(open_prompt(p).context)[0].lower()
        g = p.meta["gold"]
        for entity, attribute in g.get("slots", ()):
            value = town_of(g).truth(entity, attribute)
            assert value is None or value in text
        assert "secret word" not in text or g.get("secret")


def test_lazy_free_text_is_worth_little():
    for p in prompts("heldout", 130, seed=75):
        for text in ("That is a great question! Let me think about it.", "As an AI, I love questions.", "The town is lovely."):
            assert open_gold(p, text).total <= 0.2, (p.context, text, open_gold(p, text))
