"""The weak-to-strong study: whose labels who learns, that nobody is measured on what was trained on, resuming, and what is refused."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from plumbline.core.batches import Batch
from plumbline.core.errors import UserError
from plumbline.core.nouns import Comparison, Label, plain
from plumbline.data import Plan
from plumbline.engine.progress import Progress
from plumbline.engine.recipe import Recipe
from plumbline.methods.weak_to_strong import said
from plumbline.models.fresh import fresh
from plumbline.models.likely import Likely
from plumbline.models.lm import LM
from plumbline.models.scalar import ScalarLM
from plumbline.pipelines.feed import Feed
from plumbline.pipelines.w2s import Halves, Labelled, Study, labels, measured, right, rise_of, study, truth
from plumbline.pipelines.w2s_run import Given, halves, limits, named
from plumbline.world.vocab import VOCAB

QUIET = Progress(quiet=True)
SIDES = ("yes", "no")
LIT = replace(Recipe(epochs=3, batch=8, lr=0.02, warmup=0.1), seed=0)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two tiny models of random weights, the second with other tokens and a shorter context."""
    found = {}
    for name, some, context in (("weak", VOCAB, 64), ("strong", [*reversed(VOCAB), "unheard"], 48)):
        found[name] = tmp_path_factory.mktemp("w2s") / name
        fresh(found[name], some, hidden=16, layers=1, heads=2, ffn=32, context=context, seed=len(found))
    return found


@pytest.fixture
def lms(models: dict[str, Path]) -> dict[str, LM]:
    return {name: LM.load(path, name=name, attn="dense") for name, path in models.items()}


def pairs(n: int, start: int = 0) -> list[Comparison]:
    """A question about a number in words; "yes" is right."""
    people = [w for w in VOCAB if w.isalpha()][:60]
    return [Comparison(f"is {people[i % 60]} {people[(7 * i) % 60]}?", SIDES) for i in range(start, start + n)]


def thumbs(n: int) -> list[Label]:
    return [Label(row.context, row.completions[i % 3 == 0], i % 3 > 0) for i, row in enumerate(pairs(n))]


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


# -- whose labels who learns


def test_the_students_learn_what_the_supervisor_says_and_not_the_truth(lms):
    """Of a supervisor that learned lies, the naive student takes the lies; the ceiling does not."""
    lies = [replace(row, completions=SIDES[::-1]) for row in pairs(24)]
    rows = Halves(lies, pairs(24, 24), pairs(24, 60))
    made = driven(study(lms["weak"], lms["strong"], {"m": lms["weak"]}, rows, Study(LIT)))
    assert list(made) == ["weak", "ceiling", "naive", "confident", "via-m", "bootstrapped"]
    found = {name: sum(x) / len(x) for name, x in measured(made, rows.test).items()}
    assert found["ceiling"] > 0.9
    assert max(found[name] for name in ("weak", "naive", "confident", "via-m", "bootstrapped")) < 0.1


def test_a_likelihood_is_read_without_a_head_and_the_models_that_were_given_stay_as_they_are(lms):
    rows = Halves(pairs(24), pairs(24, 24), pairs(24, 60))
    before = lms["strong"].fingerprint()
    made = driven(study(lms["weak"], lms["strong"], {}, rows, Study(LIT, alpha=0.0, reads="likelihood")))
    assert list(made) == ["weak", "ceiling", "naive"]
    assert {type(model) for model in made.values()} == {Likely}
    assert lms["strong"].fingerprint() == before
    assert sum(measured(made, rows.test)["naive"]) > 21
    with pytest.raises(UserError, match="the likelihood of one reply"):
        driven(study(lms["weak"], lms["strong"], {}, Halves(thumbs(8), thumbs(8), thumbs(8)), Study(LIT, reads="likelihood")))


def test_the_log_odds_of_a_likelihood_are_the_difference_of_log_probabilities(lms):
    model = Likely(lms["weak"])
    plan = Plan(pairs(3), model.tokenizer)
    logp_G2 = lms["weak"].logps(next(Batch(plan[:]).parts()))
    found = sorted(said(model, plan[:]).tolist())
    assert found == pytest.approx(sorted((logp_G2[:, 0] - logp_G2[:, 1]).tolist()), abs=1e-5)


def driven(pipeline: Any) -> dict[str, Any]:
    """A study without a folder."""
    from plumbline.engine.drive import drive

    try:
        stage = next(pipeline)
        while True:
            drive(stage.steps, recipe=stage.recipe, progress=QUIET)
            stage = pipeline.send(None)
    except StopIteration as end:
        return end.value


def test_labels_are_probabilities_by_row_and_turn_with_the_pair(lms):
    model = ScalarLM.on(lms["weak"], seed=1)
    turned = [replace(row, completions=row.completions[::-1]) for row in pairs(6)]
    one, other = (labels(model, Plan(rows, model.tokenizer)) for rows in (pairs(6), turned))
    assert list(one) == [1, 2, 3, 4, 5, 6]
    assert all(0 < p < 1 for p in one.values())
    assert [1 - p for p in other.values()] == pytest.approx(list(one.values()), abs=1e-6)


def test_rows_that_a_model_could_not_read_are_left_out_for_the_student_too(lms):
    plan = Plan(pairs(4), lms["strong"].tokenizer)
    some = Labelled(plan, {1: 0.9, 3: 0.2})
    assert [(g.row, g.preference) for g in some] == [(1, 0.9), (3, 0.2)]
    assert len(some) == 2
    assert some[1] == some[:][1]


def test_truth_leaves_ties_out_and_reads_thumbs(lms):
    tied = [*pairs(2), replace(pairs(1)[0], preference=0.5)]
    assert truth(Plan(tied, lms["weak"].tokenizer)) == {1: 1.0, 2: 1.0}
    assert truth(Plan(thumbs(3), lms["weak"].tokenizer)) == {1: 0.0, 2: 1.0, 3: 1.0}


def test_right_counts_the_side_of_the_truth_and_half_where_replies_read_alike(lms):
    model = ScalarLM.on(lms["weak"], seed=1)
    rows = [*pairs(5), Comparison("yes?", ("yes", " yes"))]
    turned = [replace(row, completions=row.completions[::-1]) for row in rows]
    one, other = (right(model, Plan(some, model.tokenizer, keep_alike=True)) for some in (rows, turned))
    assert [a + b for a, b in zip(one.values(), other.values(), strict=True)] == [1.0] * 6
    assert one[6] == 0.5


def test_a_fifth_of_the_training_is_counted_in_steps():
    assert rise_of(Recipe(epochs=1, batch=10), 500) == 10
    assert rise_of(Recipe(steps=25, batch=10), 500) == 5
    assert rise_of(Recipe(epochs=1, batch=100), 50) == 1
    with pytest.raises(UserError, match="budget in epochs or steps"):
        rise_of(Recipe(tokens=100), 50)


# -- halves


def test_no_prompt_is_in_two_parts(tmp_path):
    rows = [{"prompt": plain(r.context), "chosen": "yes", "rejected": "no"} for r in pairs(120)] * 2  # every prompt twice
    file = str(written(tmp_path / "rows.jsonl", rows))
    found, words = halves(Given("s", "l", data=file), Feed(), QUIET, seed=1)
    parts = [{plain(row.context) for row in part} for part in (found.supervisor, found.student, found.test)]
    assert sum(map(len, parts)) == len(set().union(*parts))
    assert sum(map(len, (found.supervisor, found.student, found.test))) == 240
    assert 20 < len(found.test) < 80
    assert 60 < len(found.supervisor) < 135
    assert "by their prompts" in words
    other, _ = halves(Given("s", "l", data=file), Feed(), QUIET, seed=2)
    assert list(other.test) != list(found.test)


def test_rows_whose_prompt_is_in_the_test_are_not_trained_on(tmp_path):
    rows = [{"prompt": plain(r.context), "chosen": "yes", "rejected": "no"} for r in pairs(120)]
    files = [str(written(tmp_path / f"{name}.jsonl", some)) for name, some in (("all", rows), ("some", rows[:20]))]
    found, words = halves(Given("s", "l", data=files[0], test=files[1]), Feed(), QUIET, seed=1)
    assert words == files[1]
    assert len(found.test) == 20
    seen = {plain(row.context) for row in found.test}
    assert not any(plain(row.context) in seen for part in (found.supervisor, found.student) for row in part)


def test_of_town_the_validation_split_measures():
    found, words = halves(Given("s", "l", data="town:truths?n=60&seed=2&families=fact"), Feed(), QUIET, seed=0)
    assert words == "town:truths?n=520&split=validation&seed=2&families=fact"
    assert {row.meta["split"] for row in found.test} == {"validation"}
    assert {row.meta["family"] for row in (*found.test, *found.student)} == {"fact"}
    assert len(found.supervisor) + len(found.student) == 60


def test_ties_are_left_out_and_too_few_rows_are_refused():
    rows = named("town:comparisons?n=60&seed=1", Comparison, Feed(), QUIET)
    assert all(isinstance(row, Comparison) and row.preference != 0.5 for row in rows)
    assert len(rows) < 60
    assert isinstance(named("town:labels?n=4", Label, Feed(), QUIET)[0], Label)
    with pytest.raises(UserError, match=r"leaves \d rows for the"):
        halves(Given("s", "l", data="town:truths?n=9", test="town:truths?n=9&split=validation"), Feed(), QUIET, seed=0)


def test_everybody_reads_as_much_as_the_shortest_context_holds(lms):
    assert limits(list(lms.values()), Feed()) == (24, 24)
    assert limits(list(lms.values()), Feed(max_completion_tokens=8)) == (40, 8)


# -- the command


def files(tmp_path: Path) -> dict[str, Path]:
    people = [r.context for r in pairs(60)]
    return {
        "data": written(tmp_path / "pairs.jsonl", [{"prompt": p, "chosen": "yes", "rejected": "no"} for p in people]),
        "labels": written(
            tmp_path / "labels.jsonl", [{"prompt": p, "completion": SIDES[i % 2], "label": i % 2 == 0} for i, p in enumerate(people)]
        ),
    }


SMALL = ("--epochs", 2, "--batch", 8, "--lr", 0.02, "--device", "cpu", "--threads", 1)


class Killed(BaseException):
    """Stands for SIGKILL."""


def test_the_command_says_what_was_recovered_and_a_killed_one_ends_alike(models, tmp_path, command, monkeypatch):
    who = ("--weak", models["weak"], "--strong", models["strong"], "--via", models["weak"], "--data", files(tmp_path)["data"], *SMALL)
    code, found, _, err = command("w2s", *who, "--out", tmp_path / "whole", "--json")
    assert code == 0, err
    assert list(found["students"]) == ["naive", "confident", "bootstrapped"]
    assert found["students"]["naive"]["weak"]["mean"] == found["accuracy"]["weak"]["mean"]
    assert json.loads((tmp_path / "whole" / "w2s.json").read_text())["accuracy"] == found["accuracy"]

    def die(*_: object) -> None:
        raise Killed

    again = ("w2s", "--config", tmp_path / "whole" / "config.yaml", "--threads", 1, "--out", tmp_path / "again", "--json")
    with monkeypatch.context() as patched:
        patched.setattr(os, "kill", die)
        with pytest.raises(Killed):
            command(*again, "--fault", "boundary:14")
    code, resumed, _, err = command(*again, "--resume")
    assert code == 0, err
    assert {k: v for k, v in resumed.items() if k not in ("out", "report")} == {
        k: v for k, v in found.items() if k not in ("out", "report")
    }
    kept = [sorted(p.read_bytes() for p in (tmp_path / name).rglob("*.safetensors")) for name in ("whole", "again")]
    assert kept[0] == kept[1]


def test_thumbs_are_learned_too(models, tmp_path, command):
    who = (
        "--weak",
        models["weak"],
        "--strong",
        models["strong"],
        "--labels",
        files(tmp_path)["labels"],
        *SMALL,
        "--epochs",
        6,
        "--alpha",
        0.5,
    )
    code, found, _, err = command("w2s", *who, "--out", tmp_path / "run", "--json")
    assert code == 0, err
    assert list(found["students"]) == ["naive", "confident"]
    assert found["accuracy"]["ceiling"]["mean"] > 0.9  # "yes" is up, "no" is down


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--out", "x"), "needs --weak"),
        (("--weak", "a", "--strong", "b", "--out", "x"), "one of --data and --labels"),
        (("--weak", "a", "--strong", "b", "--out", "x", "--data", "c", "--labels", "d"), "one of --data and --labels"),
        (("--weak", "a", "--strong", "b", "--out", "x", "--data", "c", "--alpha", "2"), "--alpha is 2"),
        (("--weak", "a", "--strong", "b", "--out", "x", "--data", "town:truths?k=1"), "no key 'k'"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(command, flags, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, out, err = command("w2s", *flags)
    assert (code, out) == (2, "")
    assert says in err
