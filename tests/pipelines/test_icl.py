"""Prompt files, the search for examples, and its promises: never worse than nothing, equal to brute force, resumed without asking again."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plumbline.core.errors import UserError
from plumbline.core.nouns import Demo, Message, Prompt, Reply, Sampling, Scores
from plumbline.data.promptfile import PromptFile, parsed, read, read_principles
from plumbline.engine.runs import RunFolder
from plumbline.models.scripted import ScriptedModel
from plumbline.pipelines.icl import Replies, choose, same_search, split, unseen
from plumbline.pipelines.icl_search import NEVER, Plan, search, sizes

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=12).filter(str.strip)
CHAT = st.lists(st.builds(Message, st.sampled_from(("system", "user", "assistant")), TEXT), min_size=1, max_size=3).map(tuple)
DEMO = st.builds(Demo, st.one_of(TEXT, CHAT), TEXT)
FILE = st.builds(PromptFile, st.lists(TEXT, max_size=3).map(tuple), st.lists(DEMO, max_size=3).map(tuple), TEXT)


# -- the file


@settings(max_examples=60, deadline=None)
@given(FILE)
def test_a_prompt_file_round_trips(prompt: PromptFile):
    import yaml

    assert parsed(yaml.safe_load(prompt.text()), "p.yaml") == prompt


def test_a_prompt_file_reads_as_people_write_it(tmp_path: Path):
    path = tmp_path / "p.yaml"
    path.write_text(
        "principles:\n- say so if you do not know\nexamples:\n- user: who?\n  assistant: mira.\n- {prompt: 'Q:', completion: ' A'}\n"
    )
    found = read(path)
    assert found.principles == ("say so if you do not know",)
    assert found.examples == (Demo((Message("user", "who?"),), "mira."), Demo("Q:", " A"))
    (tmp_path / "rules.md").write_text("# Rules\n\n- be kind\n* be brief\nbe honest\n")
    assert read_principles(tmp_path / "rules.md") == ("be kind", "be brief", "be honest")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("examples:\n- {user: a, assistant: b}\n- {user: who}", "row 2: .whole row. has the fields user.*user . assistant"),
        ("examples:\n- {user: yes, assistant: b}", 'row 1: "user" is True, not text.*quotes'),
        ("examples:\n- {user: a, assistant: ' '}", 'row 1: "assistant" is empty'),
        ("examples:\n- messages: [{role: user, content: a}, {role: user, content: b}]", 'row 1: "messages" ends with a user message'),
        ("examples: 3", '"examples" is 3.*each entry begins with a dash'),
        ("principels: []", 'no field "principels".*principles'),
        ("- a", "holds a list"),
        ("principles: [a\nexamples: 3", "no YAML: line 2"),
        ("principles: [3]", 'row 1: "principles" is 3, not text'),
    ],
)
def test_an_error_names_file_row_field_and_mend(tmp_path: Path, text: str, says: str):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=f"(?s)bad.yaml.*{says}"):
        read(path)


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(UserError, match=r"none\.yaml cannot be read: No such file"):
        read("none.yaml")


# -- the search


def brute(worth: list[float], least: int, most: int) -> float:
    """The best sum of `least` to `most` of these numbers, by trying all."""
    return max(sum(c) for size in range(least, min(most, len(worth)) + 1) for c in itertools.combinations(worth, size))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-4, 4), min_size=1, max_size=6), st.integers(0, 4), st.integers(0, 2), st.integers(1, 3))
def test_greedy_is_brute_force_where_a_score_is_a_sum(worth: list[int], most: int, least: int, beam: int):
    least = min(least, most, len(worth))
    found = search(len(worth), lambda order: float(sum(worth[i] for i in order)), Plan(least, most, tries=0, beam=beam))
    assert found.best.score == brute([float(w) for w in worth], least, most)
    for size, seen in found.by_size.items():
        assert len(seen.order) == size
        assert seen.score == brute([float(w) for w in worth], size, size)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 99), st.integers(1, 7), st.integers(0, 5), st.integers(0, 4), st.integers(1, 2))
def test_never_worse_than_nothing_and_the_same_seed_finds_the_same(seed: int, count: int, most: int, tries: int, beam: int):
    """A score without any structure; the answer is the best of all orders that were asked for, the empty one among them."""
    asked: dict[tuple[int, ...], float] = {}

    def score(order: tuple[int, ...]) -> float:
        asked[order] = hash((seed, order)) % 1000 / 1000
        return asked[order]

    plan = Plan(0, most, tries, beam, 6, seed)
    found = search(count, score, plan)
    assert found.best.score == max(asked.values()) >= asked[()]
    assert len(asked) <= plan.scores(count)
    assert all(len(set(order)) == len(order) <= most for order in asked)
    assert search(count, score, plan) == found


def test_orders_of_the_best_are_tried():
    """Only 2, 1, 0 in this order is worth more than its size: greedy comes to 0, 1, 2, and of its six orders all are tried."""
    found = search(3, lambda order: len(order) + (order == (2, 1, 0)), Plan(0, 3))
    assert found.best.order == (2, 1, 0)
    assert search(3, lambda order: len(order) + (order == (2, 1, 0)), Plan(0, 3, orders=0)).best.order == (0, 1, 2)


def test_what_does_not_fit_is_never_chosen():
    found = search(3, lambda order: NEVER if len(order) > 1 else float(len(order)), Plan(0, 3))
    assert (found.best.order, sorted(found.by_size)) == ((0,), [0, 1])
    with pytest.raises(UserError, match="no prompt of 2 examples fits"):
        search(3, lambda order: NEVER if len(order) > 1 else 0.0, Plan(2, 3))
    with pytest.raises(UserError, match="4 examples, but there are 3"):
        search(3, lambda order: 0.0, Plan(4, 4))


def test_sizes_are_one_number_or_a_range():
    assert (sizes("4"), sizes("0..8")) == ((4, 4), (0, 8))
    for bad in ("a", "1..", "3.5"):
        with pytest.raises(UserError, match="--k is"):
            sizes(bad)
    with pytest.raises(UserError, match=r"--k is 3\.\.2"):
        Plan(*sizes("3..2"))


# -- scores that are kept


CANDIDATES = [Demo((Message("user", f"q{i}"),), f"a{i}") for i in range(5)]


class Judge:
    """The worth of a prompt is the numbers in its replies; dies after `lives` scores."""

    says = "a number"

    def __init__(self, lives: int = 10**9) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.lives = lives

    def __call__(self, preface) -> list[float]:
        if len(self.asked) >= self.lives:
            raise KeyboardInterrupt
        shown = tuple(e.completion for e in preface.examples)
        self.asked.append(shown)
        return [sum(int(s[1]) / (j + 1) for j, s in enumerate(shown))] * 2


@pytest.mark.parametrize("lives", [0, 1, 7, 15])
def test_a_killed_search_resumes_with_the_same_prompt_and_asks_nothing_twice(tmp_path: Path, lives: int):
    whole, first, second = Judge(), Judge(lives), Judge()
    plan = Plan(0, 3, tries=0, orders=6)
    expected = choose(CANDIDATES, whole, plan)
    with RunFolder.open(tmp_path / "run") as run, pytest.raises(KeyboardInterrupt):
        choose(CANDIDATES, first, plan, run=run)
    with (tmp_path / "run" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 99, "order": [0, ')  # as a crash leaves it
    with RunFolder.open(tmp_path / "run", resume=True) as run:
        found = choose(CANDIDATES, second, plan, run=run)
    assert found.prompt.text() == expected.prompt.text()
    assert first.asked + second.asked == whole.asked
    assert len(set(whole.asked)) == len(whole.asked)
    with RunFolder.open(tmp_path / "run", resume=True) as run:
        assert choose(CANDIDATES, Judge(0), plan, run=run).prompt == found.prompt


def test_another_search_does_not_go_on_in_the_folder(tmp_path: Path):
    with RunFolder.open(tmp_path / "run") as run:
        same_search(run, {"k": "0..8", "seed": 0})
        same_search(run, {"k": "0..8", "seed": 0})
        with pytest.raises(UserError, match="another seed: 0, now 1"):
            same_search(run, {"k": "0..8", "seed": 1})


def test_a_reward_of_replies_is_a_score_for_any_model():
    """The script says the reply of the last example, or nothing of worth: the best single example is the one with the longest reply."""
    demos = [Demo((Message("user", "q"),), text) for text in ("no", "longest", "long")]
    model = ScriptedModel(
        lambda ask: Reply(str(ask.context[-2].content) if isinstance(ask.context, tuple) and len(ask.context) > 1 else "-")
    )
    judged = Replies(
        model, [Prompt((Message("user", "?"),))] * 2, lambda games: Scores({"x": [len(g.turns[-1].reply.text) for g in games]}), Sampling()
    )
    found = choose(demos, judged, Plan(0, 2), check=judged)
    assert [e.completion for e in found.prompt.examples] == ["longest"]
    assert found.check["difference"].mean == len("longest") - len("-")
    assert found.prompt.found["rows"] == [2]
    assert "reward" in found.prompt.text()


# -- rows


def test_held_out_rows_are_no_candidates():
    candidates, one, two = split(CANDIDATES, 2, 0)
    assert sorted(d.completion for d in (*candidates, *one, *two)) == [d.completion for d in CANDIDATES]
    assert split(CANDIDATES, 2, 0) == (candidates, one, two)
    assert unseen(CANDIDATES, one) == [d for d in CANDIDATES if d not in one]
    with pytest.raises(UserError, match="too few to hold out"):
        split(CANDIDATES, 3, 0)
