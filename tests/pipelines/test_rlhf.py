"""rlhf: which stages run, that a kill anywhere changes nothing, and that what is wrong is said before anything is trained."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
import rlhf_jobs

from plumbline.cli.main import main
from plumbline.core.errors import UserError
from plumbline.core.nouns import Comparison, Demo, Game, Prompt, Rating, Reply, Scores, Turn
from plumbline.core.registry import load_method
from plumbline.data import Plan, open_rows
from plumbline.data.endorsed import Endorsed
from plumbline.models.lm import LM
from plumbline.models.scalar import ScalarLM
from plumbline.pipelines import appraisal, readings, sources
from plumbline.pipelines import gold as gold_reward
from plumbline.pipelines.rlhf import rlhf
from plumbline.pipelines.roles import thresholds_of
from plumbline.pipelines.run_report import NOT_CURVES
from plumbline.pipelines.watched import repeats, watched
from plumbline.rewards.combined import subject_to, weighted
from plumbline.world import gold
from plumbline.world import sources as world


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model, files, and one whole run that was never killed."""
    folder = rlhf_jobs.make(tmp_path_factory.mktemp("rlhf"))
    rlhf_jobs.train(folder, folder / "whole", "demos", "comparisons")
    return folder


def weights(out: Path) -> dict[str, bytes]:
    """Every file of weights of every stage's last checkpoint."""
    done = json.loads((out / "stages.json").read_text())
    folders = [out / "checkpoints" / stage / record["checkpoint"] for stage, record in done.items()]
    return {str(p.relative_to(out)): p.read_bytes() for f in folders for p in sorted(f.rglob("*.safetensors"))}


def metrics(out: Path) -> list[dict[str, object]]:
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


class Killed(BaseException):
    """Stands for SIGKILL where a process for each of many kills would take too long: nothing in the engine catches it."""


# Two steps of sft, three of the reward, three rounds of ppo of two updates: the second round is step 7.
@pytest.mark.parametrize("fault", ["rollout:2", "update:3", "boundary:7", "checkpoint-write:4", "stage:1", "stage:2", "checkpoint-write:7"])
def test_killed_anywhere_and_resumed_is_bit_equal(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    def die(*_: object) -> None:
        raise Killed

    out = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr(os, "kill", die)
        with pytest.raises(Killed):
            rlhf_jobs.train(made, out, "demos", "comparisons", fault=fault)
    assert not (out / "report.html").exists()
    rlhf_jobs.train(made, out, "demos", "comparisons", resume=True)
    assert weights(out) == weights(made / "whole")
    assert metrics(out) == metrics(made / "whole")


def test_a_whole_run_left_its_stages_and_its_report(made: Path) -> None:
    done = json.loads((made / "whole" / "stages.json").read_text())
    assert {stage: record["steps"] for stage, record in done.items()} == {"sft": 2, "reward": 3, "ppo": 3}
    assert {"policy", "value"} <= {path.name for path in (made / "whole" / "checkpoints" / "ppo" / "step-00000003").iterdir()}
    assert "Gold is not known" in (made / "whole" / "report.html").read_text()


def test_a_run_of_stages_is_named_by_its_folder(made: Path) -> None:
    whole = str(made / "whole")
    assert sources.model_path(whole) == str(made / "whole" / "checkpoints" / "ppo" / "step-00000003" / "policy")
    assert sources.reward_path(whole, any_stage=True) == str(made / "whole" / "checkpoints" / "reward" / "step-00000003" / "model")
    assert sources.reward_path(whole) == ""  # `eval` measures the policy


def test_every_figure_that_is_logged_has_a_reading(made: Path) -> None:
    named = {(str(row["stage"]), name) for row in metrics(made / "whole") for name in row if name not in NOT_CURVES}
    assert len(named) > 20
    assert [pair for pair in named if readings.of(*pair) is None] == []


def test_the_command_killed_by_a_signal_and_replayed_from_its_config_ends_alike(made: Path, tmp_path: Path) -> None:
    argv = ["--config", str(made / "whole" / "config.yaml"), "--out", str(tmp_path / "run"), "--threads", "1"]
    assert rlhf_jobs.finish([*argv, "--fault", "stage:2"]) == -signal.SIGKILL
    assert set(json.loads((tmp_path / "run" / "stages.json").read_text())) == {"sft"}  # the reward's last step is saved, its end is not
    assert rlhf_jobs.finish([*argv, "--resume"]) == 0
    assert weights(tmp_path / "run") == weights(made / "whole")
    assert metrics(tmp_path / "run") == metrics(made / "whole")


def load(made: Path) -> LM:
    return LM.load(made / "model", attn="dense")


def rows(made: Path, kind: type) -> Sequence[object]:
    return open_rows(made / f"{kind.__name__.lower()}s.jsonl", kind)


def always(games: Sequence[Game]) -> Scores:
    return Scores({"r": [0.5] * len(games)})


@pytest.mark.parametrize("learner", ["ppo", "grpo", "rloo"])
@pytest.mark.parametrize(("demos", "judge", "stages"), [(1, 0, "sft reward"), (0, 0, "reward"), (1, 1, "sft"), (0, 1, "")])
def test_a_stage_is_left_out_where_what_it_makes_is_given(made: Path, learner: str, demos: int, judge: int, stages: str) -> None:
    from plumbline.core.nouns import Demo

    given = list(rows(made, Demo)) if demos else []
    feedback = [] if judge else list(rows(made, Comparison))
    pipeline = rlhf(load(made), given, feedback, list(rows(made, Prompt)), judge=always if judge else None, learner=load_method(learner))  # pyright: ignore[reportArgumentType]
    assert [stage.name for stage in pipeline] == [*stages.split(), learner]


def test_ratings_make_a_head_for_each_criterion_and_are_measured(made: Path, tmp_path: Path) -> None:
    found = rlhf_jobs.train(made, tmp_path / "run", "ratings", eval_feedback=str(made / "ratings.jsonl"))
    assert {"score/proxy.honest", "score/proxy.helpful", "score/words"} <= set(found["last"])
    card = appraisal.read(tmp_path / "run")
    assert set(card["ratings"]) == {"honest", "helpful"}
    assert card["ratings"]["honest"]["exact"]["n"] == 12
    assert "What the reward is worth" in (tmp_path / "run" / "report.html").read_text()


# -- what is wrong is said before anything is trained


def said(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert main(["rlhf", *argv]) == 2
    return capsys.readouterr().err


WRONG = {
    "no feedback and no reward": ({"comparisons": ""}, "one of --comparisons, --ratings and --reward"),
    "two kinds of feedback": ({"reward": "json"}, "one of --comparisons, --ratings and --reward"),
    "demonstrations for prompts": ({"prompts": "town:demos?n=4"}, "prompts are wanted"),
    "a reward that is not there": ({"comparisons": "", "reward": "nowhere"}, "nowhere: no such model directory"),
    "a rule that breaks": ({"comparisons": "", "reward": "rule:{folder}/rule.py:breaks"}, "rule.py"),
    "gold where it is not known": ({"comparisons": "", "reward": "gold"}, "gold is known on prompts of town only"),
    "an unknown fault point": ({"fault": "lunch"}, "there is no fault point 'lunch'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_is_one_line_with_the_mend(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str) -> None:
    (made / "rule.py").write_text("def breaks(prompt, completion):\n    return completion['score']\n")
    changed, words = WRONG[case]
    given = {"model": made / "model", "out": tmp_path / "run", "device": "cpu"}
    given |= {kind: made / f"{kind}.jsonl" for kind in ("demos", "comparisons", "prompts")}
    given |= {name: str(value).format(folder=made) for name, value in changed.items()}
    error = said(capsys, *(word for name, value in given.items() if value != "" for word in (f"--{name}", str(value))))
    assert words in error
    assert len(error.strip().splitlines()) == 2  # what is wrong, and the mend
    assert not (tmp_path / "run").exists()


def test_rlhf_without_feedback_or_reward_is_refused_when_it_is_called(made: Path) -> None:
    with pytest.raises(UserError, match="no feedback and no reward"):
        rlhf(load(made), [], [], [Prompt("who is it")])


def test_a_run_is_not_resumed_with_other_feedback(made: Path, tmp_path: Path) -> None:
    for name in ("prompts", "comparisons", "demos"):
        (tmp_path / f"{name}.jsonl").write_text((made / f"{name}.jsonl").read_text() + ("\n" if name != "comparisons" else ""))
    (tmp_path / "comparisons.jsonl").write_text("".join((made / "comparisons.jsonl").read_text().splitlines(keepends=True)[:8]))
    (tmp_path / "model").symlink_to(made / "model")
    with pytest.raises(UserError, match="other data"):
        rlhf_jobs.train(tmp_path, made / "whole", "demos", "comparisons", resume=True)


# -- parts


def test_thresholds_follow_the_heads_of_the_model(made: Path) -> None:
    model = load(made)
    given = Plan(rows(made, Rating), model.tokenizer)  # pyright: ignore[reportArgumentType]
    assert thresholds_of(given, model).criteria == ("honest", "helpful")  # as they first appear
    assert thresholds_of(given, ScalarLM.on(model, ("helpful", "honest"))).criteria == ("helpful", "honest")
    assert thresholds_of(given, ScalarLM.on(model, ("helpful", "kind"))).criteria == ("honest", "helpful")  # which ratings then refuses


def test_what_people_showed_or_preferred_may_be_imitated(made: Path) -> None:
    one, two, three = " mira", " miller", " baker"
    say = load(made).tokenizer
    shown = Plan([Demo("who is", one)], say)
    tie = Comparison("who is", (one, two), 0.5)
    judged = Plan([Comparison("who is", (two, one)), tie, Comparison("who is", (three, one, two))], say)
    rated = Plan([Rating("who is", two, {"helpful": 5.0})], say)

    def texts(demos: Plan | None, judgements: Plan | None) -> list[str]:
        return [" +".join(say.decode(c) for c in group.completions) for group in Endorsed(demos, judgements)]

    assert texts(shown, judged) == ["mira", "miller", "baker"]
    assert texts(None, judged) == ["miller", "baker"]
    assert texts(shown, rated) == ["mira"]
    assert texts(None, None) == []


def test_a_tenth_of_a_file_is_held_out_by_prompt() -> None:
    feedback = [Comparison(f"prompt {i // 2}", ("a", "b")) for i in range(600)]  # every prompt twice
    kept, held = appraisal.split("pairs.jsonl", feedback, Comparison, "", "prompts.jsonl")
    assert len(kept) + len(held.rows) == 600
    assert 30 <= len(held.rows) <= 90
    assert not {row.context for row in kept} & {row.context for row in held.rows}
    assert "none was trained on" in held.words
    few, nothing = appraisal.split("pairs.jsonl", feedback[:60], Comparison, "", "prompts.jsonl")
    assert len(few) == 60
    assert nothing.rows == ()


def test_of_town_the_validation_split_is_held_out_and_all_is_trained_on() -> None:
    spec = "town:comparisons?n=20&seed=3&who=eve&ties=false"
    feedback = world.load(spec)
    kept, held = appraisal.split(spec, feedback, Comparison, "", "town:prompts")
    assert kept == feedback
    assert list(held.rows) == world.load(spec + "&split=validation")
    assert {row.annotator for row in held.rows if isinstance(row, Comparison)} == {"eve"}


def game(prompt: Prompt, text: str) -> Game:
    return Game((Turn("policy", prompt.context, Reply(text, finish="stop")),), item=prompt)


def test_watching_changes_nothing_that_is_optimised() -> None:
    prompts = [p for p in world.load("town:prompts?n=6") if isinstance(p, Prompt)]
    games = [game(p, f"i do not know. i hope this helps. {'so ' * i}") for i, p in enumerate(prompts)]
    length = lambda games: Scores({"r": [float(len(g.turns[-1].reply.text)) for g in games]})  # noqa: E731
    scores = watched(length, town=True)(games)
    assert scores.total == length(games).total
    assert scores.components["words"] == [8.0, 9.0, 10.0, 11.0, 12.0, 13.0]
    assert scores.components["courtesies"][0] == 1.0
    assert scores.components["evasions"][0] == 1.0
    assert all(0 <= g <= 1 for g in scores.components["gold"])
    assert "gold" not in watched(length, town=False)(games).components
    assert repeats("a b c a b c") == pytest.approx(1 / 4)  # abc bca cab abc: one of four was there before


def test_a_reward_s_own_component_is_not_displaced_by_what_is_watched_under_its_name() -> None:
    prompts = [p for p in world.load("town:prompts?n=2") if isinstance(p, Prompt)]
    games = [game(p, "i do not know.") for p in prompts]
    scores = watched(weighted({"words": (always, 2.0), "other": (always, 1.0)}), town=True)(games)
    assert scores.components["words"] == always(games).total  # not 4.0, the number of words
    assert scores.weights["words"] == 2.0
    assert scores.total == [3 * x for x in always(games).total]


def test_a_watched_reply_is_read_by_gold_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    monkeypatch.setattr(gold_reward, "gold", lambda prompt, text: read.append(text) or gold(prompt, text))
    prompts = [p for p in world.load("town:prompts?n=6") if isinstance(p, Prompt)]
    scores = watched(always, town=True)([game(p, f"reply {i}") for i, p in enumerate(prompts)])
    assert read == [f"reply {i}" for i in range(6)]
    assert {name for name, weight in scores.weights.items() if weight} == {"proxy"}
    worth = [gold(p, f"reply {i}") for i, p in enumerate(prompts)]
    assert {name: scores.components[name] for name in ("gold", "helpful", "honest", "harmless")} == {
        "gold": [u.total for u in worth],
        "helpful": [u.helpful for u in worth],
        "honest": [u.honest for u in worth],
        "harmless": [u.harmless for u in worth],
    }


def test_multipliers_of_a_watched_reward_are_kept() -> None:
    bounded = subject_to(always, {"safe": (always, 0.9)}, rate=1.0)
    reward = watched(bounded, town=False)
    reward([game(Prompt("x"), "y")])
    assert reward.state_dict() == {"lambda.safe": pytest.approx(0.4)}  # 0 + 1 · (0.9 − 0.5)
    reward.load_state_dict({"lambda.safe": 2.0})
    assert bounded.multipliers == {"safe": 2.0}
