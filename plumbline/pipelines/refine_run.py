"""`plumbline refine` by names: a model, prompts and whoever labels become rounds in one folder, with a ledger of what each was worth.

The folder's last stage, `kept`, holds the model that the rounds ended with: `eval`, `export` and `--model` find it by the folder's name.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from plumbline.core.errors import UserError
from plumbline.core.interfaces import Oracle, Reward
from plumbline.core.methods import Method, Steps
from plumbline.core.nouns import Ask, Comparison, Label, Prompt, Reply, Sampling, plain
from plumbline.core.oracles import Announced, Recorded
from plumbline.data import Plan
from plumbline.data.sources import is_world
from plumbline.engine.checkpoints import write_atomically
from plumbline.engine.faults import Faults
from plumbline.engine.progress import Progress
from plumbline.engine.recipe import Recipe
from plumbline.engine.runs import RunFolder
from plumbline.engine.stages import finished, run_pipeline
from plumbline.evals.judge import ModelJudge
from plumbline.evals.logps import sequence_kl
from plumbline.feedback.oracles import Ledger, question_id
from plumbline.models.lm import LM
from plumbline.pipelines import oracles, refine_labels, refine_report, sources
from plumbline.pipelines.feed import Feed
from plumbline.pipelines.players import players
from plumbline.pipelines.refine import Entry, Labelled, Measured, Rows, Rules, refine
from plumbline.pipelines.refine_book import Book, Drawn
from plumbline.pipelines.rlhf_run import contents, rows_named
from plumbline.pipelines.roles import Hands, fill
from plumbline.pipelines.train import begin, plain_settings
from plumbline.rewards.items import check, fixed

KEPT = "kept"  # the stage that holds what the rounds ended with
USUAL = Recipe(epochs=1, batch=32, lr=5e-4, warmup=0.1)  # how a round trains the town's small models
TOWN_HELD = "town:prompts?split=validation&n=208"
MOST, LEAST = 256, 8  # held-aside prompts of a file


@dataclass(frozen=True)
class Given:
    """What a user has, by name; "" for what is not there."""

    model: str
    prompts: str
    oracle: str = ""
    reward: str = ""
    judge: str = ""
    eval_prompts: str = ""

    def check(self) -> None:
        """One of the three labels."""
        if sum(map(bool, (self.oracle, self.reward, self.judge))) != 1:
            raise UserError("refine wants one of --oracle, --reward and --judge", "Say who labels the replies.")

    @property
    def labeller(self) -> str:
        """Who labels, by name."""
        return self.oracle or self.reward or self.judge

    @property
    def sha256(self) -> str:
        """Of the files and specs together."""
        files = contents((self.prompts, self.eval_prompts))
        return hashlib.sha256(repr([files, self.oracle, self.reward, self.judge]).encode()).hexdigest()


@dataclass(frozen=True)
class Options:
    """How replies are drawn and measured.

    `replies`: drawn for each prompt.   `per_round`: prompts of a round, 0 shares them out evenly.   `max_tokens`: of each reply.
    `temperature`: of those that are labelled; measured replies are drawn at 1.   `measure`: gold, labeller, or a reward by its name;
    auto is gold on town's prompts, else the labeller.
    """

    replies: int = 4
    per_round: int = 0
    max_tokens: int = 96
    temperature: float = 1.0
    measure: str = "auto"

    def __post_init__(self) -> None:
        for name, lowest in (("replies", 2), ("per_round", 0), ("max_tokens", 1)):
            if getattr(self, name) < lowest:
                raise UserError(f"--{name} is {getattr(self, name)}", f"Give at least {lowest}.")


@final
@dataclass
class Office:
    """The work of rounds, in a folder: whatever was done before a kill is read, and not done again.

    `worth`: what measures replies; None where the oracle compares them.
    """

    prompts: Sequence[Prompt]
    held: Sequence[Prompt]
    oracle: Oracle | None
    reward: Reward | None
    worth: Reward | None
    learner: Method
    options: Options
    book: Book
    seed: int
    per_round: int
    feed: Feed
    faults: Faults
    say: Callable[[str], None]
    known: set[str] = field(default_factory=set)

    @property
    def reserve(self) -> int:
        """A question about each held-aside prompt, where an oracle measures."""
        return 0 if self.worth is not None else len(self.held)

    def label(self, t: int, policy: LM, most: int) -> Labelled:
        """Draw and ask."""
        asked = [self.prompts[i % len(self.prompts)] for i in range((t - 1) * self.per_round, t * self.per_round)]
        how = Sampling(temperature=self.options.temperature, max_tokens=self.options.max_tokens, seed=self.seed << 16 | t)

        def draw(some: Sequence[Prompt]) -> Drawn:
            drawn = self._recorded(some) or policy.sample(some, self.options.replies, how)
            self.faults.at("rollout")
            return drawn

        drawn = self.book.drawn(t, asked, draw)
        if self.reward is not None:
            reward = self.reward
            found = self.book.labelled(t, asked, lambda: refine_labels.by_reward(fixed(reward), asked, drawn, most))
        else:
            found = self.book.labelled(t, asked, lambda: refine_labels.by_oracle(self._asked, asked, drawn, most))
        pairs = [(row.context, row.completions) for row in found.rows if isinstance(row, Comparison)]
        found = replace(found, asked=self._new(pairs))
        return refine_labels.thumbs(found) if self.learner.data is Label else found

    def _recorded(self, some: Sequence[Prompt]) -> Drawn:
        """Of an oracle that compares its own completions only, these."""
        oracle = self.oracle
        return [[Reply(text) for text in oracle.candidates(p.context)] for p in some] if isinstance(oracle, Recorded) else []

    @property
    def _asked(self) -> Oracle:
        assert self.oracle is not None
        return self.oracle

    def _new(self, questions: Sequence[tuple[Any, Sequence[str]]]) -> int:
        """How many of these were never asked in this run: what was answered once costs nothing again."""
        ids = {question_id(context, pair) for context, pair in questions}
        before = len(self.known)
        self.known |= ids
        return len(self.known) - before

    def learn(self, policy: LM, reference: LM, rows: Rows) -> Steps:
        """The learner with its roles filled."""
        plan = self.feed.plan(rows, self.learner.data, policy)
        assert isinstance(plan, Plan)
        return self.learner(*fill(self.learner, Hands(policy, plan, reference, seed=self.seed)).values())

    def measure(self, t: int, policy: LM, base: LM) -> Measured:
        """One reply to each held-aside prompt at temperature 1, with the same noise every time."""

        def make() -> Measured:
            sampling = Sampling(max_tokens=self.options.max_tokens, seed=self.seed)
            replies = policy.answer([Ask(policy.name, p.context, sampling) for p in self.held])
            kl_P = sequence_kl(self.held, replies, base, policy.tokenizer)
            score_P = None
            if self.worth is not None:
                games = [refine_labels.game(p, r) for p, r in zip(self.held, replies, strict=True)]
                score_P = np.array(fixed(self.worth)(games).total, dtype=np.float64)
            self.faults.at("evaluation")
            return Measured(tuple(r.text for r in replies), score_P, kl_P)

        return self.book.measured(t, self.held, make)

    def gain(self, t: int, after: Measured, before: Measured) -> tuple[NDArray[np.float64], int]:
        """Score for score; or how much more often than half the oracle prefers the reply after, equal replies being one half."""
        if after.score_P is not None and before.score_P is not None:
            return after.score_P - before.score_P, 0
        pairs = list(zip(self.held, after.texts, before.texts, strict=True))
        asked = [(p.context, (a, b)) for p, a, b in pairs if a != b]
        if isinstance(self.oracle, Announced):
            self.oracle.announce(asked)
        return np.array([self._preference(p, a, b) - 0.5 for p, a, b in pairs]), self._new(asked)

    def _preference(self, prompt: Prompt, after: str, before: str) -> float:
        if after == before:
            return 0.5
        said = self._asked.compare(prompt.context, (after, before))
        return said.preference if said.completions[0] == after else 1 - said.preference

    def settle(self, entry: Entry) -> Entry:
        """A line of the ledger, and one for the reader."""
        steps = RunFolder(self.book.out, writes=False).stage(f"round{entry.round}").checkpoints
        last = steps.steps()[-1:]
        found = self.book.settle(entry, {"checkpoint": str(steps.path(last[0]).relative_to(self.book.out)) if last else ""})
        self.say(refine_report.line(found, self.measured_by))
        return found

    @property
    def measured_by(self) -> str:
        """What the score is called."""
        return "" if self.worth is None else "gold" if self.options.measure == "gold" else "score"


def run(
    given: Given,
    learner: Method,
    recipe: Recipe,
    rules: Rules,
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
    given.check()
    faults, progress = Faults.parse(fault), Progress()
    sources.use_threads(threads)
    options = replace(options, measure=measured_by(given, options))
    policy = sources.load(given.model, **load, seed=recipe.seed)
    prompts, held = aside(given, policy, feed, progress)
    reward = sources.reward(given.reward, device=str(policy.device)) if given.reward else None
    worth = reward if options.measure == "labeller" else sources.reward(options.measure, device=str(policy.device))
    for judge in (reward, worth):
        if judge is not None:
            check(judge, prompts[:2])
    oracle = oracle_of(given, [*prompts, *held], recipe.seed, feed)
    if isinstance(oracle, Recorded) and worth is None:
        raise UserError(f"{given.oracle} compares its own completions only, and cannot measure new ones", "Give --measure a reward.")
    with RunFolder.open(out, resume=resume, faults=faults) as folder:
        said = options_of(given, learner, recipe, rules, options, load, feed)
        counts = {"prompts": len(prompts), "held aside": len(held)}
        begin(folder, policy, {"rows": counts, "sha256": given.sha256}, {"method": f"refine by {learner.name}", "options": said})
        kept_is_open(folder)
        ledger = Ledger(oracle, folder.path / "asked.jsonl") if oracle is not None else None
        book, share = Book(folder.path), options.per_round or max(1, len(prompts) // rules.rounds)
        office = Office(prompts, held, ledger, reward, worth, learner, options, book, recipe.seed, share, feed, faults, progress.note)
        entries, why = run_pipeline(refine(policy, office, rules, recipe), folder, resume=resume, progress=progress, faults=faults)
        keep(folder, policy)
    return refine_report.result(Path(out), office.measured_by, entries, why)


def measured_by(given: Given, options: Options) -> str:
    """What --measure auto stands for."""
    if options.measure != "auto":
        return options.measure
    return "gold" if is_world(given.prompts) else "labeller"


def oracle_of(given: Given, prompts: Sequence[Prompt], seed: int, feed: Feed) -> Oracle | None:
    """Whoever compares; nobody where a reward labels."""
    if given.judge:
        return refine_labels.Judged(ModelJudge(players({"judge": given.judge})["judge"]), Path(given.judge).name)
    return oracles.parse(given.oracle, prompts, seed=seed, skip_bad=feed.skip_bad) if given.oracle else None


def aside(given: Given, policy: LM, feed: Feed, progress: Progress) -> tuple[list[Prompt], list[Prompt]]:
    """Prompts whose replies are labelled, and others that measure: those that are named, town's validation split, or a tenth."""

    def fitting(spec: str) -> list[Prompt]:
        return [p for p in feed.plan(rows_named(spec, Prompt, feed, progress), Prompt, policy) if isinstance(p, Prompt)]

    prompts = fitting(given.prompts)
    spec = given.eval_prompts or (TOWN_HELD if is_world(given.prompts) else "")
    if spec:
        return prompts, fitting(spec)
    tenth = [p for p in prompts if zlib.crc32(plain(p.context).encode()) % 10 == 0][:MOST]
    if len(tenth) < LEAST:
        raise UserError(f"a tenth of {given.prompts} is too few prompts to measure by", "Give others as --eval_prompts.")
    held = {p.context for p in tenth}
    progress.note(f"{len(tenth)} of {len(prompts)} prompts are held aside to measure by")
    return [p for p in prompts if p.context not in held], tenth


def options_of(
    given: Given, learner: Method, recipe: Recipe, rules: Rules, options: Options, load: Mapping[str, Any], feed: Feed
) -> dict[str, Any]:
    """What was asked for, by the command's flags: --config reads it back."""
    fed = {name: value for name, value in asdict(feed).items() if name != "eval_data"}
    named = {**asdict(given), **asdict(rules), **asdict(options), **load, **fed}
    return {**named, "learner": learner.name, "learn": asdict(recipe), learner.name: plain_settings(learner)}


def kept_is_open(folder: RunFolder) -> None:
    """A finished run that goes on has no final model yet."""
    done = finished(folder)
    if done.pop(KEPT, None) is not None:
        write_atomically(folder.path / "stages.json", json.dumps(done, indent=1).encode())


def keep(folder: RunFolder, policy: LM) -> None:
    """Write what the rounds ended with as the last stage, so that the folder's name stands for it."""
    stage = folder.stage(KEPT)
    path = stage.checkpoints.write(0, {"policy": policy}, {"best": None}, {})
    done = {**finished(folder), KEPT: {"steps": 0, "checkpoint": path.name, "roles": ["policy"]}}
    write_atomically(folder.path / "stages.json", json.dumps(done, indent=1).encode())
