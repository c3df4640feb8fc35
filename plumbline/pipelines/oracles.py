"""`--oracle`: who compares on request.   town (or town:ben+cleo?noise=.1), a comparisons file, queue:FOLDER for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import final

from plumbline.core.errors import UserError
from plumbline.core.interfaces import Oracle
from plumbline.core.nouns import Comparison, Context, Prompt
from plumbline.data import open_rows
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


def parse(spec: str, prompts: Iterable[Prompt], *, seed: int = 0) -> Oracle:
    """An oracle by its name."""
    name, _, rest = spec.partition(":")
    where, settings = _settings(rest, spec)
    if name == "town":
        return TownOracle(prompts, annotators(where or "ada", settings.pop("noise", None)), seed=seed)
    if name == "queue" and where:
        return Queue(where, patience=settings.pop("patience", 3600.0))
    if Path(spec).is_file():
        return File(open_rows(spec, Comparison), spec)
    raise UserError(f"--oracle {spec}: there is no such oracle", FORMS)


def with_ledger(oracle: Oracle, folder: Path | None) -> Oracle:
    """The oracle, its answers written to asked.jsonl of a run folder."""
    return Ledger(oracle, folder / "asked.jsonl") if folder is not None else oracle


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
