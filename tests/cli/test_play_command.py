"""`plumbline play`: models argue, a judge chooses; games are recorded, a run goes on, and what is wrong is said in one line."""

from __future__ import annotations

import json

import pytest

SCRIPT = '''
from plumbline.core.nouns import plain

def speaks(ask):
    """Quotes what the passage says of Ada; knows nothing to quote for Bob."""
    for_ada = ": Ada." in plain(ask.context).split("argue that")[1]
    return "<quote>Ada had the key</quote>" if for_ada else "Believe me, <quote>Bob did</quote>."

def mute(ask):
    return "" if "case 2" in plain(ask.context) else speaks(ask)

def heeds(ask):
    """Chooses what a verified quotation speaks for, else the first."""
    heard = plain(ask.context)
    return next((c for c in ask.choices if f"For {c}: <verified>" in heard), ask.choices[0])

def nobody(ask):
    raise AssertionError("this game was asked for again")
'''
ROWS = [
    {"id": f"q{i}", "question": f"case {i}: who?", "sides": sides, "passage": "Ada had the key.", "answer": "Ada"}
    for i, sides in enumerate((["Ada", "Bob"], ["Bob", "Ada"], ["Ada", "Bob"], ["Ada", "Bob"]))
]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with questions and a script, where the command runs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "play.py").write_text(SCRIPT)
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return tmp_path


def flags(judge="heeds", questions="q.jsonl", out="run", **speakers):
    named = [word for role, name in speakers.items() for word in (f"--{role}", f"script:play.py:{name}")]
    return ["--questions", questions, *named, "--judge", f"script:play.py:{judge}", "--out", out]


def test_debate_tells_the_truth_from_what_nobody_can_quote(command, place):
    code, found, _, _ = command("play", "debate", *flags(debater="speaks"), "--rounds", 1, "--json")
    assert code == 0
    assert found["accuracy"] == {"mean": 1.0, "lo": 1.0, "hi": 1.0, "n": 4}
    assert (found["questions"], found["games"], found["quotes"], found["verified"]) == (4, 8, 16, 8)
    assert (found["errors"], found["dropped"], found["games_file"]) == ({}, [], "run/games.jsonl")
    games = [json.loads(line) for line in (place / "run" / "games.jsonl").read_text().splitlines()]
    assert [g["game"] for g in games[:2]] == ["q0/ab", "q0/ba"]
    assert [t["speaker"] for t in games[0]["turns"]] == ["debater", "debater", "judge"]


def test_the_judge_alone_is_right_in_half_and_an_advisor_in_what_can_be_quoted(command, place):
    _, alone, _, _ = command("play", "direct", *flags(out="a"), "--json")
    assert alone["accuracy"]["mean"] == 0.5  # it chooses what stands first, and the sides are swapped
    assert alone["first"]["mean"] == 0.5
    _, advised, _, _ = command("play", "consultancy", *flags(out="b", advisor="speaks"), "--json")
    assert (advised["accuracy"]["mean"], advised["games"]) == (0.75, 16)  # the honest advisor convinces, the other leaves half


def test_people_read_accuracy_errors_and_where_the_games_are(command, place):
    code, _, out, _ = command("play", "debate", *flags(debater="mute"), "--rounds", 1)
    assert code == 0
    assert "judge's accuracy    1.000 [1.000, 1.000], n=3" in out
    assert "errors              2 games failed, 1 questions dropped for that" in out
    assert "1 × nothing was said for 'Ada'" in out or "2 × nothing was said for 'Ada'" in out
    assert out.strip().endswith("run/games.jsonl")


def test_a_run_goes_on_without_asking_again_and_refuses_other_options(command, place):
    arguments = ["play", "direct", *flags()]
    assert command(*arguments)[0] == 0
    games = (place / "run" / "games.jsonl").read_text()
    code, _, _, err = command(*arguments)
    assert code == 2
    assert "run is not empty" in err
    (place / "run" / "games.jsonl").write_text("".join(line + "\n" for line in games.splitlines()[:5]))
    code, found, _, _ = command(*arguments, "--resume", "--json")
    assert (code, found["games"]) == (0, 8)
    assert (place / "run" / "games.jsonl").read_text() == games
    code, _, _, err = command("play", "direct", *flags(judge="nobody"), "--resume")
    assert code == 2
    assert "was begun with players {'judge': 'script:play.py:heeds'}, not {'judge': 'script:play.py:nobody'}" in err
    (place / "play.py").write_text(SCRIPT.replace("return next(", "raise AssertionError; return next("))
    assert command(*arguments, "--resume")[0] == 0  # all is played: nobody is asked


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("raise ValueError('boom')", "play.py:odd failed: ValueError: boom"),
        ("import sys; sys.exit(0)", "play.py:odd failed: SystemExit: 0"),
        ("return None", "play.py:odd answered None, which is no text"),
        ("return 'a \\ud800'", "which is no text in UTF-8"),
    ],
)
@pytest.mark.parametrize("role", ["debater", "judge"])
def test_a_script_that_fails_is_named_with_what_it_was_asked(command, place, role, body, says):
    (place / "play.py").write_text(f"{SCRIPT}\ndef odd(ask):\n    {body}\n")
    code, _, _, err = command("play", "debate", *flags(**{"judge": "heeds", "debater": "speaks", role: "odd"}))
    assert code == 2
    assert says in err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["play", "debat"], "there is no protocol 'debat'"),
        (["play", "debate", "--out", "x"], "needs --questions"),
        (["play", "debate", *flags()], "needs --debater"),
        (["play", "direct", *flags(), "--rounds", "2"], "no option --rounds"),
        (["play", "debate", *flags(debater="speaks"), "--rounds", "0"], "--rounds is 0"),
        (["play", "direct", *flags(questions="none.jsonl")], "none.jsonl does not exist"),
        (["play", "direct", *flags(judge="absent")], "play.py has no function 'absent'"),
        (["play", "direct", *flags(questions="town:questions?n=0")], "town:questions?n=0 holds no questions"),
        (["play", "direct", *flags(), "--wording", "latin"], "--wording is 'latin'"),
        (["play", "direct", *flags(), "--wording", "town"], "the question 'q0' is not the town's"),
        (["play", "direct", *flags(questions="town:prompts?n=3")], "gives prompts, but questions are wanted"),
        (["play", "debate", *flags(debater="speaks"), "--best_of", "0"], "--best_of is 0"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_and_nothing_is_left_behind(command, place, words, says):
    code, _, _, err = command(*words)
    assert code == 2
    assert says in err
    assert "Traceback" not in err
    assert not (place / "run").exists()


def test_a_bad_row_is_named_and_may_be_left_out(command, place):
    (place / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*ROWS, {**ROWS[0], "id": "q9", "answer": "Eve"}]))
    code, _, _, err = command("play", "direct", *flags())
    assert code == 2
    assert "q.jsonl, row 5: \"answer\" is 'Eve', which is none of the sides" in err
    assert not (place / "run").exists()
    code, _, out, _ = command("play", "direct", *flags(), "--skip_bad")
    assert code == 0
    assert "1 rows left out as bad" in out
    assert json.loads((place / "run" / "skipped.jsonl").read_text())["row"] == 5


def test_without_a_protocol_it_lists_them_and_list_does_too(command):
    _, _, out, _ = command("play")
    assert all(f"  {name} " in out for name in ("consultancy", "debate", "direct"))
    _, found, _, _ = command("list", "--json")
    assert {p["name"]: p["data"] for p in found["protocols"]}.items() >= {"debate": "Question", "direct": "Question"}.items()


def test_the_shipped_models_debate_in_the_towns_language(command, place):
    arguments = ["play", "debate", "--questions", "town:questions?n=2&split=validation", "--debater", "town-s", "--judge", "town-s"]
    code, found, _, _ = command(*arguments, "--rounds", 1, "--words", 40, "--out", "town", "--best_of", 2, "--json")
    assert code == 0
    assert (found["questions"], found["games"], found["errors"]) == (2, 4, {})
    assert found["quotes"] > 0
    games = [json.loads(line) for line in (place / "town" / "games.jsonl").read_text().splitlines()]
    judged = [g["turns"][-1] for g in games]
    assert all(len(t["choice_probs"]) == 2 and sum(t["choice_probs"]) == pytest.approx(1.0) for t in judged)
    assert all(t["ids"] for g in games for t in g["turns"])
