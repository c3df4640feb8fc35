"""`plumbline eval M --on FILE` by what M writes: for endpoints, which give no log-probabilities of given text, and for judges.

M answers the file's prompts.   Of its replies are known their length and how many were cut; with a judge, how often they win, against
the other model's replies or, without one, against those in the file (of a comparison the better, of a demonstration its completion).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from plumbline.core.errors import UserError
from plumbline.core.interfaces import Judge, Model
from plumbline.core.nouns import Ask, Comparison, Demo, Feedback, Prompt, Reply, Sampling
from plumbline.evals import stats
from plumbline.evals.judge import judged_win_rate

NOTE = "an endpoint gives no log-probabilities of given text: --judge adds a win rate, --reward a score"


def generated(
    model: Model, other: Model | None, items: Sequence[Feedback | Prompt], sampling: Sampling, judge: Judge | None = None
) -> tuple[dict[str, Any], list[str]]:
    """Figures and lines."""
    prompts = [item if isinstance(item, Prompt) else Prompt(item.context) for item in items]
    models = {"model": model} if other is None else {"model": model, "against": other}
    replies = {name: m.answer([Ask(m.name, p.context, sampling) for p in prompts]) for name, m in models.items()}
    written = [] if other is not None else [Reply(text) for item in items if (text := best(item))]
    if written:
        replies["file"] = written
    words = {name: stats.mean([float(len(r.text.split())) for r in said]) for name, said in replies.items()}
    cut = {name: sum(r.finish == "length" for r in replies[name]) / len(prompts) for name in models}
    figures: dict[str, Any] = {"words": stats.as_json(words), "cut": cut}
    lines = [f"{name}: {words[name].mean:.1f} words a reply, {cut[name]:.1%} cut at {sampling.max_tokens} tokens" for name in models]
    lines += [f"file: {words['file'].mean:.1f} words a reply"] if written else []
    if judge is None:
        return figures, [*lines, NOTE]
    against = "against" if other is not None else "file"
    if len(replies.get(against, [])) != len(prompts):
        raise UserError("a judge compares two replies, but not every row holds one", "Give --against, or comparisons or demonstrations.")
    rate = judged_win_rate(judge, prompts, replies["model"], replies[against])
    return {**figures, "win_rate": rate.json()}, [*lines, f"win rate over {against}, both orders averaged: {rate}"]


def best(item: Feedback | Prompt) -> str:
    """The reply that a row holds up as good; none of labels and ratings, which also judge bad ones."""
    if isinstance(item, Comparison):
        return item.completions[0 if item.preference >= 0.5 else 1]
    return item.completion if isinstance(item, Demo) else ""
