"""`plumbline cai` by names: files and specs become prompts and feedback, games are played and stages run into one folder.

OUT/constitution.md          the constitution as it was: every record's principles are in it
OUT/critiques/games.jsonl    every reply, critique and revision, with the principle of each step
OUT/feedback/games.jsonl     every pair and its label, with the principle
OUT/revisions.jsonl          the demonstrations that were made of the former,   OUT/labels.jsonl: the comparisons of the latter
OUT/checkpoints …            the stages, as of any run
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from plumbline.core.errors import UserError
from plumbline.core.methods import Method
from plumbline.core.nouns import Comparison, Demo, Prompt, plain
from plumbline.core.protocols import Rules, load_protocol
from plumbline.data.sources import is_world
from plumbline.engine.checkpoints import write_atomically
from plumbline.engine.faults import Faults
from plumbline.engine.progress import Progress
from plumbline.engine.runs import RunFolder
from plumbline.engine.stages import run_pipeline
from plumbline.models.lm import LM
from plumbline.pipelines import run_report, sources, validation
from plumbline.pipelines.cai import UNTIL, Games, Until, cai, comparisons_of, demos_of
from plumbline.pipelines.feed import Feed
from plumbline.pipelines.play import AT_ONCE, seats
from plumbline.pipelines.players import players
from plumbline.pipelines.recipes import Recipes
from plumbline.pipelines.rlhf_run import NOT_FED, STAGES, contents, rows_named
from plumbline.pipelines.town_cai import TOWN_PHRASING, check_town
from plumbline.pipelines.train import TOWN_GOLD, begin, plain_settings
from plumbline.protocols.constitution import FIELDS, Constitution, open_constitution
from plumbline.protocols.principled import ENGLISH, Phrasing, Words
from plumbline.rewards.items import messages

WORDINGS = ("auto", "english", "town")


@dataclass(frozen=True)
class Given:
    """What a user has, by name; "" for what is not there."""

    model: str
    prompts: str
    constitution: str = ""
    critic: str = ""
    feedback: str = ""
    demos: str = ""
    comparisons: str = ""

    @property
    def town(self) -> bool:
        """Whether the prompts are the town's."""
        return is_world(self.prompts)


@dataclass(frozen=True)
class Options:
    """How the games are played.

    `rounds`: of critique and revision.   `critiques`: ask what is wrong before asking for a better reply.   `max_tokens`: of each reply,
    critique and revision.   `temperature`: of them; labels are probabilities and drawn from nothing.   `draw`: the seed of principles and
    games.   `limit`: only the first so many prompts, 0 for all.   `at_once`: games played together.   `wording`: english, or town for the
    shipped models; auto: town on town's prompts.   `until`: stop after the critiques, after sft, after the labels, or at the end.
    """

    rounds: int = 1
    critiques: bool = True
    max_tokens: int = 96
    temperature: float = 1.0
    draw: int = 0
    limit: int = 0
    at_once: int = AT_ONCE
    wording: str = "auto"
    until: Until = "end"

    def __post_init__(self) -> None:
        for name, least in (("rounds", 1), ("at_once", 1), ("limit", 0), ("draw", 0)):
            if getattr(self, name) < least:
                raise UserError(f"--{name} is {getattr(self, name)}", f"Give at least {least}.")
        for name, known in (("wording", WORDINGS), ("until", UNTIL)):
            if getattr(self, name) not in known:
                raise UserError(f"--{name} is {getattr(self, name)!r}", f"Choose one of {', '.join(known)}.")


@dataclass(frozen=True)
class Asked:
    """Prompts, constitution and wording, checked before a model is loaded."""

    prompts: Sequence[Prompt]
    principles: Constitution
    phrasing: Phrasing
    critique: Rules
    feedback: Rules

    @staticmethod
    def of(given: Given, options: Options, feed: Feed, progress: Progress) -> Asked:
        """What the names stand for."""
        of_town = options.wording == "town" or (options.wording == "auto" and given.town)
        principles = open_constitution(given.constitution or ("town" if of_town else "default"))
        if of_town:
            check_town(principles)
        phrasing = TOWN_PHRASING if of_town else ENGLISH
        prompts = list(rows_named(given.prompts, Prompt, feed, progress)[: options.limit or None])
        same: dict[str, Any] = {"principles": principles, "phrasing": phrasing, "draw": options.draw, "max_tokens": options.max_tokens}
        critique, feedback = load_protocol("critique"), load_protocol("ai_feedback")(**same)
        critique = critique(rounds=options.rounds, critiques=options.critiques, **same)
        seats(critique, prompts)  # refuses two of one name
        critique.check(prompts[0])
        if options.until in ("labels", "end"):
            feedback.check(prompts[0])
        return Asked(prompts, principles, phrasing, critique, feedback)


def preview(given: Given, options: Options, feed: Feed) -> tuple[dict[str, Any], str]:
    """What would be asked, of the first prompt word by word; no model is loaded and nothing is written."""
    asked = Asked.of(given, options, feed, Progress(quiet=True))
    prompt, n = asked.prompts[0], len(asked.prompts)
    counts = {"prompts": n, "replies": n, "critiques": n * options.rounds * options.critiques, "revisions": n * options.rounds}
    if options.until in ("labels", "end"):
        counts |= {"pairs": n, "verdicts": 2 * n}
    lines = [f"{asked.principles.source}: {len(asked.principles.principles)} principles"]
    for p in asked.principles.principles:
        lines.append(f"  {p.id:14} {', '.join(field for field in FIELDS if getattr(p, field))}")
    lines += ["at most " + ", ".join(f"{count} {name}" for name, count in counts.items())]
    critic, phrasing = asked.principles.critics[0], asked.phrasing
    found = phrasing.critique(prompt.context, "‹reply›", critic)
    said = "" if not options.critiques else found.choices[0] if found.choices else "‹critique›"
    lines += _told(f"critique by {critic.id!r}", found) if said else []
    lines += _told(f"revision by {critic.id!r}", phrasing.revision(prompt.context, "‹reply›", critic, said))
    if "pairs" in counts:
        judge = asked.principles.judges[0]
        lines += _told(f"comparison by {judge.id!r}", phrasing.compare(prompt.context, "‹reply 1›", "‹reply 2›", judge))
    return {**counts, "principles": [p.id for p in asked.principles.principles]}, "\n".join(lines)


def _told(what: str, words: Words) -> list[str]:
    shown = [f"  | {line}" for line in plain(words.context).splitlines()]
    return [f"{what}:", *shown, *([f"  answers: {' or '.join(words.choices)}"] if words.choices else [])]


def run(
    given: Given,
    learner: Method,
    recipes: Recipes,
    options: Options,
    *,
    out: str,
    resume: bool,
    threads: int,
    load: Mapping[str, Any],
    feed: Feed,
    fault: str = "",
) -> tuple[dict[str, Any], str]:
    """Run or go on; returns what --json prints, and what a person reads."""
    faults, progress = Faults.parse(fault), Progress()
    sources.use_threads(threads)
    asked = Asked.of(given, options, feed, progress)
    demos, comparisons = (rows_named(spec, kind, feed, progress) for spec, kind in ((given.demos, Demo), (given.comparisons, Comparison)))
    policy = sources.load(given.model, **load, seed=recipes.sft.seed)
    others = players({role: name for role, name in (("critic", given.critic), ("feedback", given.feedback)) if name})
    games = Games(
        asked.critique,
        asked.feedback,
        others.get("critic"),
        others.get("feedback"),
        Path(out),
        options.temperature,
        options.draw,
        options.at_once,
    )
    pipeline = cai(
        policy,
        asked.prompts,
        games,
        recipes,
        demos=demos,
        comparisons=comparisons,
        learner=learner,
        feed=feed,
        shows_gold=given.town,
        until=options.until,
    )
    with RunFolder.open(out, resume=resume, faults=faults) as folder:
        said = {"method": f"cai by {learner.name}", "options": options_of(given, learner, recipes, options, load, feed)}
        counts = {"prompts": len(asked.prompts), "demos": len(demos), "comparisons": len(comparisons)}
        begin(folder, policy, {"rows": {k: n for k, n in counts.items() if n}, "sha256": _hash(given, options, asked)}, said)
        write_atomically(folder.path / "constitution.md", Path(asked.principles.source).read_bytes())
        evaluate = _evaluation(given, policy, folder, learner, recipes)
        run_pipeline(pipeline, folder, evaluate=evaluate, resume=resume, progress=progress, faults=faults)
    return result(asked, Path(out), options)


def _evaluation(given: Given, policy: LM, folder: RunFolder, learner: Method, recipes: Recipes) -> dict[str, Any]:
    """On town, gold on validation prompts at the end of a stage."""
    if not given.town:
        return {}
    seen = validation.prompts_of(TOWN_GOLD) or []
    return {name: validation.town_gold(policy, seen, folder.stage(name), seed=recipes.learn.seed) for name in ("sft", learner.name)}


def options_of(given: Given, learner: Method, recipes: Recipes, options: Options, load: Mapping[str, Any], feed: Feed) -> dict[str, Any]:
    """What was asked for, by the command's flags: --config reads it back."""
    fed = {name: value for name, value in asdict(feed).items() if name not in NOT_FED}
    stages = {flag: asdict(getattr(recipes, name)) for flag, name in STAGES.items()}
    return {**asdict(given), **asdict(options), **load, **fed, "learner": learner.name, **stages, learner.name: plain_settings(learner)}


def _hash(given: Given, options: Options, asked: Asked) -> str:
    """Of all that games and training read: the files, the constitution's text, and how games are played."""
    read = contents((given.prompts, given.demos, given.comparisons))
    text = Path(asked.principles.source).read_text(encoding="utf-8")
    how = {k: v for k, v in asdict(options).items() if k not in ("at_once", "until")}
    return hashlib.sha256(repr([read, text, how, given.critic, given.feedback]).encode()).hexdigest()


def result(asked: Asked, out: Path, options: Options) -> tuple[dict[str, Any], str]:
    """Write what games became as rows that training reads, and the report; and say what there is."""
    critiques = RunFolder(out / "critiques", writes=False).read("games")
    demos = demos_of(asked.prompts, critiques)
    found: dict[str, Any] = {"out": str(out), **_of_critiques(critiques), "revisions": len(demos)}
    _write(out / "revisions.jsonl", [{"completion": d.completion, **_row(d), "principles": d.meta["principles"]} for d in demos])
    lines = ["{games} games of {steps} rounds, {revised} of which rewrote the reply; {failed} games failed".format(**found)]
    labels = RunFolder(out / "feedback", writes=False).read("games")
    if labels:
        judged = comparisons_of(asked.prompts, labels)
        rows = [_pair(c) for c in judged]
        _write(out / "labels.jsonl", rows)
        first = [row["outcome"]["first"] for row in labels if row["outcome"]]
        sure = [abs(2 * c.preference - 1) for c in judged]
        found |= {"labels": len(judged), "sure": sum(sure) / len(sure) if sure else 0.0, "first": sum(first) / len(first) if first else 0.0}
        lines.append("{labels} labels; mean |2p − 1| {sure:.2f}; A is chosen with {first:.2f} whatever stands there".format(**found))
    metrics = RunFolder(out, writes=False).read("metrics")
    if metrics:
        found |= {"report": str(run_report.write(out)), "eval": metrics[-1].get("eval", {})}
        lines.append(f"{out} holds the model of stage {metrics[-1].get('stage')} and the report {found['report']}")
    gold = found.get("eval", {}).get("gold")
    lines += ["gold on validation prompts {mean:.3f} [{lo:.3f}, {hi:.3f}]".format(**gold)] if gold else []
    records = ["critiques/games.jsonl", "revisions.jsonl", *(["feedback/games.jsonl", "labels.jsonl"] if labels else [])]
    return found, "\n".join([*lines, f"records in {out}: {', '.join(records)}"])


def _of_critiques(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    steps = [step for row in rows if row["outcome"] for step in row["outcome"]["steps"]]
    failed = sum(bool(row["error"]) for row in rows)
    return {"games": len(rows), "steps": len(steps), "revised": sum(step["revised"] for step in steps), "failed": failed}


def _row(item: Demo | Comparison) -> dict[str, Any]:
    prompt: Any = item.context if isinstance(item.context, str) else messages(item.context)
    return {"prompt": prompt, "complete": item.complete, "annotator": item.annotator, "game": item.meta["game"]}


def _pair(item: Comparison) -> dict[str, Any]:
    chosen, rejected = item.completions
    about = {"preference": item.preference, "principle": item.meta["principle"]}
    return {"chosen": chosen, "rejected": rejected, **_row(item), **about}


def _write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    write_atomically(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())
