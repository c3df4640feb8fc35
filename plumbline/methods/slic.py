"""Sequence likelihood calibration with human feedback: the preferred is likelier by a margin, and what was demonstrated stays likely.

    L = max(0, δ − log π(y⁺) + log π(y⁻)) − λ log π(y_ref)

Zhao et al. 2023, arXiv 2305.10425, eq. 1.   There is no reference model: the second term holds the policy.   y_ref is a demonstration
there (or the best of the candidates); here it is the preferred completion, which every comparison brings.   Of a tie nothing is learned.
"""

from __future__ import annotations

from plumbline.core.batches import Batches
from plumbline.core.errors import UserError
from plumbline.core.interfaces import Policy
from plumbline.core.methods import Step, Steps, method
from plumbline.core.nouns import Comparison
from plumbline.losses.preference import slic_loss


@method(data=Comparison, paper="Zhao et al. 2023, arXiv 2305.10425, eq. 1")
def slic(policy: Policy, data: Batches, *, delta: float = 1.0, nll: float = 0.1) -> Steps:
    """Align `policy` to comparisons: `delta` is the margin in nats, `nll` weighs the likelihood of the preferred."""
    if delta <= 0 or nll < 0:
        raise UserError(f"slic: delta is {delta}, nll is {nll}", "delta must be above 0, nll at least 0.")
    for batch in data:
        for part in batch.pairs():
            logp_G2 = part.sum(policy.token_logps(part))
            p_G = part.column("preference", like=logp_G2)
            loss_G, margin_G = slic_loss(logp_G2, delta=delta, preference_N=p_G)
            held_G = (2 * p_G - 1).clamp(min=0)
            loss = part.per_example(loss_G) + nll * part.per_example(-held_G * logp_G2[:, 0])
            yield Step(loss, update=policy, metrics={"margin": margin_G, "accuracy": part.agrees(margin_G)})
