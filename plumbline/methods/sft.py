"""Supervised fine-tuning: make demonstrated completions likely, token by token.

    L = −Σ_t log π(y_t | x, y_<t) / (completion tokens of the batch)

The prompt is read and never trained on.   The mean is over the tokens of the whole optimiser batch, so a long
demonstration weighs more than a short one.
"""

from __future__ import annotations

from plumbline.core.batches import Batches
from plumbline.core.errors import UserError
from plumbline.core.interfaces import Droppable, Policy, Scorer
from plumbline.core.methods import Step, Steps, method
from plumbline.core.nouns import Demo


@method(data=Demo, paper="Ouyang et al. 2022, arXiv 2203.02155, step 1")
def sft(policy: Policy, data: Batches, *, dropout: float = 0.0) -> Steps:
    """Fine-tune `policy` on demonstrations: `dropout` is the share of activations dropped in training, never in evaluation."""
    if not 0 <= dropout < 1:
        raise UserError(f"sft: dropout is {dropout}", "Give a share from 0 to below 1.")
    for batch in data:
        speaker = dropping(policy, dropout) if dropout else policy
        for part in batch.parts():
            logp_NT = speaker.token_logps(part)
            yield Step(part.per_token(-logp_NT), update=policy, metrics={"nll": -logp_NT[part.mask(logp_NT) > 0]})


def dropping(policy: Policy, share: float) -> Scorer:
    """The policy with dropout, if it has any."""
    if not isinstance(policy, Droppable):
        raise UserError(f"a {type(policy).__name__} has no dropout", "Leave dropout at 0.")
    return policy.dropping(share)
