"""The quickstart, small: the promised shape, pairs labelled as town's annotators would label them, resuming."""

import inspect
import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import cast

import pytest

import plumbline as pl
from plumbline.cli.quickstart import quickstart as command
from plumbline.core.errors import UserError
from plumbline.core.nouns import Ask, Prompt, Reply
from plumbline.models.fresh import fresh
from plumbline.models.lm import LM
from plumbline.pipelines import evaluate, quickstart, rankings
from plumbline.pipelines.quickstart import Budget, Measured
from plumbline.world import VOCAB, gold, mistakes, oracle, prompts

TINY = Budget(seeds=2, demos=32, comparisons=26, prompts=26)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Measured, Path]:
    return quickstart.quickstart(TINY, out=str(tmp_path_factory.mktemp("quick") / "run"))


def test_the_json_is_as_promised(done: tuple[Measured, Path]):
    found = json.loads(json.dumps(quickstart.as_json(*done)))
    assert set(found["gold"]) == {"base", "sft", "dpo", "ppo", "best"}
    for figures in found["gold"].values():
        assert set(figures) == {"total", "helpful", "honest", "harmless"}
        assert all(set(f) == {"mean", "lo", "hi", "n"} and 0 <= f["lo"] <= f["mean"] <= f["hi"] <= 1 for f in figures.values())
    assert set(found["kl"]) == {"sft", "dpo", "ppo"}
    assert (found["gold"]["base"]["total"]["n"], found["gold"]["dpo"]["total"]["n"]) == (26, 52)
    assert set(found["tax"]) == {"lm_loss", "untouched_families"}
    assert Path(found["report"]).is_file()


def test_training_moves_the_model(done: tuple[Measured, Path]):
    loss = done[0].tax()["lm_loss"]
    assert len({loss[name].mean for name in ("base", "sft", "dpo", "ppo")}) == 4
    assert done[0].kl()["sft"].mean > 0


def test_the_report_shows_each_model_and_what_gold_deducted(done: tuple[Measured, Path]):
    html = done[1].read_text(encoding="utf-8")
    assert "plumbline quickstart" in html
    assert 'class="deduction"' in html
    assert all(f">{family}<" in html for family in ("fact", "harm", "leading"))


def test_a_finished_quickstart_resumes_to_the_same_figures(done: tuple[Measured, Path]):
    again, _ = quickstart.quickstart(TINY, out=str(done[1].parent), resume=True)
    assert all((again.matrix(name) == done[0].matrix(name)).all() for name in ("sft", "dpo", "ppo"))
    assert again.curves == done[0].curves


def test_a_model_that_does_not_speak_town_is_refused(tmp_path: Path):
    silent = fresh(tmp_path / "silent", VOCAB, hidden=32, layers=1, heads=2, ffn=64)
    with pytest.raises(UserError, match="tell no two replies of the model apart"):
        quickstart.quickstart(TINY, model=str(silent), out=str(tmp_path / "run"))


def test_a_budget_that_measures_nothing_is_refused():
    with pytest.raises(UserError, match="--prompts is 3"):
        quickstart.quickstart(Budget(prompts=3))


class Knows:
    """A model of town that gives a wrong answer, a right one, and one that is cut."""

    name = "knows"

    def sample(self, items: Sequence[Prompt], n: int, sampling: object) -> list[list[Reply]]:
        return [[Reply(mistakes(p)[0][1]), Reply(oracle(p)), Reply(oracle(p)[:4], finish="length")] for p in items]


def test_pairs_are_best_and_worst_as_an_annotator_without_noise_ranks_them():
    items = prompts("train", 40, seed=5)
    pairs = rankings.extremes(rankings.ranked(cast(LM, Knows()), items, who="ada", noise=0.0, seed=1))
    by_id = {p.id: p for p in items}
    assert len(pairs) == 40
    for pair in pairs:
        prompt = by_id[pair.meta["prompt_id"]]
        assert pair.completions == (oracle(prompt), mistakes(prompt)[0][1])  # the reply that was cut is not among them


class Oracle:
    """Answers every prompt of town as well as can be."""

    name = "oracle"

    def __init__(self, good: bool) -> None:
        self.reply = oracle if good else (lambda p: mistakes(p)[0][1])
        self.by_context = {p.context: p for p in prompts("heldout", 52, seed=0)}

    def answer(self, asks: Sequence[Ask]) -> list[Reply]:
        return [Reply(self.reply(self.by_context[a.context])) for a in asks]


def test_compare_prints_a_paired_difference():
    found = pl.compare(Oracle(True), Oracle(False), on="town", prompts=52)
    worst = sum(1 - gold(p, mistakes(p)[0][1]).total for p in prompts("heldout", 52, seed=0)) / 52
    assert found.figure.mean == pytest.approx(worst)
    assert found.win_rate.mean == 1
    assert str(found) == f"{worst:+.2f} [{found.figure.lo:.2f}, {found.figure.hi:.2f}], n=52"


def test_the_oracle_has_the_best_gold_in_every_family():
    found = evaluate.evaluate(Oracle(True), None, evaluate.Options(prompts=52)).figures["gold"]["oracle"]["total"]
    assert {f["mean"] for f in found.values()} == {1.0}


def test_a_model_without_log_probabilities_has_no_line_of_its_loss_on_plain_text():
    found = evaluate.evaluate(Oracle(True), None, evaluate.Options(prompts=13))
    assert "tax" not in found.figures
    assert not [line for line in found.lines if "plain text" in line]


def test_the_command_and_the_pipeline_have_one_budget():
    flags = {name: p.default for name, p in inspect.signature(command).parameters.items()}
    assert {f.name: f.default for f in fields(Budget)} == {f.name: flags[f.name] for f in fields(Budget)}
