"""`plumbline play PROTOCOL`: questions, who plays them, a folder with all games, and how often the judge was right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plumbline.core.errors import RowError, UserError
from plumbline.core.nouns import Question
from plumbline.core.protocols import Rules
from plumbline.data.rows import write_skipped
from plumbline.data.sources import data_hash, is_world
from plumbline.engine.runs import RunFolder
from plumbline.evals.debate import Judged, judged
from plumbline.evals.stats import Figure
from plumbline.pipelines import play as games
from plumbline.pipelines import sources
from plumbline.pipelines.players import players
from plumbline.pipelines.town_debate import TOWN_WORDING, stated
from plumbline.protocols.questions import open_questions

WORDINGS = ("auto", "english", "town")


@dataclass(frozen=True)
class Options:
    """How games are played.   `wording`: english, or town for the shipped models; auto: town for the town's questions.

    `best_of`: of every speech so many are drawn, and the one that the judge likes best is given.   `temperature`: of speeches.
    `seed`: of the noise.   `limit`: only the first so many questions, 0 for all.   `at_once`: games played together.
    """

    wording: str = "auto"
    best_of: int = 1
    temperature: float = 1.0
    seed: int = 0
    limit: int = 0
    at_once: int = games.AT_ONCE

    def __post_init__(self) -> None:
        for name, least in (("best_of", 1), ("at_once", 1), ("limit", 0)):
            if getattr(self, name) < least:
                raise UserError(f"--{name} is {getattr(self, name)}", f"Give at least {least}.")


def questions(spec: str, *, limit: int = 0, skip_bad: bool = False) -> tuple[list[Question], list[RowError]]:
    """The questions that a spec names, `town:questions?n=60` or a file, and the rows left out."""
    found, skipped = (list(sources.items(spec, Question)), []) if is_world(spec) else open_questions(spec, skip_bad=skip_bad)
    if not found:
        raise UserError(f"{spec} holds no questions", "Ask for at least one: town:questions?n=60.")
    return found[: limit or None], skipped


def play_questions(
    rules: Rules,
    spec: str,
    named: Mapping[str, str],
    out: str,
    options: Options,
    *,
    resume: bool = False,
    skip_bad: bool = False,
    template: str = "",
) -> tuple[Judged, list[str]]:
    """Play all questions into the folder `out`; what was found, and lines for people."""
    asked, skipped = questions(spec, limit=options.limit, skip_bad=skip_bad)
    rules, asked = worded(rules, asked, options.wording, is_world(spec))
    rules.check(asked[0])
    about = {
        "protocol": rules.name,
        "questions": spec,
        "questions_hash": "" if is_world(spec) else data_hash(spec),
        "players": dict(named),
        "settings": {k: v for k, v in rules.settings.items() if k != "wording"},
        "wording": options.wording,
        "best_of": options.best_of,
        "temperature": options.temperature,
        "seed": options.seed,
        "limit": options.limit,
    }
    models = players(named, best_of=options.best_of, template=template)  # before the folder is made: a wrong name leaves nothing behind
    with RunFolder.open(out, resume=resume) as run:
        begin(run, about)
        if skipped:
            (run.path / "skipped.jsonl").unlink(missing_ok=True)
            write_skipped(run.path / "skipped.jsonl", skipped)
        rows = games.play_all(rules, asked, models, run=run, temperature=options.temperature, seed=options.seed, at_once=options.at_once)
    found = judged(rows)
    return found, said(rules, found, Path(out) / "games.jsonl", len(skipped))


def worded(rules: Rules, asked: Sequence[Question], wording: str, of_town: bool) -> tuple[Rules, list[Question]]:
    """The protocol in the wording that is asked for, and the questions as that puts them."""
    if wording not in WORDINGS:
        raise UserError(f"--wording is {wording!r}", f"Choose one of {', '.join(WORDINGS)}.")
    if wording == "town" or (wording == "auto" and of_town):
        return rules(wording=TOWN_WORDING), stated(asked)
    return rules, list(asked)


def begin(run: RunFolder, about: Mapping[str, Any]) -> None:
    """Note what is played; a folder that began otherwise is not gone on with."""
    before = run.config()
    for name, value in about.items():
        if before and before.get(name) != value:
            raise UserError(
                f"{run.path} was begun with {name} {before.get(name)!r}, not {value!r}",
                "Resume with the same options, or give another --out.",
            )
    if not before:
        run.write_config(about)


def said(rules: Rules, found: Judged, where: Path, skipped: int = 0) -> list[str]:
    """What a person reads."""
    figures = found.figures()
    lines = [f"{rules.name}: {figures['questions']} questions, {found.games} games"]
    if found.right:
        lines += [f"  judge's accuracy    {_shown(figures['accuracy'])}", f"  P(right answer)     {_shown(figures['confidence'])}"]
    if found.first:
        lines.append(f"  for what is first   {_shown(figures['first'], '+')}   (swapping the sides takes it out)")
    if found.quotes:
        lines.append(f"  quotations          {found.verified} of {found.quotes} stand in the passage")
    if found.unknown:
        lines.append(f"  {found.unknown} questions have no known answer: no accuracy of them")
    lines.append(f"  errors              {sum(found.errors.values())} games failed, {len(found.dropped)} questions dropped for that")
    lines += [f"    {count} × {error}" for error, count in found.errors.items()]
    lines += [f"  {skipped} rows left out as bad; they are in skipped.jsonl"] if skipped else []
    return [*lines, f"  games               {where}"]


def _shown(figure: Mapping[str, float], sign: str = "") -> str:
    made = Figure(figure["mean"], figure["lo"], figure["hi"], int(figure["n"]))
    return made.signed() if sign else str(made)
