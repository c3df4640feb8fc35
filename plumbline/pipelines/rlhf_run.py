"""`plumbline rlhf` by names: files and specs become feedback, the stages run into one folder, the folder gets its report."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from plumbline.core.errors import UserError
from plumbline.core.methods import Method
from plumbline.core.nouns import Comparison, Demo, Prompt, Rating
from plumbline.data import Rows
from plumbline.data.sources import data_hash, is_world
from plumbline.engine.faults import Faults
from plumbline.engine.progress import Progress
from plumbline.engine.runs import RunFolder
from plumbline.engine.stages import run_pipeline
from plumbline.pipelines import appraisal, run_report, sources, validation
from plumbline.pipelines.feed import Feed
from plumbline.pipelines.recipes import Recipes
from plumbline.pipelines.rl_verdict import Course, verdict
from plumbline.pipelines.rlhf import FEED, rlhf
from plumbline.pipelines.train import TOWN_GOLD, begin, plain_settings

STAGES = {"sft": "sft", "reward_model": "reward", "learn": "learn"}  # the command's prefix → field of Recipes
NOT_FED = ("eval_data",)  # rlhf measures the reward by --eval_feedback, and the policy on town by gold


@dataclass(frozen=True)
class Given:
    """What a user has, by name; "" for what is not there."""

    model: str
    demos: str = ""
    comparisons: str = ""
    ratings: str = ""
    reward: str = ""
    prompts: str = ""
    eval_feedback: str = ""

    @property
    def feedback(self) -> tuple[type, str]:
        """Its kind and its name; of comparisons and "" where a reward is given."""
        return (Rating, self.ratings) if self.ratings else (Comparison, self.comparisons)

    @property
    def sha256(self) -> str:
        """Of all the files and specs together."""
        files = [self.demos, self.comparisons, self.ratings, self.prompts]
        return hashlib.sha256(repr(contents(files)).encode()).hexdigest()


def run(
    given: Given,
    learner: Method,
    recipes: Recipes,
    *,
    out: str,
    resume: bool,
    threads: int,
    load: Mapping[str, Any],
    feed: Feed = FEED,
    fault: str = "",
) -> tuple[dict[str, Any], str]:
    """Run or go on; returns what --json prints, and what a person reads."""
    faults, progress = Faults.parse(fault), Progress()
    sources.use_threads(threads)
    policy = sources.load(given.model, **load, seed=recipes.sft.seed)
    kind, spec = given.feedback
    demos = rows_named(given.demos, Demo, feed, progress)
    feedback, held = appraisal.split(spec, rows_named(spec, kind, feed, progress), kind, given.eval_feedback, given.prompts)
    if held.rows:
        progress.note(f"the reward is measured on {held.words}")
    judge = sources.reward(given.reward, device=str(policy.device)) if given.reward else None
    prompts, town = rows_named(given.prompts, Prompt, feed, progress), is_world(given.prompts)
    pipeline = rlhf(
        policy,
        demos,
        feedback,
        prompts,
        recipes,
        judge=judge,
        learner=learner,
        shows_gold=town,
        feed=feed,
        appraise=lambda reward, thresholds: appraisal.write(reward, thresholds, held, Path(out)),
    )
    with RunFolder.open(out, resume=resume, faults=faults) as folder:
        asked = {"method": f"rlhf by {learner.name}", "options": options(given, learner, recipes, load, feed)}
        counts = {"demos": len(demos), "feedback": len(feedback), "held out": len(held.rows), "prompts": len(prompts)}
        data = {"rows": {name: n for name, n in counts.items() if n}, "held out": held.words, "sha256": given.sha256}
        begin(folder, policy, data, asked)
        evaluate = {}
        if town:
            seen, seed = validation.prompts_of(TOWN_GOLD) or [], recipes.learn.seed
            evaluate = {name: validation.town_gold(policy, seen, folder.stage(name), seed=seed) for name in ("sft", learner.name)}
        run_pipeline(pipeline, folder, evaluate=evaluate, resume=resume, progress=progress, faults=faults)
    report, rows = run_report.write(out), RunFolder(Path(out), writes=False).read("metrics")
    found = verdict(Course.of([row for row in rows if row.get("stage") == learner.name]), appraisal.read(Path(out)))
    figures = {k: v for k, v in rows[-1].items() if isinstance(v, (int, float))}
    text = f"{out} holds the model of stage {learner.name} and the report {report}\n{_said(rows[-1])}\n{' '.join(found[:2])}"
    return {"out": out, "report": str(report), "last": figures, "eval": rows[-1].get("eval", {}), "verdict": found}, text


def options(given: Given, learner: Method, recipes: Recipes, load: Mapping[str, Any], feed: Feed) -> dict[str, Any]:
    """What was asked for, by the command's flags: --config reads it back."""
    fed = {name: value for name, value in asdict(feed).items() if name not in NOT_FED}
    stages = {flag: asdict(getattr(recipes, name)) for flag, name in STAGES.items()}
    return {**asdict(given), **load, **fed, "learner": learner.name, **stages, learner.name: plain_settings(learner)}


def contents(names: Sequence[str]) -> list[str]:
    """What names of data stand for: a file's hash; a spec of the town, and "", themselves."""
    return [name if not name or is_world(name) else data_hash(name) for name in names]


def rows_named(spec: str, kind: type, feed: Feed, progress: Progress) -> Sequence[Any]:
    """What a spec names; nothing of "".   Rows that were left out are said."""
    rows = sources.items(spec, kind, skip_bad=feed.skip_bad) if spec else []
    if isinstance(rows, Rows) and rows.skipped:
        progress.note(f"{len(rows.skipped)} rows of {spec} were left out: {rows.skipped[0]}")
    if spec and not len(rows):
        raise UserError(f"{spec} holds no {kind.__name__.lower()}s", "Give a file or a spec that does.")
    return rows


def _said(last: Mapping[str, Any]) -> str:
    names = ("score", "reward", "kl", "length")
    words = [f"{name} {last[name]:.3f}" for name in names if isinstance(last.get(name), (int, float))]
    gold = last.get("eval", {}).get("gold")
    return "  ".join([*words, *([f"gold on validation prompts {gold['mean']:.3f} [{gold['lo']:.3f}, {gold['hi']:.3f}]"] if gold else [])])
