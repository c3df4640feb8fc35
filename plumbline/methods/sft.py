"""Supervised fine-tuning: make demonstrated completions likely, token by token.

    L = −Σ_t log π(y_t | x, y_<t) / (completion tokens of the batch)

The prompt is read and never trained on.   The mean is over the tokens of the whole optimiser batch, so a long
demonstration weighs more than a short one.
"""

from __future__ import annotations

from plumbline.core.batches import Batches
from plumbline.core.interfaces import Policy
from plumbline.core.methods import Step, Steps, method
from plumbline.core.nouns import Demo


@method(data=Demo, paper="Ouyang et al. 2022, arXiv 2203.02155, step 1")
def sft(policy: Policy, data: Batches) -> Steps:
    """Fine-tune `policy` on demonstrations."""
    for batch in data:
        for part in batch.parts():
            logp_NT = policy.token_logps(part)
            yield Step(part.per_token(-logp_NT), update=policy, metrics={"nll": -logp_NT[part.mask(logp_NT) > 0]})
