"""The report of an optimised reward: it says when over-optimisation began and why, and does not say so of noise."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plumbline.evals import overoptimisation as over
from plumbline.pipelines import readings, run_report
from plumbline.pipelines.rl_verdict import Course, advice, verdict

T = 60
CARD: dict[str, Any] = {
    "held_out": "256 rows of town's validation split",
    "pairs": 256,
    "spread": 2.0,
    "comparisons": {
        "accuracy": {"mean": 0.7, "lo": 0.64, "hi": 0.75, "n": 256},
        "calibration": {
            "ece": {"mean": 0.05, "lo": 0.03, "hi": 0.09, "n": 256},
            "ece_if_right": {"mean": 0.04, "lo": 0.02, "hi": 0.07, "n": 256},
            "bins": {"0.50-0.60": {side: {"mean": 0.56, "lo": 0.5, "hi": 0.6, "n": 90} for side in ("said", "right")}},
        },
        "sensitivity": {
            "ten_words": {"mean": 0.25, "lo": 0.2, "hi": 0.3, "n": 512},
            "courtesy": {"mean": 0.05, "lo": -0.02, "hi": 0.1, "n": 512},
        },
    },
}


def rounds(gold: Any, score: Any, *, words: Any = 10.0, noise: float = 0.02, seed: int = 0) -> list[dict[str, Any]]:
    """T rounds of ppo: gold, score and words as functions of the share of the run, with noise."""
    rng, share = np.random.default_rng(seed), np.arange(T) / T
    columns = {"score/gold": gold(share), "score": score(share), "score/words": words(share) if callable(words) else words + 0 * share}
    columns = {name: x + noise * rng.standard_normal(T) for name, x in columns.items()}
    columns |= {"kl": 10 * share, "length": 12 + 0 * share, "loss": 0.1 + 0 * share, "clip_fraction": 0.5 * share}
    more = {"stage": "ppo", "tokens": 100, "seconds": 1.0}
    return [{"step": i + 1, **more, **{name: float(x[i]) for name, x in columns.items()}} for i in range(T)]


def hill(share: Any) -> Any:
    return 0.9 - 2 * (share - 0.4) ** 2  # highest at round 24


def rising(share: Any) -> Any:
    return 3 * share


def longer(share: Any) -> Any:
    return 10 + 20 * np.maximum(share - 0.4, 0)


# -- when


def test_the_peak_is_found_where_it_is() -> None:
    found = Course.of(rounds(hill, rising)).found
    assert found is not None
    assert found.verdict == "began"
    assert found.window == 8  # 60 / 8, rounded
    assert abs(found.peak - 25) <= 5
    assert found.end == pytest.approx(56.5)  # the middle of rounds 53 … 60
    assert found.gold.after == pytest.approx(np.mean(hill(np.arange(52, 60) / 60)), abs=0.03)
    assert found.clear is not None
    assert found.peak < found.clear < 50


def test_a_level_gold_is_called_over_optimised_in_one_run_of_twenty_at_most() -> None:
    level = [over.find(range(T), (0.5 + np.random.default_rng(seed).normal(0, 0.05, T)).tolist(), range(T)) for seed in range(100)]
    assert sum(f is not None and f.verdict != "unseen" for f in level) <= 11  # of 100 at .05: more has probability .004


def test_a_rising_gold_is_not() -> None:
    found = [Course.of(rounds(lambda s: 0.3 + 0.4 * s, rising, noise=0.05, seed=seed)).found for seed in range(20)]
    assert [f.verdict for f in found if f is not None] == ["unseen"] * 20


def test_gold_that_falls_with_the_score_is_not_over_optimisation() -> None:
    assert verdict(Course.of(rounds(hill, lambda s: -s)), {})[0].startswith("Gold began to fall between rounds ")


def test_the_noise_of_a_round_is_read_from_neighbours_whatever_the_trend() -> None:
    x = np.random.default_rng(0).normal(0, 0.3, 4000)
    assert over.spread(x) == pytest.approx(0.3, rel=0.05)
    assert over.spread(x + 10 * np.sin(np.arange(4000) / 300)) == pytest.approx(0.3, rel=0.05)
    assert over.spread([0.0, 1.0, 0.0]) == pytest.approx(np.sqrt(1 / 2))  # √(mean(1, 1) / 2)


def test_a_movement_counts_only_the_rounds_that_the_windows_do_not_share() -> None:
    x = [0.0, 1.0, 0.0, 1.0, 0.0, 4.0]  # windows of 3: means 1/3, 2/3, 1/3, 5/3
    moved = over.moved(x, 2, 3)
    assert (moved.before, moved.after) == (pytest.approx(1 / 3), pytest.approx(5 / 3))
    assert moved.error == pytest.approx(over.spread(x) * np.sqrt(2) / 3)  # (x₆ − x₃) / 3
    assert over.moved(x, 0, 3).error == pytest.approx(over.spread(x) * np.sqrt(6) / 3)  # no round in common


# -- why


def test_the_verdict_says_when_and_why_with_the_reward_s_price() -> None:
    when, why, *rest = verdict(Course.of(rounds(hill, rising, words=longer)), CARD)
    assert re.match(
        r"Over-optimisation began between rounds [12]\d and [23]\d of 60, at about [34]\.\d nats of KL: gold, the truth, had risen 0\.\d\d",
        when,
    )
    assert "while the score that was optimised still rose" in when
    went = re.search(r"went (\d+\.\d+) → (\d+\.\d+), which makes about \+(\d+\.\d+)", why)
    assert went
    before, after, makes = map(float, went.groups())
    assert "ten words more are worth +0.50 [+0.40, +0.60] of score" in why  # .25 standard deviations of 2.0
    assert makes == pytest.approx((after - before) * 0.25 * 2.0 / 10, abs=0.01)
    assert "courtesy" not in why  # its interval holds 0, and it was not logged
    assert "70% [64%, 75%]" in rest[-1]


def test_what_moved_without_a_price_is_said_so() -> None:
    said = verdict(Course.of(rounds(hill, rising, words=longer)), {})
    assert said[1].startswith("Why, as far as it shows: since the peak: words per reply")
    assert "was not measured" in said[-1]
    assert "Why cannot be said" in verdict(Course.of(rounds(hill, rising)), CARD)[1]


def test_runs_of_which_nothing_can_be_said() -> None:
    rows = rounds(hill, rising)
    assert "too few" in verdict(Course.of(rows[:6]), CARD)[0]
    unknown = verdict(Course.of([{k: v for k, v in row.items() if k != "score/gold"} for row in rows]), CARD)
    assert unknown[0].startswith("Gold is not known")
    itself = verdict(Course.of([{**row, "score/gold": row["score"]} for row in rows]), CARD)
    assert itself == ["What was optimised is gold itself, so it cannot come apart from gold."]


def test_gold_of_evaluations_serves_where_rounds_have_none() -> None:
    rows = [
        {k: v for k, v in row.items() if k != "score/gold"} | {"eval": {"gold": {"mean": row["score/gold"]}}}
        for row in rounds(hill, rising)
    ]
    found = Course.of(rows).found
    assert found is not None
    assert found.verdict == "began"


def test_readings_call_what_a_run_shows() -> None:
    reading = readings.of("ppo", "clip_fraction")
    assert reading is not None
    assert reading.words("clip_fraction", [0.05] * 8).endswith("passes too many.")
    assert reading.words("clip_fraction", [0.05] * 4 + [0.4] * 4).endswith("HERE IT IS.")


# -- the page


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of three stages that over-optimised."""
    out = tmp_path_factory.mktemp("run")
    sft = [{"step": i + 1, "stage": "sft", "nll": 2.0 - i / 5, "loss": 2.0 - i / 5, "tokens": 10, "seconds": 1.0} for i in range(4)]
    pairs = [{"step": i + 1, "stage": "reward", "accuracy": 0.5 + i / 20, "loss": 0.69, "tokens": 10, "seconds": 1.0} for i in range(4)]
    (out / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*sft, *pairs, *rounds(hill, rising, words=longer)]))
    (out / "config.yaml").write_text(
        "method: rlhf by ppo\noptions: {model: town-s, prompts: 'town:prompts?n=9'}\ndata: {rows: {demos: 4}}\n"
    )
    (out / "reward.json").write_text(json.dumps(CARD))
    gold = {"helpful": 1.0, "honest": 1.0, "harmless": 1.0, "total": 0.5, "reasons": ["two courtesies too many"]}
    samples = [("sft", 4, "in the mill."), ("ppo", 20, "in the mill. thanks."), ("ppo", 40, "well."), ("ppo", 60, "thanks. " * 60)]
    lines = [{"step": step, "stage": stage, "prompt": "where is mira?", "reply": reply, "gold": gold} for stage, step, reply in samples]
    (out / "samples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    run_report.write(out)
    return out


def test_the_first_lines_say_when_and_why(folder: Path) -> None:
    html = unescape((folder / "report.html").read_text())
    lead = re.search(r'class="lead">(.*?)</p>', html)
    assert lead
    assert lead[1].startswith("Over-optimisation began between rounds ")
    assert "Why: the reward pays for what gold does not." in lead[1]
    assert "<h1>rlhf by ppo: town-s on town:prompts?n=9</h1>" in html


def test_stages_do_not_share_a_curve(folder: Path) -> None:
    html = unescape((folder / "report.html").read_text())
    parts = {title: body for title, body in re.findall(r"<h2>(.*?)</h2>(.*?)</section>", html, re.S)}
    assert {"Stage sft: training", "Stage reward: training", "Stage ppo: training", "What the reward is worth"} <= set(parts)
    assert "nll:" in parts["Stage sft: training"]
    assert "nll:" not in parts["Stage ppo: training"]
    points = re.search(r'<polyline points="([^"]+)"', parts["Stage reward: training"])
    assert points
    assert len(points[1].split()) == 4
    assert "HERE IT IS" in parts["Stage ppo: training"]  # clip_fraction ends near .5


def test_replies_to_one_prompt_stand_side_by_side_with_those_near_the_peak(folder: Path) -> None:
    html = unescape((folder / "report.html").read_text())
    part = re.search(r"<h2>The same prompts on the way</h2>(.*?)</section>", html, re.S)
    assert part
    assert [re.sub("<.*?>", "", label) for label in re.findall(r'<span class="soft">(.*?)</span>', part[1])] == [
        "sft: after 4",
        "ppo: after 20",
        "ppo: after 60",
    ]


def test_a_run_of_one_stage_has_plain_sections(folder: Path, tmp_path: Path) -> None:
    rows = [{k: v for k, v in row.items() if k != "stage"} for row in rounds(hill, rising)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    titles = re.findall(r"<h2>(.*?)</h2>", run_report.write(tmp_path).read_text())
    assert titles[:2] == ["Was the reward over-optimised?", "What to do about it"]
    assert "Training" in titles


def test_the_advice_names_what_this_run_can_do() -> None:
    rows = rounds(hill, rising, words=longer)
    course = Course.of(rows)
    assert course.found is not None
    first, last = course.peak
    assert (first, last) == (rows[course.found.peak_at]["step"], rows[course.found.peak_at + course.found.window - 1]["step"])
    assert first <= course.found.peak <= last
    alone = advice(course)
    assert f"--learn.eval_every {int(course.found.peak / 2)} " in alone[0]  # the peak could be met twice
    held = advice(Course.of([{**row, "kl_coef": 0.0, **({"eval": {}} if row["step"] == 10 else {})} for row in rows]))
    assert "that of round 10;" in held[0]
    assert "its KL weight is 0" in held[1]
    assert "try several times as much" in advice(Course.of([{**row, "kl_coef": 0.05} for row in rows]))[1]
    down = Course.of(rounds(lambda s: 0.8 - 0.6 * s, rising))
    assert down.found is not None
    assert "keep the model as it was before" in advice(down)[0]


def test_what_the_price_leaves_is_said() -> None:
    course = Course.of(rounds(hill, rising, words=longer))
    assert course.found is not None
    why = verdict(course, CARD)[1]
    said = re.search(r"makes about \+(\d+\.\d+)\. The score rose by \+(\d+\.\d+) since the peak. That would be (\d+)% of it", why)
    assert said
    made, rose, share = map(float, said.groups())
    assert made / rose == pytest.approx(share / 100, abs=0.011)


def test_a_stage_that_was_stopped_is_said(folder: Path) -> None:
    assert "Stage sft was stopped" in (folder / "report.html").read_text()  # the fixture records no stage as done
    (folder / "stages.json").write_text(json.dumps({"sft": {}, "reward": {}, "ppo": {}}))
    assert "was stopped" not in run_report.write(folder).read_text()


def test_signs_are_not_seen_in_noise() -> None:
    noise = np.random.default_rng(0).normal(0.3, 0.3, 40)
    assert not readings.doubles([*noise[:30], *(noise[30:] + 0.15)])
    assert readings.doubles([0.1 + 0.02 * i for i in range(40)])
    assert readings.sinks([0.9 - 0.01 * i for i in range(40)])
    assert not readings.sinks([0.9 + 0.01 * i for i in range(40)])
