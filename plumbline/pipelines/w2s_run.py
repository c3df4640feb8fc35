"""`plumbline w2s` by names: rows become halves and a test, the study's stages run into one folder, w2s.json says what was recovered."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from plumbline.core.errors import UserError
from plumbline.core.nouns import Comparison, Label, plain
from plumbline.data import Rows
from plumbline.data.sources import is_world
from plumbline.engine.checkpoints import write_atomically
from plumbline.engine.faults import Faults
from plumbline.engine.progress import Progress
from plumbline.engine.runs import RunFolder
from plumbline.engine.stages import run_pipeline
from plumbline.evals import stats
from plumbline.evals.pgr import compared
from plumbline.models.lm import LM
from plumbline.pipelines import run_report, sources
from plumbline.pipelines.feed import Feed
from plumbline.pipelines.rlhf_run import contents
from plumbline.pipelines.train import begin
from plumbline.pipelines.w2s import STUDENTS, Halves, Judged, Study, measured, study
from plumbline.world import truths

FILE = "w2s.json"
LEAST = 8  # rows of each part: with fewer nothing can be said
MOST = 520  # rows of town's validation split
TRUTHS = "town:truths"
RECIPE = ("epochs", "batch", "lr", "warmup", "seed")  # what the command has flags for


@dataclass(frozen=True)
class Given:
    """What a user has, by name; "" for what is not there.   `via`: names joined by commas."""

    weak: str
    strong: str
    via: str = ""
    data: str = ""
    labels: str = ""
    test: str = ""

    @property
    def kind(self) -> type:
        """Of the rows: comparisons, or labels."""
        return Label if self.labels else Comparison

    @property
    def spec(self) -> str:
        """The rows' name."""
        return self.labels or self.data

    @property
    def sha256(self) -> str:
        """Of all the files and specs together."""
        return hashlib.sha256(repr(contents((self.spec, self.test))).encode()).hexdigest()


def run(
    given: Given,
    how: Study,
    *,
    out: str,
    feed: Feed,
    load: Mapping[str, Any],
    resume: bool = False,
    threads: int = 0,
    fault: str = "",
) -> tuple[dict[str, Any], str]:
    """Run or go on; returns what --json prints, and what a person reads."""
    faults, progress = Faults.parse(fault), Progress()
    sources.use_threads(threads)
    rows, words = halves(given, feed, progress, seed=how.recipe.seed)
    models = [sources.load(name, **load, seed=how.recipe.seed) for name in (given.weak, given.strong, *_names(given.via))]
    how = replace(how, limits=limits(models, feed))
    via = dict(zip((f"{k + 1}" for k in range(len(models) - 2)), models[2:], strict=True))
    counts = {"supervisor": len(rows.supervisor), "student": len(rows.student), "test": len(rows.test)}
    progress.note(f"rows: {counts['supervisor']} for the supervisor, {counts['student']} for the students; measured on {words}")
    with RunFolder.open(out, resume=resume, faults=faults) as folder:
        asked = {"method": "w2s", "options": options(given, how, load, feed)}
        others = [model.fingerprint() for model in (models[0], *models[2:])]  # another supervisor is other data
        whole = hashlib.sha256(repr((given.sha256, others)).encode()).hexdigest()
        begin(folder, models[1], {"rows": counts, "held out": words, "sha256": whole}, asked)
        made = run_pipeline(study(models[0], models[1], via, rows, how), folder, resume=resume, progress=progress, faults=faults)
        scores = measured(made, rows.test, how)
        found = compared(scores, STUDENTS)
        result = {
            "rows": counts,
            "measured_on": words,
            "accuracy": {name: stats.mean(x).json() for name, x in scores.items()},
            "students": {name: one.json() for name, one in found.items()},
        }
        write_atomically(Path(out) / FILE, json.dumps(result, indent=1, allow_nan=False).encode())
    report = run_report.write(out)
    said = [f"{name}: {line}" if k == 0 else line for name, one in found.items() for k, line in enumerate(one.lines())]
    links = [f"{name}, accuracy {stats.mean(x)}" for name, x in scores.items() if name.startswith("via")]
    return {"out": out, "report": str(report), **result}, "\n".join([*said, *links, f"{out} holds the models, {FILE} and {report.name}"])


def options(given: Given, how: Study, load: Mapping[str, Any], feed: Feed) -> dict[str, Any]:
    """What was asked for, by the command's flags: --config reads it back."""
    recipe = {name: getattr(how.recipe, name) for name in RECIPE}
    fed = {name: getattr(feed, name) for name in ("max_prompt_tokens", "max_completion_tokens", "skip_bad")}
    return {**asdict(given), **load, "alpha": how.alpha, "reads": how.reads, **recipe, **fed}


def limits(models: Sequence[LM], feed: Feed) -> tuple[int, int]:
    """Tokens of a prompt and of a completion that fit every model, so that all read the same rows."""
    prompts, completions = zip(*(feed.limits(model.config) for model in models), strict=True)
    return min(prompts), min(completions)


def halves(given: Given, feed: Feed, progress: Progress, *, seed: int) -> tuple[Halves, str]:
    """The rows' parts, none of which shares a prompt with another, and in words what is measured on.

    Without --test: of town the validation split, else a fifth of the rows.
    """
    rows = named(given.spec, given.kind, feed, progress)
    places = [zlib.crc32(f"{seed} {plain(row.context)}".encode()) for row in rows]
    if given.test:
        test, words = named(given.test, given.kind, feed, progress), given.test
    elif is_world(given.spec):
        words = _validation(given.spec)
        test = named(words, given.kind, feed, progress)
    else:
        test = [row for row, place in zip(rows, places, strict=True) if place % 5 == 0]
        rows, places = _kept([(row, place) for row, place in zip(rows, places, strict=True) if place % 5])
        words = f"{len(test)} rows of {given.spec}, by their prompts; none was trained on"
    measured_on = {plain(row.context) for row in test} if not is_world(given.spec) else set[str]()
    kept = [(row, place) for row, place in zip(rows, places, strict=True) if plain(row.context) not in measured_on]
    parts = [[row for row, place in kept if place // 5 % 2 == half] for half in (0, 1)]
    for name, part in (("the supervisor", parts[0]), ("the students", parts[1]), ("the test", test)):
        if len(part) < LEAST:
            raise UserError(f"{given.spec} leaves {len(part)} rows for {name}", f"Give more rows: each part needs at least {LEAST}.")
    return Halves(parts[0], parts[1], test), words


def named(spec: str, kind: type, feed: Feed, progress: Progress) -> Judged:
    """What a spec names, without ties, which have no truth that could be learned or missed."""
    truthful = spec.partition("?")[0] == TRUTHS and kind is Comparison
    rows: Sequence[Any] = truths.load(spec) if truthful else sources.items(spec, kind, skip_bad=feed.skip_bad)
    if isinstance(rows, Rows) and rows.skipped:
        progress.note(f"{len(rows.skipped)} rows of {spec} were left out: {rows.skipped[0]}")
    kept = [row for row in rows if kind is Label or row.preference != 0.5]
    if len(kept) < len(rows):
        progress.note(f"{len(rows) - len(kept)} ties of {spec} were left out")
    return kept


def _validation(spec: str) -> str:
    """The same kind of rows, of the validation split."""
    kind, _, query = spec.partition("?")
    pairs = [pair for pair in query.split("&") if pair and pair.partition("=")[0] not in ("split", "n")]
    return f"{kind}?{'&'.join([f'n={MOST}', 'split=validation', *pairs])}"


def _kept(pairs: list[tuple[Any, int]]) -> tuple[list[Any], list[int]]:
    return [row for row, _ in pairs], [place for _, place in pairs]


def _names(joined: str) -> list[str]:
    return [name.strip() for name in joined.split(",") if name.strip()]
