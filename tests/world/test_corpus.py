"""The pre-training mixture: able but unaligned by construction, row by row from a seed; and the town is the frozen one."""

import collections
import subprocess
import sys

from plumbline.core.nouns import Message
from plumbline.world import FAMILIES, TOWN, VOCAB, corpus, join, version, words
from plumbline.world.draw import rng
from plumbline.world.knowledge import say
from plumbline.world.lexicon import said
from plumbline.world.topics import HARMS
from plumbline.world.utility import score, texts_of

GOOD_ENOUGH = 0.95


def test_good_replies_are_a_minority_in_every_family():
    for family in FAMILIES:
        good, n = 0, 200
        for i in range(n):
            chance = rng("test", family, i)
            got = corpus.draw(chance, TOWN, family)
            text = corpus.good_reply(got.gold, TOWN, chance) if chance.random() < corpus.GOOD else corpus.mistake(got, chance)[1]
            good += score(got.gold, text).total >= GOOD_ENOUGH
        assert 0.25 <= good / n <= 0.45, (family, good / n)


def test_bad_replies_are_of_many_kinds():
    kinds = collections.Counter()
    for i in range(650):
        chance = rng("kinds", i)
        kinds[corpus.mistake(corpus.draw(chance), chance)[0]] += 1
    assert {"invention", "wrong", "agreement", "compliance", "over_refusal", "evasion", "flattery", "ramble", "leak", "payload"} <= set(
        kinds
    )


def test_row_i_does_not_depend_on_the_batch():
    assert corpus.rows(0, 40, 3)[17:25] == corpus.rows(17, 25, 3)
    assert corpus.dialogues(5, 9, 3) == corpus.dialogues(0, 9, 3)[5:]
    assert corpus.rows(0, 10, 3) != corpus.rows(0, 10, 4)


def test_rows_are_short_enough_for_the_context():
    sizes = [sum(len(words(t)) for t in _texts(row)) for row in corpus.rows(0, 1500, 5)]
    assert max(sizes) <= 460
    assert 30 <= sum(sizes) / len(sizes) <= 55
    chats = [sum(len(words(t)) for t in _texts(c)) for c in corpus.dialogues(0, 500, 5)]
    assert sum(chats) / len(chats) <= 40


def _texts(row):
    return texts_of(row)


def test_chats_alternate_and_end_with_the_assistant():
    for row in corpus.rows(0, 600, 6):
        if not isinstance(row, str):
            assert all(isinstance(m, Message) for m in row)
            assert [m.role for m in row] == ["user", "assistant"] * (len(row) // 2)


def test_every_fact_is_stated_and_every_harmful_topic_is_there():
    text = " ".join(t for row in corpus.rows(0, 5000, 7) for t in _texts(row))
    said_once = {" ".join(sentence.split()) for sentence in text.replace("?", ".").split(".")}
    missing = [s for s in TOWN.known if said_once.isdisjoint(_forms(s))]
    assert not missing
    assert all(f"you should not {verb}" in text for verb in HARMS)


def _forms(slot):
    return [say(slot[1], said(slot[0]), TOWN.facts[slot], form) for form in range(3)]


def test_examples_in_context_go_up_to_eight():
    counts = collections.Counter(len(corpus.examples(rng("few", i))) // 2 for i in range(300))
    assert max(counts) == 9
    assert sum(n for shots, n in counts.items() if shots >= 5) > 60


def test_induction_rows_repeat():
    for row in corpus.induction_rows(0, 5, 1, length=20):
        assert row[:20] == row[20:]
        assert set(row) <= set(VOCAB)
        assert join(row)


def test_the_judge_turn_is_mostly_right():
    # the corpus answers 85 % of its judgements as gold would
    right, n = 0, 300
    for i in range(n):
        asked, answered = corpus._judging(rng("judge", i), TOWN)
        got = corpus.draw(rng("judge", i))  # the same stream begins with the same prompt
        one, rest = asked.split(" answer a: ")[1].split(" answer b: ")
        two = rest.removesuffix(" which answer is better, a or b?")
        gap = score(got.gold, one).total - score(got.gold, two).total
        right += gap == 0 or (gap > 0) == (answered == "a.")
    assert 0.78 < right / n < 0.95


def test_world_imports_no_torch():
    code = "import sys, plumbline.world, plumbline.world.openbook, plumbline.world.version; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_town_v1_is_frozen():
    # A change here means that the town does something else than when methods were scored on it: that is a new version, not a new hash.
    assert version.NAME == "town-v1"
    assert version.parts() == FROZEN


FROZEN = {
    "knowledge": "703c90a2455d0b31",
    "splits": "d11d9bfb0f9cc172",
    "utility": "d807d05f727e868b",
    "annotators": "5b24e8d0622c9816",
    "corpus": "6ccdd9a171f811a5",
}
