"""Direct preference optimisation: raise chosen over rejected, relative to a frozen reference.

    L = −log σ(β[(log π − log ref)(y⁺) − (log π − log ref)(y⁻)])  −  nll · log π(y⁺) / |y⁺|

Rafailov et al. 2023, arXiv 2305.18290, eq. 7.   Log-probabilities are sums over a completion.   The second term (0 = off)
keeps chosen completions likely, as in Pang et al. 2024, arXiv 2404.19733; its mean is over the chosen tokens of the batch.
A stated preference p (a tie is ½) weighs both orders, and the second term by 2p − 1: of a tie nothing is chosen.
"""

from __future__ import annotations

from plumbline.core.batches import Batches
from plumbline.core.errors import UserError
from plumbline.core.interfaces import Policy, Scorer
from plumbline.core.methods import Step, Steps, method
from plumbline.core.nouns import Comparison
from plumbline.losses.preference import dpo_loss


@method(data=Comparison, paper="Rafailov et al. 2023, arXiv 2305.18290")
def dpo(policy: Policy, reference: Scorer, data: Batches, *, beta: float = 0.1, nll: float = 0.0) -> Steps:
    """Align `policy` to comparisons: `beta` pulls to the reference, `nll` weighs the likelihood of the chosen completion."""
    if beta <= 0 or nll < 0:
        raise UserError(f"dpo: beta is {beta}, nll is {nll}", "beta must be above 0 (below it, training runs in reverse), nll at least 0.")
    for batch in data:
        for part in batch.pairs():
            logp_NT = policy.token_logps(part)
            logp_G2, ref_G2 = part.sum(logp_NT), part.sum(reference.token_logps(part))
            p_G = part.column("preference", like=logp_G2)
            loss_G, margin_G = dpo_loss(logp_G2, ref_G2, beta=beta, preference_N=p_G)
            sure_G = (2 * p_G - 1).clamp(min=0)  # of a tie neither is chosen: it may be two bad replies, and neither is to be learned
            loss = part.per_example(loss_G) + nll * part.per_token(-sure_G[:, None] * part.first(logp_NT))  # two units, two totals
            chosen_G, rejected_G = (beta * (logp_G2 - ref_G2)).unbind(1)
            metrics = {"margin": margin_G, "accuracy": part.agrees(margin_G), "chosen_reward": chosen_G, "rejected_reward": rejected_G}
            yield Step(loss, update=policy, metrics=metrics)
