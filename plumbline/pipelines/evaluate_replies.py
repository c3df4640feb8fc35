"""`plumbline eval M --on prompts --reward R`: what a reward gives the replies of one model or two, with what may have been paid for it.

score       of each component of the reward, by model; paired differences
tokens      of a reply; words where an endpoint gives no tokens
repeats     the share of a reply's runs of three words that stood in it before
kl          of the first model from the second where both are local and sampled as they are: nats per sequence
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from plumbline.core.interfaces import Model, Reward
from plumbline.core.nouns import Ask, Game, Prompt, Reply, Sampling, Turn
from plumbline.evals import stats
from plumbline.evals.logps import sequence_kl
from plumbline.evals.stats import Figure
from plumbline.models.lm import LM
from plumbline.pipelines.watched import repeats
from plumbline.rewards.items import fixed

Columns = dict[str, np.ndarray]


def scored(
    model: Model, other: Model | None, prompts: Sequence[Prompt], reward: Reward, sampling: Sampling
) -> tuple[dict[str, Any], list[str]]:
    """Figures and lines."""
    models = [m for m in (model, other) if m is not None]
    names = [m.name for m in models] if len({m.name for m in models}) == len(models) else ["model", "against"]
    replies = {name: m.answer([Ask(m.name, p.context, sampling) for p in prompts]) for name, m in zip(names, models, strict=True)}
    columns = {name: columns_of(reward, prompts, said, name) for name, said in replies.items()}
    table = {name: {what: stats.mean(x_P) for what, x_P in found.items()} for name, found in columns.items()}
    figures: dict[str, Any] = {"replies": stats.as_json(table)}
    lines = [f"{name}: {_said(found)}" for name, found in table.items()]
    if other is None:
        return figures, lines
    mine, theirs = columns.values()
    gaps = {what: stats.difference(mine[what], theirs[what]) for what in mine}
    figures["difference"] = stats.as_json(gaps)
    lines += [f"difference, {what}: {gap.signed()}" for what, gap in gaps.items()]
    if isinstance(model, LM) and isinstance(other, LM) and sampling.temperature == 1 and _alike(model, other):
        kl = stats.mean(sequence_kl(prompts, replies[names[0]], other, model.tokenizer))
        figures["kl"] = kl.json()
        lines.append(f"KL from {names[1]}: {kl} (nats per sequence, own samples at temperature 1, untruncated)")
    return figures, lines


def columns_of(reward: Reward, prompts: Sequence[Prompt], replies: Sequence[Reply], name: str) -> Columns:
    """(P,) of every component of the reward, their total where there are several, and what is watched beside them."""
    scores = fixed(reward)([Game((Turn(name, p.context, r),), item=p) for p, r in zip(prompts, replies, strict=True)])
    found: Mapping[str, Sequence[float]] = scores.components
    several = {"score": scores.total} if len(found) > 1 else {}
    watched = {"repeats": [repeats(r.text) for r in replies], "tokens": [float(len(r.ids) or len(r.text.split())) for r in replies]}
    return {what: np.asarray(x, dtype=np.float64) for what, x in {**found, **several, **watched}.items()}


def _alike(model: LM, other: LM) -> bool:
    return model.tokenizer.vocab_size == other.tokenizer.vocab_size


def _said(found: Mapping[str, Figure]) -> str:
    return "; ".join(f"{what} {figure}" for what, figure in found.items())
