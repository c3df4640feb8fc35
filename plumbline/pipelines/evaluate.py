"""`plumbline eval`: a model measured, alone or against another, on town, on open-book town, or on a file of held-out feedback.

town        gold by component and family; paired difference and win rate; KL; length; loss on plain text (alignment tax)
town-open   the same questions with the facts in the prompt, in ordinary English: for any model or endpoint
            (a reward model: on town's comparisons)
FILE        comparisons: preference accuracy beside its baselines;   demonstrations: loss and perplexity;   prompts: a judge's win rate,
            or what a reward gives the replies (evaluate_replies.py)
            (a reward: on comparisons or labels)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from plumbline.core.errors import UserError
from plumbline.core.interfaces import Model
from plumbline.core.nouns import Comparison, Demo, Prompt, Sampling, Utility
from plumbline.data import Plan, open_rows
from plumbline.evals import stats
from plumbline.evals.judge import ModelJudge
from plumbline.evals.logps import lm_loss, sequence_kl, sums
from plumbline.evals.preferences import bag_of_words, preference_accuracy
from plumbline.evals.stats import Figure
from plumbline.evals.town import Played, compare_played, plain_texts, play_town, report_rows, table
from plumbline.models.lm import LM
from plumbline.pipelines import sources
from plumbline.pipelines.evaluate_generated import generated
from plumbline.pipelines.evaluate_replies import scored
from plumbline.pipelines.evaluate_reward import on_reward
from plumbline.pipelines.feed import Feed
from plumbline.rewards.spec import is_spec
from plumbline.world import gold
from plumbline.world import prompts as town_prompts
from plumbline.world.openbook import open_gold, open_prompts


@dataclass(frozen=True)
class Options:
    """What to measure on.   `against`: another model.   `train`: comparisons that the bag of words is fitted on.   `judge`: a model.

    `reward`: what scores replies to a file of prompts.
    """

    on: str = "town"
    split: str = "heldout"
    prompts: int = 520
    seed: int = 0
    temperature: float = 1.0
    max_tokens: int = 96
    train: str = ""
    judge: str = ""
    reward: str = ""
    template: str = ""
    skip_bad: bool = False

    @property
    def sampling(self) -> Sampling:
        """How replies are drawn."""
        return Sampling(temperature=self.temperature, max_tokens=self.max_tokens, seed=self.seed)


@dataclass(frozen=True)
class Found:
    """Figures for `--json`, and lines for people."""

    figures: dict[str, Any]
    lines: list[str]


def evaluate(model: Model | str, against: Model | str | None = None, options: Options = Options()) -> Found:
    """Measure `model`, and the difference from `against` where there is one."""
    if options.prompts < 1:
        raise UserError(f"--prompts is {options.prompts}", "Give at least 1.")
    if isinstance(model, str) and not model.startswith("http") and (is_spec(model) or sources.reward_path(model)):
        return Found(*on_reward(model, _comparisons(options), train=options.train, skip_bad=options.skip_bad))
    template = options.template or None
    mine = sources.answerer(model, template=template) if isinstance(model, str) else model
    other = sources.answerer(against, template=template) if isinstance(against, str) and against else against or None
    if options.on in ("town", "town-open"):
        return on_town(mine, other, options)
    return on_file(mine, other, options)


def _comparisons(options: Options) -> str:
    """What a reward is measured on: the file, or town's comparisons without ties."""
    town = f"town:comparisons?n={options.prompts}&seed={options.seed}&split={options.split}&ties=false"
    return town if options.on == "town" else options.on


def on_town(model: Model, other: Model | None, options: Options) -> Found:
    """Gold, closed or open book."""
    opened = options.on == "town-open"
    make: Callable[..., list[Prompt]] = open_prompts if opened else town_prompts
    score: Callable[[Prompt, str], Utility] = open_gold if opened else gold
    prompts = make(options.split, options.prompts, seed=options.seed)
    models = [m for m in (model, other) if m is not None]
    names = [m.name for m in models] if len({m.name for m in models}) == len(models) else ["model", "against"]
    arms = {name: play_town(m, prompts, options.sampling, score) for name, m in zip(names, models, strict=True)}
    tables = {name: table([p]) for name, p in arms.items()}
    figures: dict[str, Any] = {"gold": {n: stats.as_json(t) for n, t in tables.items()}}
    lines = report_rows(tables)
    for name, played in arms.items():
        length = stats.mean(played.lengths)
        figures.setdefault("length", {})[name], figures.setdefault("cut", {})[name] = length.json(), played.cut
        lines.append(f"{name}: {length.mean:.1f} tokens a reply, {played.cut:.1%} cut at {options.sampling.max_tokens}")
    if other is not None:
        mine, theirs = arms.values()
        found = compare_played([mine], [theirs])
        figures |= stats.as_json(found)
        lines += [f"difference {found['difference'].signed()}", f"win rate   {found['win_rate']}"]
    if not opened:
        _language(figures, lines, arms, models, options)
    return Found(figures, lines)


def _language(figures: dict[str, Any], lines: list[str], arms: Mapping[str, Played], models: Sequence[Model], options: Options) -> None:
    """Loss on plain text of the local models, and KL of the first model from the second, where both are."""
    local = {name: m for name, m in zip(arms, models, strict=True) if isinstance(m, LM)}
    if not local:
        return
    losses = {name: lm_loss(m, plain_texts(), m.tokenizer) for name, m in local.items()}
    figures["tax"] = {"lm_loss": stats.as_json(losses)}
    lines.append("loss on plain text of town: " + ", ".join(f"{n} {f.mean:.3f}" for n, f in losses.items()) + " nats a token")
    if len(local) < 2 or options.temperature != 1:
        return
    mine, theirs = local.values()
    if mine.tokenizer.vocab_size == theirs.tokenizer.vocab_size:
        played = next(iter(arms.values()))
        kl = stats.mean(sequence_kl(played.prompts, played.replies, theirs, mine.tokenizer))
        figures["kl"] = kl.json()
        lines.append(f"KL from {list(local)[1]}: {kl} (nats per sequence, own samples at temperature 1, untruncated)")


def on_file(model: Model, other: Model | None, options: Options) -> Found:
    """Held-out rows of a file, by their kind."""
    rows = open_rows(options.on, skip_bad=options.skip_bad)
    if options.reward:
        asked = [row if isinstance(row, Prompt) else Prompt(row.context) for row in rows]
        return Found(*scored(model, other, asked, sources.reward(options.reward), options.sampling))
    if rows.kind is Prompt and (other is None or not options.judge):
        raise UserError(
            "prompts alone say nothing of a reply's worth", "Give --reward, or --against and --judge, or a file of comparisons."
        )
    if options.judge or not isinstance(model, LM) or not (other is None or isinstance(other, LM)):
        judge = ModelJudge(sources.answerer(options.judge)) if options.judge else None
        figures, lines = generated(model, other, list(rows), options.sampling, judge)
        return Found({**figures, **({"judge": options.judge} if judge else {})}, lines)
    plan = Feed(skip_bad=options.skip_bad).plan(rows, rows.kind, model)  # cut as training would cut it
    assert isinstance(plan, Plan)  # prompts went another way above
    if rows.kind is Comparison:
        found = preference_accuracy(model, plan[:], other)
        if options.train:
            found["bag of words"] = bag_of_words(list(open_rows(options.train, Comparison, skip_bad=options.skip_bad)), list(rows))
        lines = [f"preference accuracy, {f}   {n}" for n, f in found.items()]
        return Found({"accuracy": stats.as_json(found), "cut": dict(plan.counts)}, [*lines, "chance: 0.500", *plan.summary()])
    if rows.kind is Demo:
        return _likelihood(model, other, plan)
    raise UserError(f"{options.on} holds {rows.kind.__name__.lower()}s", "eval reads comparisons, demonstrations or prompts.")


def _likelihood(model: LM, other: LM | None, plan: Plan) -> Found:
    groups = plan[:]
    lengths = np.array([len(g.completions[0]) for g in groups])
    figures: dict[str, Any] = {}
    per_row: list[np.ndarray] = []
    for lm in (model, other):
        if lm is not None:
            nll = -sums(lm, groups)[:, 0]
            per_row.append(nll / lengths)
            name = lm.name if lm.name not in figures else "against"
            figures[name] = {"nll": stats.mean(nll / lengths).json(), "perplexity": float(np.exp(nll.sum() / lengths.sum()))}
    lines = [
        f"{n}: {f['nll']['mean']:.4f} nats a token (mean over rows), perplexity {f['perplexity']:.2f} (over all tokens)"
        for n, f in figures.items()
    ]
    found: dict[str, Any] = {"likelihood": figures, "cut": dict(plan.counts)}
    if len(per_row) == 2:
        gap = stats.difference(per_row[0], per_row[1])
        found["difference"] = gap.json()
        lines.append(f"difference in nats a token {gap.signed()}")
    return Found(found, [*lines, *plan.summary()])


@dataclass(frozen=True)
class Difference:
    """What `compare` finds; prints as `+0.31 [0.24, 0.38], n=512`."""

    figure: Figure
    win_rate: Figure

    def __str__(self) -> str:
        f = self.figure
        return f"{f.mean:+.2f} [{f.lo:.2f}, {f.hi:.2f}], n={f.n}"


def compare(model: Model | str, against: Model | str, *, on: str = "town", prompts: int = 512, seed: int = 0) -> Difference:
    """Paired difference of `model` and `against` in gold utility on held-out prompts of town ("town", "town-open")."""
    found = evaluate(model, against, Options(on=on, prompts=prompts, seed=seed)).figures
    if "win_rate" not in found:
        raise UserError(f"nothing is paired on {on}", 'Compare on "town" or "town-open", or use evaluate().')
    return Difference(Figure(**found["difference"]), Figure(**found["win_rate"]))


def write(found: Found, out: Path, asked: dict[str, Any]) -> None:
    """Append to `out`/evals.jsonl, which reports read."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / "evals.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"asked": asked, "figures": found.figures, "lines": found.lines}, ensure_ascii=False) + "\n")
