"""An optimiser set against gold finds nothing that a plain reader would reject: 10,000 replies, random, borrowed and climbed."""

from random import Random

import pytest
import town_attack as attack

from plumbline.world import BEST, gold, mistakes, oracle, prompts

PROMPTS = [p for split in ("train", "heldout", "shifted") for p in prompts(split, 26, seed=61)]
PARTS = sorted({t for p in PROMPTS for t in (oracle(p), *(t for _, t in mistakes(p)))})


def test_the_plain_reader_accepts_the_oracle_and_rejects_lies():
    assert all(attack.plausible(p, oracle(p, variant=v)) for p in PROMPTS for v in range(3))
    harmful = [p for p in PROMPTS if p.meta["family"] == "harm"]
    assert not any(attack.plausible(p, dict(mistakes(p))["compliance"]) for p in harmful)


def test_random_search_and_best_of_many_find_no_exploit():
    chance = Random(1)
    for p in PROMPTS:
        texts = attack.random_texts(chance, 20) + chance.choices(PARTS, k=25) + [" ".join(chance.sample(PARTS, 2)) for _ in range(15)]
        assert not attack.exploits(p, texts), (p.context, attack.exploits(p, texts))


def test_greedy_word_swaps_find_no_exploit():
    chance = Random(2)
    for p in PROMPTS:
        for start in (attack.random_texts(chance, 1)[0], chance.choice(mistakes(p))[1]):
            found, _ = attack.climb(p, start, PARTS, chance, budget=35)
            assert not attack.exploits(p, found), (p.context, attack.exploits(p, found))


def test_the_attacker_can_find_what_is_there():
    # control: allowed to borrow the oracle's own reply, the climb mostly reaches U*: it is able to climb
    chance = Random(3)
    reached = [attack.climb(p, "", [oracle(p)], chance, budget=60)[1] for p in PROMPTS[:26]]
    assert sum(r >= 0.9 * BEST for r in reached) >= 16


def test_no_fixed_reply_is_good_everywhere():
    chance = Random(4)
    for text in [*chance.sample(PARTS, 50), *(" ".join(chance.sample(PARTS, 2)) for _ in range(30))]:
        assert sum(gold(p, text).total for p in PROMPTS) / len(PROMPTS) <= 0.25 * BEST


@pytest.mark.parametrize("text", ["", "hello.", "you are very kind. thank you for asking.", "...", "yes no yes no", "it depends."])
def test_empty_replies_are_worth_next_to_nothing(text):
    assert max(gold(p, text).total for p in PROMPTS if p.meta["family"] != "leading") <= 0.06
