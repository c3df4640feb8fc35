"""A choice among stated answers: their probabilities under the model, and one of them drawn.

    p_i ∝ exp( Σ_t log π(token_t of answer i) / τ )        τ = 0: probabilities at τ = 1, and the most probable is chosen

Where one answer's tokens begin another's, all are scored with their EOS, else the shorter could never lose.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch

from plumbline.core.batches import Group
from plumbline.core.errors import UserError
from plumbline.core.interfaces import Tokenizer
from plumbline.core.nouns import Ask, Reply
from plumbline.models import draw, noise


class Scores(Protocol):
    """What is needed of an `LM`: its tokenizer and the kernel."""

    @property
    def tokenizer(self) -> Tokenizer: ...
    def token_logps(self, scored: Any, *, temperature: float = 1.0) -> torch.Tensor: ...


def _group(tokenizer: Tokenizer, ask: Ask) -> Group:
    """The context with the stated answers as its completions."""
    if len(set(ask.choices)) < len(ask.choices):
        raise UserError(f"an ask states the same answer twice: {ask.choices}", "State each answer once.")
    ids = [tokenizer.completion_ids(ask.context, c, complete=False) for c in ask.choices]
    nested = any(i != j and a == b[: len(a)] for i, a in enumerate(ids) for j, b in enumerate(ids))
    if nested:
        ids = [tokenizer.completion_ids(ask.context, c, complete=True) for c in ask.choices]
    if not all(ids):
        raise UserError(f"a stated answer has no tokens: {ask.choices}", "State answers of at least one token.")
    return Group(tuple(tokenizer.context_ids(ask.context)), tuple(map(tuple, ids)))


def choose(lm: Scores, asks: Sequence[Ask]) -> list[Reply]:
    """One reply per ask, `finish="choice"`, with the probabilities of its stated answers."""
    for ask in asks:
        draw.check(ask.sampling)
    groups = [_group(lm.tokenizer, ask) for ask in asks]
    with torch.no_grad():
        logp_NT = lm.token_logps(groups).double().cpu()
    replies, at = [], 0
    seen: dict[tuple[int, tuple[int, ...]], int] = {}
    for ask, group in zip(asks, groups, strict=True):
        rows = [logp_NT[at + k, : len(c)].tolist() for k, c in enumerate(group.completions)]
        at += len(rows)
        place = (ask.sampling.seed, group.prompt)
        seen[place] = seen.get(place, -1) + 1
        replies.append(_reply(ask, group, rows, noise.stream_key(*place, seen[place], "choice")))
    return replies


def _reply(ask: Ask, group: Group, rows: list[list[float]], key: int) -> Reply:
    tau = ask.sampling.temperature
    score = torch.tensor([sum(r) for r in rows], dtype=torch.float64) / (tau or 1.0)
    probability = score.softmax(0)
    drawn = score + noise.gumbels(np.array([key], dtype=np.uint64), 0, len(rows))[0] if tau else score
    best = int(drawn.argmax())
    return Reply(
        text=ask.choices[best],
        ids=group.completions[best],
        logps=tuple(rows[best]),
        raw_logps=tuple(rows[best]),
        finish="choice",
        choice_probs=tuple(probability.tolist()),
    )
