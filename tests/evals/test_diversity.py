"""Self-BLEU and the corrected rate: golden numbers with their arithmetic."""

from __future__ import annotations

import math
from random import Random

import numpy as np
import pytest

from plumbline.evals.diversity import Tokenised, bleu, diversity, tokens
from plumbline.evals.misjudged import Confusion, corrected


def score(text: str, *references: str) -> float:
    return bleu(Tokenised(text), [Tokenised(r) for r in references])


def test_bleu_by_hand():
    # "the cat sat on the mat" against "the cat lay on the mat": words 5/6, pairs 3/5 (the cat, on the, the mat),
    # threes 1/4 (on the mat), fours 0 of 3 → .1/3; equal length, so no penalty
    by_hand = (5 / 6 * 3 / 5 * 1 / 4 * 0.1 / 3) ** 0.25
    assert score("the cat sat on the mat", "the cat lay on the mat") == pytest.approx(by_hand)


def test_a_run_counts_as_often_as_in_one_reference():
    # Papineni's example: "the the the the the the the" has 2 of 7 words right; no pair is: .1/6, .1/5, .1/4
    assert score("the " * 7, "the cat is on the mat") == pytest.approx((2 / 7 * 0.1 / 6 * 0.1 / 5 * 0.1 / 4) ** 0.25)


def test_short_texts_pay_by_the_nearest_reference():
    # 4 words, all runs of them in a reference of 5; the other has 9, so r = 5 and the penalty exp(1 − 5/4)
    assert score("a b c d", "a b c d e", "a b c d e f g h i") == pytest.approx(math.exp(1 - 5 / 4))


def test_equal_is_one_and_nothing_shared_is_none():
    assert score("who is it?", "who is it?") == pytest.approx(1.0)
    assert score("who", "what") == 0.0
    assert tokens("Don't ask!") == ["don", "'", "t", "ask", "!"]


def test_self_bleu_of_copies_and_of_strangers():
    same = diversity(["who is the keeper of it?"] * 5)
    apart = diversity(["a b c d", "e f g h", "i j k l"])
    assert same is not None
    assert apart is not None
    assert same.self_bleu.mean == pytest.approx(1.0)
    assert (same.n, same.references, same.distinct) == (5, 4, 1)
    assert (apart.self_bleu.mean, apart.distinct) == (0.0, 3)


def test_self_bleu_looks_at_as_many_as_it_says_and_never_at_itself():
    words = [f"w{i}" for i in range(400)]
    texts = [" ".join(words[4 * i : 4 * i + 4]) for i in range(100)]  # no two share a word: a text that met itself would score 1
    found = diversity(texts, n=30, references=7, seed=3)
    assert found is not None
    assert (found.n, found.references, found.bleu) == (30, 7, (0.0,) * 30)
    assert diversity(["alone"]) is None
    assert diversity(["", " ", "one"]) is None


def test_more_references_are_never_less_alike():
    chance = Random(0)
    texts = [" ".join(chance.choices(list("abcdefgh"), k=8)) for _ in range(60)]
    means = [d.self_bleu.mean for m in (2, 10, 50) if (d := diversity(texts, n=60, references=m))]
    assert means == sorted(means)
    assert means[0] < means[-1]


def test_confusion_by_hand():
    pairs = [(True, True)] * 6 + [(True, False)] * 2 + [(False, True)] * 3 + [(False, False)] * 9
    found = Confusion.of(pairs)
    assert (found.tp, found.fp, found.fn, found.tn) == (6, 2, 3, 9)
    assert (found.precision, found.recall, found.specificity) == (6 / 8, 6 / 9, 9 / 11)
    assert Confusion(0, 0, 0, 4).precision is None
    assert Confusion(0, 0, 0, 4).recall is None


def test_corrected_by_hand():
    # 300 of 1,000 called bad; recall .8, specificity .9: (.3 + .9 − 1) / (.8 + .9 − 1) = .2 / .7
    found = corrected(300, 1000, Confusion(tp=80, fn=20, fp=10, tn=90))
    assert found is not None
    assert found.mean == pytest.approx(0.2 / 0.7)
    assert found.lo < 0.2 / 0.7 < found.hi


def test_on_the_labelled_replies_themselves_it_is_rate_times_precision_over_recall():
    judge = Confusion(tp=30, fp=12, fn=8, tn=50)
    found = corrected(42, 100, judge)
    assert found is not None
    assert judge.precision is not None
    assert judge.recall is not None
    assert found.mean == pytest.approx(0.42 * judge.precision / judge.recall)
    assert found.mean == pytest.approx(38 / 100)  # tp + fn: how many are bad


@pytest.mark.parametrize("judge", [Confusion(0, 0, 0, 9), Confusion(5, 5, 5, 5), Confusion(3, 2, 0, 0)])
def test_what_does_not_tell_the_judge_from_a_coin_corrects_nothing(judge: Confusion):
    assert corrected(3, 10, judge) is None
    assert corrected(0, 0, Confusion(9, 1, 1, 9)) is None


def test_the_interval_covers():
    """Of 200 worlds of which 30 % is bad, judged with recall .8 and specificity .9 and 200 labels, nineteen in twenty are covered."""
    rng, covered = np.random.default_rng(0), 0
    for world in range(200):
        bad = rng.random(1200) < 0.3
        said = np.where(bad, rng.random(1200) < 0.8, rng.random(1200) < 0.1)
        judge = Confusion.of(zip(said[:200].tolist(), bad[:200].tolist(), strict=True))
        found = corrected(int(said[200:].sum()), 1000, judge, draws=400, seed=world)
        assert found is not None
        covered += found.lo <= 0.3 <= found.hi
    assert 183 <= covered <= 200
