"""The rows: what their decorators declare is what the source shows, and each runs end to end on a trial's budget."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from plumbline.claims import board, common, icl, judge
from plumbline.claims.common import CROWD, SHIPPED, Lab, shuffled
from plumbline.claims.reached import PACKAGE, reached
from plumbline.core.claims import Claim
from plumbline.core.methods import Step, method
from plumbline.core.nouns import Comparison, Prompt, Rating, plain
from plumbline.core.registry import Entry
from plumbline.pipelines.gold import TownGold
from plumbline.world import sources as world
from plumbline.world.language import words

ROWS = board.chosen("all")
TOWN = [e for e in ROWS if Path(common.__file__) in reached(PACKAGE.parent / (e.module.replace(".", "/") + ".py"))]  # in the laboratory
PROMPT = Prompt("who?")


@pytest.fixture(scope="module")
def lab() -> Lab:
    """One laboratory for all rows: they share its SFT model and the replies that are judged."""
    if not (SHIPPED / "model.safetensors").is_file():
        pytest.skip("the shipped model s is not in this checkout: `plumbline world build --size s` makes it")
    return Lab.begin(1, size=0.004)


@pytest.mark.parametrize("entry", ROWS, ids=lambda e: e.name)
def test_the_source_says_what_the_import_says(entry: Entry):
    made = board.load_claim(entry)
    assert (made.id, made.says, made.source) == (entry.name, entry.summary, entry.paper)
    assert made.seeds >= 3
    assert made.equal


def test_the_board_has_the_rows_that_the_project_promises():
    assert {"rlhf", "dpo", "ppo-clip", "ratings", "kl"} <= {e.name for e in ROWS}


def trial(made: Claim, lab: Lab) -> dict:
    """The row from one seed's experiment and control."""
    return judge.row(made, [made.run(lab)], [made.control(made.run, lab)])


@pytest.mark.parametrize("entry", TOWN, ids=lambda e: e.name)
def test_a_row_runs_end_to_end(entry: Entry, lab: Lab):
    row = trial(board.load_claim(entry), lab)
    assert all(f["n"] == common.FAMILIES for name, f in row["figures"].items() if name in row["tests"])
    assert row["control"]["figures"].keys() == row["tests"].keys()
    assert any("gold" in name and 0 <= f["mean"] <= 1 for name, f in row["figures"].items() if name not in row["tests"])
    json.dumps(row, allow_nan=False)


def test_the_same_seed_finds_the_same_and_another_finds_something_else(lab: Lab):
    again, other = (Lab(seed, lab.base, lab.size) for seed in (1, 2))
    one, two, three = (x.measured(x.start).gold.tolist() for x in (lab, again, other))
    assert one == two
    assert three != one


def test_people_of_the_crowd_like_words_and_courtesies_by_as_much_as_is_said():
    prompt = common.town_prompts("train", 1, seed=0)[0]
    plain, polite = (CROWD[0].perceive(prompt, text) for text in ("zzz zzz zzz", "zzz zzz zzz. thank you."))
    gold = common.ADA.perceive(prompt, "zzz zzz zzz. thank you.") - common.ADA.perceive(prompt, "zzz zzz zzz")
    more = len(words("zzz zzz zzz. thank you.")) - len(words("zzz zzz zzz"))
    assert polite - plain == pytest.approx(gold + 0.06 + 0.01 * more)


def test_shuffled_comparisons_are_the_same_pairs_in_an_order_that_says_nothing():
    rows = [Comparison("who?", (f"good {i}", f"bad {i}")) for i in range(400)]
    found = shuffled(rows, seed=3)
    assert [set(r.completions) for r in found] == [set(r.completions) for r in rows]
    turned = sum(a.completions != b.completions for a, b in zip(found, rows, strict=True))
    assert 160 < turned < 240  # 200 ± 4 standard deviations of 10
    assert found == shuffled(rows, seed=3) != shuffled(rows, seed=4)


def test_shuffled_ratings_are_the_same_scores_on_other_replies():
    rows = [Rating("who?", f"reply {i}", {"helpful": float(1 + i % 5)}) for i in range(100)]
    found = shuffled(rows, seed=3)
    assert [r.completion for r in found] == [r.completion for r in rows]
    assert sorted(r.scores["helpful"] for r in found) == sorted(r.scores["helpful"] for r in rows)
    assert sum(a.scores == b.scores for a, b in zip(found, rows, strict=True)) < 40  # a fifth by chance


@method(data=Prompt)
def breaks_down(policy, reference, reward, value, state, prompts):
    """Two rounds without gradient to speak of, then a loss that is no number."""
    for k, _ in enumerate(prompts):
        whole = sum(p.sum() for p in policy.parameters())
        yield Step(whole * (0.0 if k < 2 else float("nan")), update=policy)


def test_thumbs_follow_the_people_and_shuffled_ones_are_as_many_on_other_replies(lab: Lab):
    rows = lab.thumbs(26, CROWD)
    assert rows == lab.thumbs(26, CROWD)
    texts = {(r.context, r.completion) for r in rows}
    assert texts <= {(p.context, r.text) for p, several in lab.replies(26) for r in several}
    assert len(rows) == sum(len(several) for _, several in lab.replies(26))
    found = shuffled(rows, seed=3)
    assert [(r.context, r.completion) for r in found] == [(r.context, r.completion) for r in rows]
    assert sum(r.desirable for r in found) == sum(r.desirable for r in rows)
    assert [r.desirable for r in found] != [r.desirable for r in rows]


def test_an_arm_whose_loss_diverges_is_measured_as_it_stands_then(lab: Lab):
    points, seconds = lab.optimised("broken", TownGold(), breaks_down, rounds=1000, every=250)  # of which a trial makes 4, and 1
    assert [p.step for p in points] == [0, 1, 2, 2, 2]  # as many points as an arm that reaches its end has
    assert points[-1].gold.tolist() == points[0].gold.tolist()
    assert seconds > 0


def test_the_board_begins_a_seed_in_a_laboratory_of_its_own(lab: Lab):
    made = board.lab_of(board.load_claim(ROWS[0]), 7)
    assert (made.seed, made.size, made.label, made.shelf) == (7, 1.0, f"{ROWS[0].name}, seed 7", {})


def test_examples_in_no_order_keep_their_words_and_lose_their_sentences():
    demos = world.demos(40, seed=3)
    mixed = icl.in_no_order(demos, 1)
    bags = [[(sorted(words(plain(d.context))), sorted(words(d.completion))) for d in rows] for rows in (demos, mixed)]
    assert bags[0] == bags[1]
    assert sum(a.completion == b.completion for a, b in zip(demos, mixed, strict=True)) < 4
    assert mixed == icl.in_no_order(demos, 1) != icl.in_no_order(demos, 2)
