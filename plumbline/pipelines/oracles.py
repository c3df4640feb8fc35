"""`--oracle`: who compares on request.   town (or town:ben+cleo?noise=.1), a comparisons file, queue:FOLDER for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import final

from plumbline.core.errors import UserError
from plumbline.core.interfaces import Oracle
from plumbline.core.nouns import Comparison, Context, Prompt
from plumbline.data import Plan, open_rows
from plumbline.engine.runs import RunFolder
from plumbline.feedback.oracles import File, Ledger, Queue, preferring, question_id
from plumbline.world.annotators import Annotator, annotators
from plumbline.world.draw import rng

FORMS = "Write town, town:ben+cleo, town:pool?noise=0.1, a file of comparisons, or queue:FOLDER?patience=3600."


@final
class TownOracle:
    """Simulated people of town, who take turns by question.   The same question is always answered alike."""

    def __init__(self, prompts: Iterable[Prompt], people: Sequence[Annotator], *, seed: int = 0) -> None:
        self.prompts = {p.context: p for p in prompts}
        self.people, self.seed = list(people), seed

    def compare(self, context: Context, completions: Sequence[str]) -> Comparison:
        """As the person whose turn it is perceives both; a tie is said."""
        prompt = self.prompts.get(context)
        if prompt is None or "gold" not in prompt.meta:
            raise UserError("the town's people know nothing of this prompt", "Give town:prompts?… as --data, or another --oracle.")
        chance = rng("oracle", self.seed, question_id(context, completions))
        person, pair = chance.choice(self.people), sorted(completions)
        return preferring(context, pair, person.choose(prompt, (pair[0], pair[1]), chance), person.name)


def parse(spec: str, prompts: Iterable[Prompt], *, seed: int = 0, skip_bad: bool = False) -> Oracle:
    """An oracle by its name.   `skip_bad`: leave bad rows of a file out."""
    name, _, rest = spec.partition(":")
    where, settings = _settings(rest, spec)
    if name == "town":
        return TownOracle(prompts, annotators(where or "ada", settings.pop("noise", None)), seed=seed)
    if name == "queue" and where:
        return Queue(where, patience=settings.pop("patience", 3600.0))
    if Path(spec).is_file():
        return File(open_rows(spec, Comparison, skip_bad=skip_bad), spec)
    raise UserError(f"--oracle {spec}: there is no such oracle", FORMS)


def kept(oracle: Oracle | str, prompts: Sequence[Prompt] | Plan, run: RunFolder | None, *, seed: int = 0, skip_bad: bool = False) -> Oracle:
    """The oracle, or the one that is named; in a run folder each answer is kept in asked.jsonl, and is not asked for again."""
    asks = prompts if not isinstance(prompts, Plan) else ()
    found = parse(oracle, asks, seed=seed, skip_bad=skip_bad) if isinstance(oracle, str) else oracle
    return Ledger(found, run.path / "asked.jsonl") if run is not None and run.writes else found


def _settings(rest: str, spec: str) -> tuple[str, dict[str, float]]:
    """What stands before the question mark, and name=number after it."""
    where, _, after = rest.partition("?")
    found: dict[str, float] = {}
    for piece in filter(None, after.split("&")):
        name, _, value = piece.partition("=")
        known = {"town": "noise", "queue": "patience"}.get(spec.partition(":")[0])
        try:
            found[name] = float(value)
        except ValueError:
            known = None
        if name != known:
            raise UserError(f"--oracle {spec}: {piece!r} cannot be", FORMS)
    return where, found
