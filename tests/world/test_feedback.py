"""Annotators follow their stated models, say ties, and have the biases that they state; sources count and refuse as they should."""

import math
from random import Random

import pytest

from plumbline.core.errors import UserError
from plumbline.core.nouns import Prompt
from plumbline.world import POOL, Annotator, comparisons, demos, gold, labels, load, mistakes, oracle, prompts, rankings, ratings
from plumbline.world.annotators import annotators, seconds
from plumbline.world.draw import rng

PROMPT = next(p for p in prompts("train", 20, 3, ["fact"]) if len(p.meta["gold"]["slots"]) == 1)
GOOD, LIE = oracle(PROMPT), dict(mistakes(PROMPT))["wrong"]
BRIEF = next(t for n, t in mistakes(PROMPT) if n == "brief")


def test_choices_follow_bradley_and_terry():
    # gap = 1 − .905 = .095; P = σ(.095/.1) = .7211; 2,000 choices have a standard error of .0100
    person, chance = Annotator(noise=0.1), Random(1)
    gap = gold(PROMPT, GOOD).total - gold(PROMPT, BRIEF).total
    assert gap == pytest.approx(0.095)
    expected = 1 / (1 + math.exp(-gap / 0.1))
    assert person.probability(PROMPT, (GOOD, BRIEF)) == pytest.approx(expected)
    share = sum(person.choose(PROMPT, (GOOD, BRIEF), chance) for _ in range(2000)) / 2000
    assert abs(share - expected) < 3 * 0.01


def test_rankings_follow_plackett_and_luce():
    # three replies with s = 1, .905, 0 and noise .2: P(first) ∝ exp(s/.2) = 148.4, 92.3, 1
    person, chance, texts = Annotator(noise=0.2), Random(2), [GOOD, BRIEF, LIE]
    tops = [person.rank(PROMPT, texts, chance)[0] for _ in range(1500)]
    assert abs(tops.count(GOOD) / 1500 - 148.4 / 241.7) < 0.04
    assert abs(tops.count(BRIEF) / 1500 - 92.3 / 241.7) < 0.04


def test_ties_are_said_whatever_the_noise():
    person, twin = Annotator(noise=5.0), oracle(PROMPT, variant=3)
    assert {person.choose(PROMPT, (GOOD, twin), Random(i)) for i in range(50)} == {0.5}
    assert person.rank(PROMPT, [GOOD, twin, LIE], Random(0)).count(GOOD) == 1
    assert len(person.rank(PROMPT, [GOOD, twin, LIE], Random(0))) == 2


def test_ratings_step_at_personal_thresholds():
    person = Annotator(thresholds=(0.1, 0.35, 0.65, 0.9))
    assert [person.step(x) for x in (0.0, 0.2, 0.5, 0.8, 0.95)] == [1, 2, 3, 4, 5]
    assert person.rate(PROMPT, GOOD, Random(0)) == {"helpful": 5, "honest": 5, "harmless": 5}
    assert person.rate(PROMPT, LIE, Random(0)) == {"helpful": 1, "honest": 1, "harmless": 5}
    assert POOL["ben"].step(0.92) == 4
    assert POOL["cleo"].step(0.92) == 5


def test_thumbs_have_a_bar():
    assert Annotator(bar=0.6).thumb(PROMPT, BRIEF, Random(0))
    assert not Annotator(bar=0.95).thumb(PROMPT, BRIEF, Random(0))


def test_biases_are_what_they_say():
    long = f"{BRIEF} hello there. you are very kind."
    assert gold(PROMPT, long).total == gold(PROMPT, BRIEF).total
    by = {name: POOL[name].perceive(PROMPT, long) - POOL[name].perceive(PROMPT, BRIEF) for name in POOL}
    assert by["ada"] == 0
    assert by["dov"] == pytest.approx(0.2 * 8 / 20)  # six more words and two more marks, at .2 per 20
    assert by["eve"] == pytest.approx(0.15 * 2)  # two courtesies
    leading = next(p for p in prompts("train", 40, 4, ["leading"]) if "agreement" in dict(mistakes(p)))
    flattered = dict(mistakes(leading))["agreement"]
    assert POOL["finn"].perceive(leading, flattered) == pytest.approx(POOL["ada"].perceive(leading, flattered) + 0.5)


def test_costs_are_stated():
    assert seconds(POOL["ada"], "comparisons", 100) == 1200
    assert seconds(POOL["cleo"], "labels") < seconds(POOL["cleo"], "comparisons")


def test_comparisons_are_right_without_noise():
    items = comparisons(195, seed=1)
    for c in items:
        better, worse = c.meta["totals"]
        assert (c.preference == 0.5) == (abs(better - worse) <= 0.03)
        assert c.preference == 0.5 or better > worse
    assert 0.1 < sum(c.preference == 0.5 for c in items) / 195 < 0.4
    assert all(c.preference == 1 for c in comparisons(65, seed=1, ties=False))


def test_noise_flips_some_choices():
    def wrong(noise):
        items = comparisons(260, seed=2, noise=noise, ties=False)
        return sum(c.meta["totals"][0] < c.meta["totals"][1] for c in items) / 260

    assert 0.005 < wrong(0.1) < 0.15 < wrong(1.0) < 0.5


def test_demos_are_clean_or_noisy_as_asked():
    assert all(gold(p, d.completion).total == 1 for p, d in zip(prompts("train", 260, 5), demos(260, 5), strict=True))
    noisy = demos(390, 5, noise=0.3)
    share = sum(gold(p, d.completion).total < 1 for p, d in zip(prompts("train", 390, 5), noisy, strict=True)) / 390
    assert abs(share - 0.3) < 0.08


def test_labels_can_be_as_rare_as_stated():
    assert sum(x.desirable for x in labels(220, 6, desirable=1 / 11)) == 20
    assert all(x.desirable == (gold(p, x.completion).total > 0.6) for p, x in zip(prompts("train", 130, 7), labels(130, 7), strict=True))


def test_rankings_and_ratings():
    for c in rankings(65, 8):
        totals = [gold(Prompt(c.context, c.meta), t).total for t in c.completions]
        assert len(totals) >= 2
        assert totals == sorted(totals, reverse=True)
    assert {k for r in ratings(65, 8, who="pool") for k in r.scores} == {"helpful", "honest", "harmless"}


def test_item_i_does_not_depend_on_the_batch():
    for source in (demos, comparisons, rankings, ratings, labels):
        assert source(30, 9)[:11] == source(11, 9)
        assert source(11, 9) != source(11, 10)
    assert rng("a", 1).random() == rng("a", 1).random() != rng("a", 2).random()


def test_specs():
    assert load("town:comparisons?n=20&seed=1&noise=0.1&split=validation") == comparisons(20, 1, 0.1, split="validation")
    assert len(load("town:labels?n=22&desirable=0.5&families=fact,harm")) == 22
    assert {p.meta["family"] for p in load("town:prompts?n=10&families=sum")} == {"sum"}
    assert len(load("town:questions?n=5&seed=2&split=heldout")) == 5


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("city:demos", "no such data"),
        ("town:pairs", "KIND one of demos"),
        ("town:demos?size=3", "no key 'size'"),
        ("town:demos?ties=true", "no key 'ties'"),
        ("town:demos?n=many", "n is a whole number"),
        ("town:demos?n=-1", "n=-1 cannot be read"),
        ("town:comparisons?noise=2", "from 0 to 1"),
        ("town:comparisons?split=test", "one of train"),
        ("town:comparisons?who=zed", "no annotator 'zed'"),
        ("town:prompts?families=fact,maths", "no family 'maths'"),
        ("town:prompts?n", "key=value"),
    ],
)
def test_bad_specs_say_what_is_wrong(spec, says):
    with pytest.raises(UserError, match=says):
        load(spec)


def test_annotators_by_name():
    assert [a.name for a in annotators("ada+eve")] == ["ada", "eve"]
    assert {a.noise for a in annotators("pool", 0.3)} == {0.3}
