"""The report of a training run, from the plain files in its folder: what was asked, what was cut, how it went, what came out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plumbline.core.errors import UserError
from plumbline.core.nouns import Reply, Utility
from plumbline.engine.runs import RunFolder
from plumbline.evals import report, svg

SHOWN = 8
NOT_CURVES = ("step", "stage", "epoch", "tokens", "seconds", "eval")
READING = {
    "loss": "the quantity that training minimises; its mean over each optimiser batch",
    "nll": "−log p of demonstrated tokens, nats a token: falls",
    "margin": "β-scaled gap between chosen and rejected: starts at 0 and grows; growth without accuracy is noise",
    "accuracy": "share of training comparisons (ties left out) that the implicit reward orders as the annotator did",
    "chosen_reward": "falls too, in plain DPO: if it falls far, add --nll",
    "grad_norm": "before clipping; a jump precedes trouble",
}


def write(folder: str | Path) -> Path:
    """Write `report.html` into a run folder; returns its path."""
    path = Path(folder)
    run = RunFolder(path, writes=False)
    config, metrics = run.config(), run.read("metrics")
    if not config and not metrics:
        raise UserError(f"{path} holds no run", "Give the --out of a train command.")
    method = str(config.get("method", "training"))
    options = config.get("options", {})
    page = report.Page(f"{method}: {options.get('model', '')} on {options.get('data', '')}", lead(metrics))
    evaluations = _evaluations(path)
    if evaluations:
        page.add("Measured afterwards", *evaluations)
    page.add("Training", curves(metrics))
    if any("eval" in row for row in metrics):
        page.add("Validation", validation(metrics))
    page.add("Data", data_section(config))
    shown = samples(run)
    if shown:
        page.add("Replies at the last evaluation", shown)
    page.add("How this was made", provenance(config))
    return page.write(path / "report.html")


def lead(metrics: list[dict[str, Any]]) -> str:
    """How far it went, in a sentence."""
    trained = [row for row in metrics if "loss" in row]
    if not trained:
        return "No optimiser step was made yet."
    first, last = trained[0], trained[-1]
    words = f"{last['step']} optimiser steps, {last['tokens']:,} tokens in {last['seconds']:.0f} s; "
    words += f"loss {first['loss']:.4f} → {last['loss']:.4f}."
    evaluated = [row["eval"] for row in metrics if "eval" in row]
    if evaluated and "gold" in evaluated[-1]:
        words += f" Gold on validation prompts: {_mean(evaluated[0]['gold']):.3f} → {_mean(evaluated[-1]['gold']):.3f}."
    elif evaluated and "accuracy" in evaluated[-1]:
        words += f" Held-out accuracy: {_mean(evaluated[-1]['accuracy']):.3f}."
    return words


def curves(metrics: list[dict[str, Any]]) -> str:
    """A picture per training metric, with what it should look like."""
    names = [n for n in dict.fromkeys(k for row in metrics for k in row) if n not in NOT_CURVES]
    pieces = []
    for name in names:
        points = [(float(r["step"]), float(r[name])) for r in metrics if isinstance(r.get(name), (int, float))]
        if points:
            caption = f"{name}: {READING[name]}" if name in READING else name
            pieces.append(report.figure(caption, svg.curves({name: points}, x="optimiser step", y=name)))
    return report.beside(*pieces) if pieces else report.note("No metrics were logged.")


def validation(metrics: list[dict[str, Any]]) -> str:
    """Curves of the evaluations, and the last one as a table."""
    rows = [(float(r["step"]), r["eval"]) for r in metrics if "eval" in r]
    names = list(dict.fromkeys(k for _, e in rows for k in e))
    points = {n: [(step, _mean(e[n])) for step, e in rows if n in e] for n in names}
    pictures = [report.figure(n, svg.curves({n: points[n]}, x="optimiser step", y=n, dots=True, colour=2)) for n in names]
    last = [(name, _words(value)) for name, value in rows[-1][1].items()]
    return report.beside(*pictures) + report.table(("last evaluation", "value"), last)


def data_section(config: Mapping[str, Any]) -> str:
    """Rows, and what of them was cut how or left out."""
    data = dict(config.get("data", {}))
    cut = data.pop("cut", {}) or {}
    rows = [(k, str(v)) for k, v in data.items()] + [(what, str(count)) for what, count in cut.items()]
    note = report.note("Nothing was cut.") if not cut else report.note("Of each kind of cut, the number of rows.")
    return report.table(("data", "value"), rows) + note


def samples(run: RunFolder) -> str:
    """The replies that were sampled at the last evaluation."""
    rows = run.read("samples")
    last = [r for r in rows if r.get("step") == rows[-1].get("step")] if rows else []
    blocks = []
    for row in last[:SHOWN]:
        utility = Utility(**{**row["gold"], "reasons": tuple(row["gold"]["reasons"])}) if "gold" in row else None
        blocks.append(report.sample(row["prompt"], {"policy": (Reply(row["reply"]), utility)}))
    return "".join(blocks)


def provenance(config: Mapping[str, Any]) -> str:
    """The command, the options and the versions as the run recorded them."""
    command = " ".join(["plumbline", *map(str, config.get("command", [])[1:])])
    facts = {k: str(v) for k, v in config.get("options", {}).items() if v not in (None, "")}
    recorded = {**{f"weights {k}": str(v) for k, v in config.get("weights", {}).items()}, **facts}
    versions = {k: str(v) for k, v in config.get("versions", {}).items()}
    return report.provenance([command], {**versions, **recorded})


def _evaluations(path: Path) -> list[str]:
    """What `plumbline eval` found of this run, as it printed it."""
    file = path / "evals.jsonl"
    if not file.exists():
        return []
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [report.note(f"{row['asked']}") + report.block(row["lines"]) for row in rows]


def _mean(value: Any) -> float:
    return float(value["mean"] if isinstance(value, Mapping) else value)


def _words(value: Any) -> str:
    return f"{value['mean']:.4f} [{value['lo']:.4f}, {value['hi']:.4f}]" if isinstance(value, Mapping) else f"{value:.4f}"
