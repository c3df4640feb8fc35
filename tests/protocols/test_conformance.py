"""Every registered protocol is found, plays through, survives an item that cannot be played, and goes on where it was killed."""

from __future__ import annotations

import inspect
import json
from collections import Counter

import pytest
from scripts import CHOOSE, QUESTIONS, Killed, argues, counts_verified, table

from plumbline.core.errors import UserError
from plumbline.core.nouns import Ask, Prompt, Question, Reply, plain
from plumbline.core.protocols import Rules, load_protocol
from plumbline.core.registry import entries
from plumbline.engine.runs import RunFolder
from plumbline.pipelines.play import play_all, seats

ENTRIES = entries("protocol")
ITEMS = {Question: QUESTIONS, Prompt: [Prompt(q.context, id=q.id) for q in QUESTIONS]}


@pytest.fixture(params=ENTRIES, ids=lambda e: e.name)
def rules(request) -> Rules:
    return load_protocol(request.param.name)


def asked(models) -> list[Ask]:
    return [ask for model in models.values() for ask in model.asked]


def test_there_are_the_protocols_that_the_project_promises():
    assert {"debate", "consultancy", "direct"} <= {e.name for e in ENTRIES}


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: e.name)
def test_the_source_says_what_the_import_says(entry):
    made = load_protocol(entry.name)
    assert (made.name, made.data.__name__, made.paper) == (entry.name, entry.data, entry.paper)
    assert entry.summary.startswith((inspect.getdoc(inspect.getmodule(made.function)) or "?")[:20])
    assert made.data in ITEMS  # a new kind of item: put some into ITEMS, and every test here covers the protocol


def test_it_plays_through_and_every_game_is_recorded(rules, tmp_path):
    models, items = table(rules), ITEMS[rules.data]
    with RunFolder.open(tmp_path / "run") as run:
        rows = play_all(rules, items, models, run=run)
        assert [r["game"] for r in rows] == [s.name for s in seats(rules, items)]
        assert [{k: v for k, v in r.items() if k not in ("step",)} for r in run.read("games")] == json.loads(json.dumps(rows))
    assert all(not r["error"] and r["outcome"] is not None and r["turns"] for r in rows)
    assert sum(len(r["turns"]) for r in rows) == len(asked(models))


def test_an_item_that_cannot_be_played_is_recorded_and_the_others_go_on(rules):
    def mute(ask: Ask) -> Reply:
        return Reply("", finish="error")

    items = ITEMS[rules.data]

    def broken(script):
        return lambda ask: mute(ask) if "case 2" in plain(ask.context) else script(ask)

    rows = play_all(rules, items, table(rules, judge=broken(counts_verified), speaker=broken(argues)))
    failed = {r["group"] for r in rows if r["error"]}
    assert failed == {"case-2"}
    assert all(r["outcome"] is None and r["turns"] for r in rows if r["error"])
    assert all(r["outcome"] is not None for r in rows if r["group"] != "case-2")


@pytest.mark.parametrize("calls", [0, 1, 2, 3])
def test_a_killed_run_goes_on_and_asks_nothing_again(rules, tmp_path, calls):
    items, whole = ITEMS[rules.data], play_all(rules, ITEMS[rules.data], table(rules))
    dying = {role: Killed(counts_verified if role in CHOOSE else argues, calls) for role in rules.asks}
    with RunFolder.open(tmp_path / "run") as run, pytest.raises(KeyboardInterrupt):
        play_all(rules, items, dying, run=run, at_once=1)
    with RunFolder.open(tmp_path / "run", resume=True) as run:
        finished = [r for r in run.read("games")]
        with (tmp_path / "run" / "games.jsonl").open("a") as file:
            file.write('{"step": 0, "game": "case-')  # the process died while it wrote this line
        models = table(rules)
        rows = play_all(rules, items, models, run=run, at_once=3)
        assert [r["game"] for r in run.read("games")].count(rows[0]["game"]) == 1
        assert len(run.read("games")) == len(rows)
    assert [{k: v for k, v in r.items() if k != "step"} for r in json.loads(json.dumps(rows))] == json.loads(json.dumps(whole))
    assert len(asked(models)) == sum(len(r["turns"]) for r in whole[len(finished) :])


def test_the_noise_of_a_game_depends_on_the_game_and_the_seed_alone(rules):
    one, many, other = (play_all(rules, ITEMS[rules.data], table(rules), at_once=n, seed=s) for n, s in ((1, 0), (50, 0), (50, 1)))
    assert one == many
    seeds = [s.seed for s in seats(rules, ITEMS[rules.data])]
    assert len(set(seeds)) == len(seeds)
    assert (one != other) == (len(rules.asks) > 1)  # the judge chooses the most probable answer and draws nothing


def test_sides_and_balanced_settings_are_played_equally_often(rules):
    if rules.data is not Question:
        pytest.skip("only questions have sides")
    rows = play_all(rules, ITEMS[rules.data], table(rules))
    played = Counter((tuple(r["outcome"]["sides"]), *r["settings"].values()) for r in rows)
    assert len(set(played.values())) == 1
    assert {sides for sides, *_ in played} == {("Ada", "Bob"), ("Bob", "Ada")}


def test_settings_that_cannot_be_are_refused_before_anybody_is_asked(rules):
    with pytest.raises(UserError, match="has no setting 'round'"):
        rules(round=1)
    for setting in set(rules.defaults) & {"rounds", "words"}:
        with pytest.raises(UserError, match=f"{rules.name}: "):
            rules(**{setting: 0}).check(ITEMS[rules.data][0])


def test_an_unknown_protocol_is_refused_with_those_there_are():
    with pytest.raises(UserError, match=r"no protocol 'debaet'(?s:.*)consultancy, (critique, )?debate, direct"):
        load_protocol("debaet")


def test_two_items_of_one_name_are_refused(rules):
    with pytest.raises(UserError, match="two items are called 'case-0'"):
        seats(rules, [QUESTIONS[0], QUESTIONS[0]])
