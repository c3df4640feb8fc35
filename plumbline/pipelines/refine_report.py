"""What a refinement says: a line per round, a table at the end, and a page with the rounds before how each was trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from plumbline.engine.runs import RunFolder
from plumbline.evals import report, svg
from plumbline.pipelines import run_report
from plumbline.pipelines.refine import Entry
from plumbline.pipelines.refine_book import Book

HEAD = ("round", "rows", "ties", "asked", "gain, 95 %", "score", "KL", "verdict")


def line(entry: Entry, name: str) -> str:
    """A round in a line."""
    score = f"{name} {entry.score.mean:.3f}  " if entry.score and name else ""
    verdict = "kept" if entry.kept else "rolled back"
    return (
        f"round {entry.round}: {entry.rows} rows, {entry.ties} ties, {entry.asked} annotations  gain {entry.gain.signed()}  "
        f"{score}KL {entry.kl.mean:.2f}  {verdict}: {entry.why}"
    )


def rows(entries: Sequence[Entry]) -> list[tuple[str, ...]]:
    """Cells of the table, a row per round."""
    found = []
    for e in entries:
        gain = f"{e.gain.mean:+.3f} [{e.gain.lo:+.3f}, {e.gain.hi:+.3f}]"
        score = f"{e.score.mean:.3f}" if e.score else ""
        found.append(
            (str(e.round), str(e.rows), str(e.ties), str(e.asked), gain, score, f"{e.kl.mean:.2f}", "kept" if e.kept else "rolled back")
        )
    return found


def table(entries: Sequence[Entry]) -> str:
    """The same as text."""
    cells = [HEAD, *rows(entries)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(HEAD))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in cells)


def result(out: Path, name: str, entries: Sequence[Entry], why: str) -> tuple[dict[str, Any], str]:
    """What --json prints, and what a person reads."""
    kept, asked = [e.round for e in entries if e.kept], sum(e.asked for e in entries)
    model = f"the model of round {kept[-1]}" if kept else "the model as it began: no round was kept"
    page = write(out, entries, why)
    text = f"{table(entries)}\n{why}; {asked} annotations\n{out} holds {model}, the ledger and {page}"
    ledger = Book(out).ledger()
    return {"out": str(out), "measure": name, "rounds": ledger, "kept": kept, "asked": asked, "why": why, "report": str(page)}, text


def write(out: Path, entries: Sequence[Entry], why: str) -> Path:
    """The page."""
    folder = RunFolder(out, writes=False)
    config, metrics = folder.config(), folder.read("metrics")
    options: Mapping[str, Any] = config.get("options", {})
    page = report.Page(f"{config.get('method', 'refine')}: {options.get('model', '')} on {options.get('prompts', '')}", f"It ended: {why}.")
    page.add("Rounds", report.table(HEAD, rows(entries)))
    scored = [(float(e.round), e.score.mean) for e in entries if e.score and e.rows]
    if scored:
        picture = svg.curves({"score": scored}, x="round", y="score", dots=True)
        page.add("Score", report.figure("mean score of what each round trained, on held-aside prompts", picture))
    page.add("Why", report.block([f"round {e.round}: {e.why}" for e in entries]))
    for stage, some in run_report.stages(metrics).items():
        page.add(f"Stage {stage}: training", report.note(run_report.went(some)), run_report.curves(some, str(options.get("learner", ""))))
    page.add("Data", run_report.data_section(config))
    page.add("How this was made", run_report.provenance(config))
    return page.write(out / "report.html")
