"""Log-probabilities of given text under a model, without gradient: what every evaluation that needs no sampling reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from plumbline.core.batches import Batch, Group, Part
from plumbline.core.interfaces import Tokenizer
from plumbline.core.nouns import Prompt, Reply
from plumbline.evals import stats
from plumbline.evals.stats import Figure

MICRO_TOKENS = 8192


class Scorer(Protocol):
    """A model that gives (N, T) nats of a part's completions, 0 beyond their ends."""

    def token_logps(self, scored: Part) -> Tensor: ...


def sums(model: Scorer, groups: Sequence[Group], *, micro_tokens: int = MICRO_TOKENS) -> NDArray[np.float64]:
    """(G, K) nats of whole completions, in the order of `groups`."""
    rows: dict[int, NDArray[np.float64]] = {}
    with torch.no_grad():
        for part in Batch(groups, micro_tokens=micro_tokens).parts():
            logp_GK = part.sum(model.token_logps(part)).double().cpu().numpy()
            rows.update({id(g): row for g, row in zip(part.groups, logp_GK, strict=True)})
    return np.stack([rows[id(g)] for g in groups])


def sequence_kl(prompts: Sequence[Prompt], replies: Sequence[Reply], reference: Scorer, tokenizer: Tokenizer) -> NDArray[np.float64]:
    """(P,) log π(y|x) − log ref(y|x) of replies that π drew at temperature 1, untruncated; its mean estimates KL(π‖ref).

    Nats per sequence.   π's own part are the replies' `raw_logps`; empty replies count as 0.
    """
    spoken = [i for i, r in enumerate(replies) if r.ids]
    groups = [Group(tuple(tokenizer.context_ids(prompts[i].context)), (replies[i].ids,)) for i in spoken]
    gap_P = np.zeros(len(replies))
    if groups:
        gap_P[spoken] = np.array([sum(replies[i].raw_logps) for i in spoken]) - sums(reference, groups)[:, 0]
    return gap_P


def lm_loss(model: Scorer, texts: Sequence[str], tokenizer: Tokenizer) -> Figure:
    """Mean over raw texts of −log p per token, in nats: what is left of the model as a model of language."""
    groups = []
    for text in texts:
        ids = tokenizer.context_ids(text)
        if len(ids) > 1:
            groups.append(Group(tuple(ids[:1]), (tuple(ids[1:]),)))
    lengths = np.array([len(g.completions[0]) for g in groups])
    return stats.mean(-sums(model, groups)[:, 0] / lengths)
