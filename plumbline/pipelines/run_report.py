"""The report of a training run, from the plain files in its folder: what was asked, what was cut, how it went, what came out.

A run of several stages has a part for each: figures of different stages never share a curve.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from plumbline.core.errors import UserError
from plumbline.core.nouns import Reply, Utility
from plumbline.engine.runs import RunFolder
from plumbline.engine.stages import finished
from plumbline.evals import report, svg
from plumbline.pipelines import appraisal, readings, reward_report, rl_report
from plumbline.pipelines.rl_verdict import Course, is_online, verdict

Row = Mapping[str, Any]
SHOWN = 8
NOT_CURVES = ("step", "stage", "epoch", "tokens", "seconds", "eval")


def write(folder: str | Path) -> Path:
    """Write `report.html` into a run folder; returns its path."""
    path = Path(folder)
    run = RunFolder(path, writes=False)
    config, metrics, card = run.config(), run.read("metrics"), appraisal.read(path)
    if not config and not metrics:
        raise UserError(f"{path} holds no run", "Give the --out of a train command.")
    method = str(config.get("method", "training"))
    options = config.get("options", {})
    page = report.Page(f"{method}: {options.get('model', '')} on {options.get('data') or options.get('prompts', '')}", lead(metrics, card))
    evaluations = _evaluations(path)
    if evaluations:
        page.add("Measured afterwards", *evaluations)
    samples = run.read("samples")
    parts = stages(metrics) or {"": []}
    left = unfinished(run, parts)
    if left:
        page.add("Not finished", report.note(left))
    for stage, rows in sorted(parts.items(), key=lambda pair: not is_online(pair[1])):  # what a run was for comes first
        _add_stage(page, stage, stage or method, rows, card, samples)
    if card and not any(map(is_online, parts.values())):
        page.add("What the reward is worth", reward_report.section(card))
    page.add("Data", data_section(config))
    shown = last_replies(samples)
    if shown:
        page.add("Replies at the last evaluation", shown)
    page.add("How this was made", provenance(config))
    return page.write(path / "report.html")


def unfinished(run: RunFolder, parts: Mapping[str, Sequence[Row]]) -> str:
    """Which stage of several was stopped before its end; "" where none was, and of a run without stages."""
    done = finished(run)
    going = [stage for stage in parts if stage and stage not in done]
    return f"Stage {going[0]} was stopped at {parts[going[0]][-1]['step']}: the same command with --resume goes on." if going else ""


def stages(metrics: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows of each stage, in the order in which they ran; "" of a run that has none."""
    names = dict.fromkeys(str(row.get("stage", "")) for row in metrics)
    return {name: [row for row in metrics if str(row.get("stage", "")) == name] for name in names}


def _add_stage(page: report.Page, stage: str, method: str, rows: Sequence[Row], card: Row, samples: Sequence[Row]) -> None:
    """A stage's sections: of an online one what the reward did first, and what the reward is worth after it."""
    named = f"Stage {stage}: " if stage else ""
    if is_online(rows):
        for title, html in rl_report.sections(rows, card, samples):
            page.add(title, html)
        if card:
            page.add("What the reward is worth", reward_report.section(card))
    trained = [row for row in rows if "loss" in row]
    page.add(f"{named}training" if stage else "Training", *([report.note(went(trained))] if trained else []), curves(rows, method))
    if any("eval" in row for row in rows):
        page.add(f"{named}validation" if stage else "Validation", validation(rows))


def lead(metrics: Sequence[Row], card: Row) -> str:
    """How far it went, in a sentence, and whether a reward was over-optimised."""
    trained = {stage: [row for row in rows if "loss" in row] for stage, rows in stages(metrics).items()}
    trained = {stage: rows for stage, rows in trained.items() if rows}
    if not trained:
        return "No optimiser step was made yet."
    words = " ".join(went(rows, stage) for stage, rows in trained.items())
    evaluated = [row["eval"] for row in metrics if "eval" in row]
    if evaluated and "gold" in evaluated[-1]:
        words += _gold_words([_mean(e["gold"]) for e in evaluated if "gold" in e])
    elif evaluated and "accuracy" in evaluated[-1]:
        words += f" Held-out accuracy: {_mean(evaluated[-1]['accuracy']):.3f}."
    online = [rows for rows in trained.values() if is_online(rows)]
    return " ".join(verdict(Course.of(online[-1]), card)[:2]) if online else words


def went(rows: Sequence[Row], stage: str = "") -> str:
    """How far a stage went."""
    first, last, online = rows[0], rows[-1], is_online(rows)
    words = f"{stage + ': ' if stage else ''}{last['step']} {'rounds' if online else 'optimiser steps'}, {last['tokens']:,} tokens "
    name = "score" if online else "loss"
    return words + f"in {last['seconds']:.0f} s; {name} {first[name]:.4f} → {last[name]:.4f}."


def curves(metrics: Sequence[Row], method: str = "") -> str:
    """A picture per training metric, with what it is, what it should look like, and what is a bad sign."""
    names = [n for n in dict.fromkeys(k for row in metrics for k in row) if n not in NOT_CURVES]
    if all(row.get("score/proxy") == row.get("score") for row in metrics):  # one picture is enough
        names = [n for n in names if n != "score/proxy"]
    pieces = []
    for name in names:
        points = [(float(r["step"]), float(r[name])) for r in metrics if isinstance(r.get(name), (int, float))]
        reading = readings.of(method.removeprefix("rlhf by "), name)
        if points:
            caption = reading.words(name, [y for _, y in points]) if reading else name
            x = "round" if is_online(metrics) else "optimiser step"
            pieces.append(report.figure(caption, svg.curves({name: points}, x=x, y=name)))
    return report.beside(*pieces) if pieces else report.note("No metrics were logged.")


def validation(metrics: Sequence[Row]) -> str:
    """Curves of the evaluations, and the last one as a table."""
    rows = [(float(r["step"]), r["eval"]) for r in metrics if "eval" in r]
    names = list(dict.fromkeys(k for _, e in rows for k in e))
    points = {n: [(step, _mean(e[n])) for step, e in rows if n in e] for n in names}
    pictures = [
        report.figure(n, svg.curves({n: points[n]}, x="round" if is_online(metrics) else "optimiser step", y=n, dots=True, colour=2))
        for n in names
    ]
    last = [(name, _words(value)) for name, value in rows[-1][1].items()]
    return report.beside(*(pictures if len(rows) > 1 else [])) + report.table(("last evaluation", "value"), last)


def data_section(config: Row) -> str:
    """Rows, and what of them was cut how or left out."""
    data = dict(config.get("data", {}))
    cut = data.pop("cut", {}) or {}
    counted = data.pop("rows", {})
    counts = [(f"rows: {k}", str(v)) for k, v in counted.items()] if isinstance(counted, Mapping) else [("rows", str(counted))]
    rows = counts + [(k, str(v)) for k, v in data.items() if v != ""] + [(what, str(count)) for what, count in cut.items()]
    note = report.note("Nothing was cut.") if not cut else report.note("Of each kind of cut, the number of rows.")
    return report.table(("data", "value"), rows) + note


def last_replies(rows: Sequence[Row]) -> str:
    """The replies that were sampled at the last evaluation."""
    last = [r for r in rows if (r.get("stage"), r.get("step")) == (rows[-1].get("stage"), rows[-1].get("step"))]
    blocks = []
    for row in last[:SHOWN]:
        utility = Utility(**{**row["gold"], "reasons": tuple(row["gold"]["reasons"])}) if "gold" in row else None
        blocks.append(report.sample(row["prompt"], {"policy": (Reply(row["reply"]), utility)}))
    return "".join(blocks)


def provenance(config: Row) -> str:
    """The command, the options and the versions as the run recorded them."""
    command = " ".join(["plumbline", *map(str, config.get("command", [])[1:])])
    facts = {k: _listed(v) for k, v in config.get("options", {}).items() if v not in (None, "")}
    recorded = {**{f"weights {k}": str(v) for k, v in config.get("weights", {}).items()}, **facts}
    versions = {k: str(v) for k, v in config.get("versions", {}).items()}
    return report.provenance([command], {**versions, **recorded})


def _listed(value: Any) -> str:
    """A setting, or a group of settings."""
    return ", ".join(f"{n} {v}" for n, v in value.items() if v not in (None, "")) if isinstance(value, Mapping) else str(value)


def _evaluations(path: Path) -> list[str]:
    """What `plumbline eval` found of this run, as it printed it."""
    file = path / "evals.jsonl"
    if not file.exists():
        return []
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [report.note(f"{row['asked']}") + report.block(row["lines"]) for row in rows]


def _gold_words(golds: Sequence[float]) -> str:
    """From the first to the last; one alone is no change."""
    if len(golds) == 1:
        return f" Gold on validation prompts, measured once: {golds[0]:.3f}."
    return f" Gold on validation prompts: {golds[0]:.3f} → {golds[-1]:.3f}."


def _mean(value: Any) -> float:
    return float(value["mean"] if isinstance(value, Mapping) else value)


def _words(value: Any) -> str:
    return f"{value['mean']:.4f} [{value['lo']:.4f}, {value['hi']:.4f}]" if isinstance(value, Mapping) else f"{value:.4f}"
