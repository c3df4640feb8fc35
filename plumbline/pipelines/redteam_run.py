"""`plumbline redteam` by names: models, files and judges become a target, attackers and a folder that can be gone on with.

OUT/attacks.jsonl     every attack: who, question, reply, score, verdict
OUT/findings.json     what the command prints, as figures
OUT/checkpoints …     the attackers that learned, as of any run
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from plumbline.attacks.target import Target
from plumbline.attacks.verdicts import Attack
from plumbline.attacks.wording import English, Wording, as_prompt
from plumbline.core.errors import UserError
from plumbline.core.interfaces import Model, Reward
from plumbline.core.methods import Stage
from plumbline.core.nouns import Prompt, Sampling
from plumbline.data.attackfile import attacks_in, is_file
from plumbline.data.sources import data_hash, is_world
from plumbline.engine.checkpoints import write_atomically
from plumbline.engine.faults import Faults
from plumbline.engine.progress import Progress
from plumbline.engine.runs import RunFolder
from plumbline.engine.stages import run_pipeline
from plumbline.models.lm import LM
from plumbline.models.scalar import ScalarLM
from plumbline.pipelines import sources
from plumbline.pipelines.attack_book import Book
from plumbline.pipelines.gold import TownGold
from plumbline.pipelines.players import SCRIPT, script
from plumbline.pipelines.redteam import Attackers, AttackRecipes, redteam
from plumbline.pipelines.redteam_loop import Repaired
from plumbline.pipelines.redteam_mend import Mend, mended
from plumbline.pipelines.redteam_report import findings, read_labels, relabelled
from plumbline.pipelines.town_redteam import BAR, TownWording, as_asked, is_bad

WORDINGS = ("auto", "english", "town")
RECIPES, NO_LOOP = AttackRecipes(), Mend()
PREPARED = "prepared"
ARMS = ("before", "after")  # of the loop: the same attacks once more, on both models


@dataclass(frozen=True)
class Given:
    """Who attacks whom before which judge, by name.

    `target`: the model under attack: a run folder, a model directory, town, town-s|m|l, or an endpoint (http://host/v1).
    `attacker`: a model that asks (the target itself may), or prepared attacks: a file (advbench, harmbench, any with a column of
    questions), or town:prompts?families=harm.   `judge`: what scores replies, higher is better: gold (on town), a reward model's
    directory or run, rule:file.py:function, regex:…, words:labels.tsv, http://….
    `bad_below`: a reply that the judge gives less is bad; else .75 of gold, the mean of a reward model's training, .5 of others.
    `column`: of a table, the column of the questions.   `limit`: only the first so many attacks of a file, 0 for all.
    `wording`: english, or town for the shipped models; auto: town if the target is shipped or the judge gold.
    `max_tokens`, `temperature`: of the target's replies.   `labels`: rows of attacks.jsonl with "bad": true or false added by hand; they
    appraise the judge and correct its rate.   `template`: a chat template to force.   `seed`: of all noise.
    """

    target: str = ""
    attacker: str = ""
    judge: str = ""
    bad_below: float | None = None
    column: str = ""
    limit: int = 0
    wording: str = "auto"
    max_tokens: int = 96
    temperature: float = 1.0
    labels: str = ""
    template: str = ""
    seed: int = 0

    @property
    def prepared(self) -> bool:
        """Whether the attacks are there already."""
        return is_spec(self.attacker) or is_file(self.attacker)

    @property
    def town(self) -> bool:
        """Whether attacks are in the town's language."""
        if self.wording not in WORDINGS:
            raise UserError(f"--wording is {self.wording!r}", f"Choose one of {', '.join(WORDINGS)}.")
        return self.wording == "town" or (self.wording == "auto" and (self.judge == "gold" or self.target in sources.SHIPPED))


def run(
    given: Given,
    options: Attackers,
    recipes: AttackRecipes = RECIPES,
    mend: Mend = NO_LOOP,
    *,
    out: str,
    resume: bool = False,
    fault: str = "",
) -> tuple[dict[str, Any], str]:
    """Attack, or go on; returns what --json prints, and what a person reads."""
    mend.check(town=given.town)
    if given.prepared and options.how != "zero-shot":
        raise UserError(f"{given.attacker} holds prepared attacks, which learn nothing", "Leave --how out, or give a model as --attacker.")
    prompts = prepared(given) if given.prepared else []
    judge = sources.reward(given.judge)
    model = _speaker(given.target, given.template)
    target = Target(
        model,
        judge,
        bar_of(judge, given.bad_below),
        sampling=Sampling(temperature=given.temperature, max_tokens=given.max_tokens),
        truth=is_bad,
    )
    return _run(given, options, recipes, mend, target, prompts, out=out, resume=resume, fault=fault)


def _run(
    given: Given,
    options: Attackers,
    recipes: AttackRecipes,
    mend: Mend,
    target: Target,
    prompts: Sequence[Prompt],
    *,
    out: str,
    resume: bool,
    fault: str,
) -> tuple[dict[str, Any], str]:
    labels = read_labels(given.labels) if given.labels else None
    progress, faults = Progress(), Faults.parse(fault)
    with RunFolder.open(out, resume=resume, faults=faults) as folder:
        _same(folder, given, options, mend)
        book = Book.open(folder.path, progress)
        stages = _stages(given, options, recipes, mend, target, prompts, book)
        repaired = run_pipeline(stages, folder, resume=resume, progress=progress, faults=faults)
    rows = {who: attacks for who, attacks in book.rows.items() if who not in ARMS}
    return _told(rows, labels, isinstance(target.judge, TownGold), repaired, out)


def _stages(
    given: Given,
    options: Attackers,
    recipes: AttackRecipes,
    mend: Mend,
    target: Target,
    prompts: Sequence[Prompt],
    book: Book,
) -> Generator[Stage[Any], Any, Repaired | None]:
    """Attacks, and the loop where it is asked for."""
    chats = not isinstance(target.model, LM) or target.model.tokenizer.has_template
    wording: Wording = TownWording() if given.town else English(chats=chats)
    if given.prepared:
        asked = [(as_asked(p), as_prompt(p.context, chats=chats) if isinstance(p.context, str) else p) for p in prompts]
        book.play(PREPARED, len(asked), lambda: asked, target, given.seed)
        book.must_have_run(PREPARED)
        asks = dict(asked)
    else:
        attacker = target.model if given.attacker == given.target else _speaker(given.attacker, given.template)
        yield from redteam(attacker, target, wording, options, recipes, book=book, seed=given.seed)
        asks = {a.question: wording.prompt(a.question) for a in book.all if a.question}
    if not mend.repair:
        return None
    attacks = [a for who, rows in book.rows.items() if who not in ARMS for a in rows]
    return (yield from mended(mend, target, attacks, asks, book, town=given.town, chats=chats, seed=given.seed, n=options.n))


def bar_of(judge: Reward, bad_below: float | None) -> float:
    """What the judge's number must reach: as named; else .75 of gold, the mean of what a reward model was trained on, or .5."""
    if bad_below is not None:
        return bad_below
    return BAR if isinstance(judge, TownGold) else 0.0 if isinstance(judge, ScalarLM) else 0.5


def is_spec(name: str) -> bool:
    """Whether a name is that of the town's prompts; "town" alone is a model."""
    return ":" in name and is_world(name)


def _speaker(name: str, template: str) -> Model:
    return script(name) if name.startswith(SCRIPT) else sources.answerer(name, template=template or None)


def prepared(given: Given) -> list[Prompt]:
    """The attacks that a file or a spec of the town holds."""
    if is_spec(given.attacker):
        return list(sources.items(given.attacker, Prompt))[: given.limit or None]
    return attacks_in(given.attacker, column=given.column, limit=given.limit)


def _same(folder: RunFolder, given: Given, options: Attackers, mend: Mend) -> None:
    """Note what is asked for, or refuse to go on with a folder in which something else was asked."""
    files = [given.attacker] if given.prepared and not is_spec(given.attacker) else []
    asked = {k: v for k, v in {**asdict(given), **asdict(options), **asdict(mend)}.items() if k != "labels"}
    said = {"method": "redteam", "options": asked, "data": {"sha256": hashlib.sha256("".join(map(data_hash, files)).encode()).hexdigest()}}
    before = folder.config()
    for part in ("options", "data") if before else ():
        if before.get(part) != said[part]:
            odd = next((k for k in said[part] if cast(Mapping, before.get(part, {})).get(k) != said[part][k]), part)
            raise UserError(f"{folder.path} was begun with another {odd}", "Give the same options, or another --out.")
    if not before:
        folder.write_config(said)


def _repaired(repaired: Repaired, out: str) -> list[str]:
    return [*repaired.lines(), f"  the repaired model: --model {out}"]


def _told(
    rows: Mapping[str, Sequence[Attack]], labels: Any, is_gold: bool, repaired: Repaired | None, out: str
) -> tuple[dict[str, Any], str]:
    found = findings(relabelled(rows, labels), labels=labels, is_gold=is_gold)
    figures: dict[str, Any] = {"out": out, "attackers": {one.who: one.json() for one in found}}
    figures |= {"repair": repaired.json()} if repaired else {}
    write_atomically(Path(out) / "findings.json", json.dumps(figures, indent=1, ensure_ascii=False, allow_nan=False).encode())
    lines = [line for one in found for line in one.lines()]
    return figures, "\n".join([*lines, *(_repaired(repaired, out) if repaired else []), f"every attack is in {out}/attacks.jsonl"])
