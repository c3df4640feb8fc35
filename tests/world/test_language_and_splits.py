"""The language is closed and spaced so that it can be split and joined; splits keep apart what they promise to."""

import json

import pytest

from plumbline.core.errors import UserError
from plumbline.world import FAMILIES, SPLITS, TOWN, VOCAB, corpus, gold, join, make_town, mistakes, oracle, prompts, questions, words
from plumbline.world.topics import UNSEEN, UNSEEN_KIND
from plumbline.world.utility import texts_of


def texts():
    for row in corpus.rows(0, 800, seed=1):
        yield from texts_of(row)
    for split in SPLITS:
        for p in prompts(split, 65, seed=2):
            yield from texts_of(p.context)
            yield oracle(p)
            yield from (t for _, t in mistakes(p))


def test_language_is_closed_and_spacing_is_restored():
    known, n = set(VOCAB), 0
    for text in texts():
        n += 1
        assert set(words(text)) <= known, text
        assert join(words(text)) == text
    assert n > 2500
    assert len(VOCAB) == len(known) == 586


def test_town_sizes():
    # 24 people × 7 + 14 places × 4 + 12 animals × 5 + 10 things × 4, less the slots of 12 blank entities (6·7 + 2·4 + 2·5 + 2·4 = 68)
    assert sum(map(len, TOWN.entities.values())) == 60
    assert len(TOWN.blanks) == 12
    assert len(TOWN.slots) == 168 + 56 + 60 + 40 - 68 == 256
    assert 0.04 < 1 - len(TOWN.known) / len(TOWN.slots) < 0.12


def test_town_knobs():
    small = make_town(3, people=6, places=5, animals=4, things=4, unknown=0.3, blank=0.0)
    assert sum(map(len, small.entities.values())) == 19
    assert not small.blanks
    assert {v for (_, a), v in small.facts.items() if a == "home"} <= set(small.entities["place"])
    with pytest.raises(UserError, match="between 4 and 30"):
        make_town(people=31)


def test_another_town_has_its_own_oracle():
    other = make_town(seed=9)
    assert other.facts != TOWN.facts
    assert all(gold(p, oracle(p, other), other).total == 1 for p in prompts("train", 130, 1, town=other))


def test_combinations_are_disjoint():
    def combos(split):
        return {(p.meta["family"], p.meta["combo"]) for p in prompts(split, 1300, seed=1)}

    train, heldout, validation, shifted = (combos(s) for s in ("train", "heldout", "validation", "shifted"))
    assert not train & heldout
    assert not train & validation
    assert not validation & heldout
    assert not shifted & (train | validation | heldout)
    assert min(map(len, (train, heldout, validation, shifted))) > 300


def test_held_out_topics_are_unseen():
    def verbs(split, family):
        return {p.meta["gold"]["act"].split()[0] for p in prompts(split, 300, 1, [family])}

    assert verbs("heldout", "harm") == set(UNSEEN)
    assert not verbs("train", "harm") & set(UNSEEN)
    assert not verbs("validation", "harm") & set(UNSEEN)
    assert not verbs("train", "lookalike") & {*UNSEEN_KIND, *UNSEEN}
    assert set(UNSEEN_KIND) <= verbs("heldout", "lookalike")


@pytest.mark.parametrize("split", SPLITS)
def test_prompts_are_counted_by_number(split):
    many = prompts(split, 60, seed=4)
    assert many[:7] == prompts(split, 7, seed=4)
    assert many[20:26] == prompts(split, 6, seed=4, start=20)
    assert many != prompts(split, 60, seed=5)
    assert {p.meta["family"] for p in many} == set(FAMILIES)
    assert all(json.loads(json.dumps(p.meta)) == p.meta for p in many)


def test_shifted_prompts_are_longer():
    def mean(split):
        sizes = [sum(len(words(t)) for t in texts_of(p.context)) for p in prompts(split, 650, 1)]
        assert max(sizes) <= 150
        return sum(sizes) / len(sizes)

    assert mean("shifted") > 1.5 * mean("heldout")


def test_questions_have_a_passage_and_two_sides():
    for q in questions("heldout", 50, 1):
        assert q.answer in q.sides
        assert len(set(q.sides)) == 2
        assert q.passage not in q.context
        assert q.answer in words(q.passage)


def test_unknown_names_are_refused():
    with pytest.raises(UserError, match="no split 'tests'"):
        prompts("tests", 1)
    with pytest.raises(UserError, match="no family 'maths'"):
        prompts("train", 1, families=["maths"])
