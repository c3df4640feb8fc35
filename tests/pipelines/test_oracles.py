"""Oracles: the same question gets the same answer, a crash asks nobody twice, people answer through files, and bad answers are named."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from plumbline.core.errors import UserError
from plumbline.core.nouns import Comparison, Prompt
from plumbline.core.oracles import Announced, Recorded
from plumbline.feedback.oracles import File, Ledger, Queue, question_id
from plumbline.pipelines.oracles import TownOracle, parse
from plumbline.world.annotators import annotators
from plumbline.world.knowledge import TOWN
from plumbline.world.splits import prompts as town_prompts
from plumbline.world.utility import gold, mistakes, oracle

ROWS = [Comparison("who?", ("anna", "bert")), Comparison("why?", ("so", "no", "oh")), Comparison("when?", ("now", "then"), 0.5)]


class Counting:
    """Prefers what sorts last, and counts."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def compare(self, context: Any, completions: Any) -> Comparison:
        self.asked.append((context, tuple(completions)))
        worse, better = sorted(completions)
        return Comparison(context, (better, worse), 0.8, annotator="me")


def test_a_question_is_the_same_whichever_is_named_first():
    assert question_id("who?", ("a", "b")) == question_id("who?", ("b", "a")) != question_id("who?", ("a", "c"))
    assert question_id("who", ("?a", "b")) != question_id("who?", ("a", "b"))


def test_towns_people_know_the_truth_and_answer_alike_every_time():
    prompts = town_prompts("train", 30, seed=2)
    people = TownOracle(prompts, annotators("ada"))
    for prompt in prompts:
        good, bad = oracle(prompt), mistakes(prompt, TOWN, 1)[0][1]
        gap = gold(prompt, good).total - gold(prompt, bad).total
        found = people.compare(prompt.context, (bad, good))
        assert (found.completions[0] == good and found.preference == 1.0) or (abs(gap) <= 0.03 and found.preference == 0.5)
        assert found == people.compare(prompt.context, (good, bad))
    with pytest.raises(UserError, match="know nothing of this prompt"):
        people.compare("hello", ("a", "b"))


def test_towns_people_take_turns_and_err_as_often_as_their_noise_says():
    prompts = town_prompts("train", 100, seed=3)
    noisy = parse("town:ben+cleo?noise=0.5", prompts, seed=1)
    said, wrong, expected = Counter(), 0, 0.0
    for prompt in prompts:
        good, bad = oracle(prompt), mistakes(prompt, TOWN, 1)[0][1]
        found = noisy.compare(prompt.context, (good, bad))
        said[found.annotator] += 1
        person = annotators(found.annotator, 0.5)[0]
        if found.preference == 1.0:
            wrong += found.completions[0] == bad
            expected += person.probability(prompt, (bad, good))
    assert min(said["ben"], said["cleo"]) >= 30  # 50 ± 4 standard deviations of 5
    assert abs(wrong - expected) < 4 * (expected * 0.8) ** 0.5


def test_a_file_compares_what_it_has_and_refuses_the_rest():
    file = File(ROWS, "rows.jsonl")
    assert isinstance(file, Recorded)
    assert file.candidates("why?") == ["so", "no", "oh"]
    assert file.candidates("where?") == []
    assert file.compare("who?", ("bert", "anna")).completions == ("anna", "bert")
    assert file.compare("why?", ("oh", "no")).completions == ("no", "oh")  # a ranking holds all its pairs
    assert file.compare("when?", ("then", "now")).preference == 0.5
    with pytest.raises(UserError, match=r"rows\.jsonl does not compare 'anna' and 'carl'"):
        file.compare("who?", ("anna", "carl"))


def test_what_the_ledger_holds_is_never_asked_again_not_even_by_another_process(tmp_path: Path):
    first = Counting()
    ledger = Ledger(first, tmp_path / "asked.jsonl")
    said = [ledger.compare("who?", pair) for pair in (("anna", "bert"), ("bert", "anna"), ("anna", "carl"))]
    assert first.asked == [("who?", ("anna", "bert")), ("who?", ("anna", "carl"))]
    with (tmp_path / "asked.jsonl").open("a") as out:
        out.write('{"id": "torn')  # killed while writing
    second = Counting()
    again = Ledger(second, tmp_path / "asked.jsonl")
    assert again.labels == 2
    assert [again.compare("who?", pair) for pair in (("anna", "bert"), ("bert", "anna"), ("anna", "carl"))] == said
    assert not second.asked
    again.compare("who?", ("bert", "carl"))
    assert len((tmp_path / "asked.jsonl").read_text().splitlines()) == 3  # the torn line is gone
    assert not isinstance(again, Recorded)
    assert Ledger(File(ROWS), tmp_path / "other.jsonl").candidates("who?") == ["anna", "bert"]


def test_people_answer_a_queue_in_any_order(tmp_path: Path):
    queue = Queue(tmp_path, patience=0.02, every=0.01)
    assert isinstance(queue, Announced)
    queue.announce([("who?", ("anna", "bert")), ("why?", ("so", "no"))])
    asks = [json.loads(line) for line in (tmp_path / "asks.jsonl").read_text().splitlines()]
    assert [(a["prompt"], {a["first"], a["second"]}) for a in asks] == [("who?", {"anna", "bert"}), ("why?", {"so", "no"})]
    with pytest.raises(UserError, match=r"2 questions in .*asks\.jsonl wait"):
        queue.compare("who?", ("anna", "bert"))
    answers = [{"id": asks[1]["id"], "preferred": "same"}, {"id": asks[0]["id"], "preferred": "second", "annotator": "eve"}]
    (tmp_path / "answers.jsonl").write_text("".join(json.dumps(a) + "\n" for a in answers))
    resumed = Queue(tmp_path, patience=0.0)
    resumed.announce([("who?", ("bert", "anna"))])
    assert len((tmp_path / "asks.jsonl").read_text().splitlines()) == 2  # it was asked before
    found = resumed.compare("who?", ("bert", "anna"))
    assert (found.completions[0], found.preference, found.annotator) == (asks[0]["second"], 1.0, "eve")
    assert resumed.compare("why?", ("so", "no")).preference == 0.5


def test_neither_reply_is_always_first_in_the_queue(tmp_path: Path):
    queue = Queue(tmp_path)
    queue.announce([(f"prompt {i}", ("a", "b")) for i in range(60)])
    first = Counter(ask["first"] for ask in queue.asked.values())
    assert min(first["a"], first["b"]) > 14  # 30 ± 4 standard deviations of 3.9


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"id": "ID", "preferred": "left"}', "row 1: 'preferred' is 'left'"),
        ('{"id": "nobody", "preferred": "first"}', "row 1: 'id' is 'nobody'"),
        ("first", "row 1: not a JSON object"),
        ("[1]", "row 1: not a JSON object"),
    ],
)
def test_a_bad_answer_names_file_row_and_field(tmp_path: Path, line: str, says: str):
    queue = Queue(tmp_path, patience=0.0)
    queue.announce([("who?", ("a", "b"))])
    (tmp_path / "answers.jsonl").write_text(line.replace("ID", question_id("who?", ("a", "b"))) + "\n")
    with pytest.raises(UserError, match=f"answers.jsonl, {says}"):
        queue.compare("who?", ("a", "b"))


def test_specs(tmp_path: Path):
    rows = tmp_path / "pairs.jsonl"
    rows.write_text(json.dumps({"prompt": "who?", "chosen": "anna", "rejected": "bert"}) + "\n")
    assert parse(str(rows), []).compare("who?", ("bert", "anna")).completions[0] == "anna"
    assert isinstance(parse(f"queue:{tmp_path}?patience=5", []), Queue)
    assert isinstance(parse("town", [Prompt("who?")]), TownOracle)
    for bad in ("nobody", "queue:", "town:ada?patience=3", "town:zed", "town:ada?noise=much"):
        with pytest.raises(UserError):
            parse(bad, [])


def test_a_line_of_the_ledger_ends_at_its_line_feed_alone(tmp_path: Path):
    """U+2028 and U+0085 end a line for `str.splitlines`, and stand in JSON as they are."""
    pair = ("one\u2028two", "three\x85four")
    Ledger(File([Comparison("who?", pair)]), tmp_path / "asked.jsonl").compare("who?", pair)
    assert Ledger(File([]), tmp_path / "asked.jsonl").compare("who?", pair).completions == pair
    assert (tmp_path / "asked.jsonl").read_text(encoding="utf-8").count("\n") == 1
