"""Identity preference optimisation: regress the preference margin on a constant, so that a sure preference can stay with the reference.

    L = (h − (2p − 1)/(2τ))²,   h = mean_t log (π/ref)(y⁺_t) − mean_t log (π/ref)(y⁻_t),   p = 1 of a preference, ½ of a tie

Azar et al. 2023, arXiv 2310.12036, eq. 17.   There log-probabilities are sums; the means over tokens are what its authors recommend for
language, as 1/(2τ) would ask the same of a long reply as of a short one.   p is not there either: it is the label's expectation.
"""

from __future__ import annotations

from plumbline.core.batches import Batches
from plumbline.core.errors import UserError
from plumbline.core.interfaces import Policy, Scorer
from plumbline.core.methods import Step, Steps, method
from plumbline.core.nouns import Comparison
from plumbline.losses.preference import ipo_loss


@method(data=Comparison, paper="Azar et al. 2023, arXiv 2310.12036, eq. 17")
def ipo(policy: Policy, reference: Scorer, data: Batches, *, tau: float = 0.1) -> Steps:
    """Align `policy` to comparisons: `tau` pulls to the reference, the margin that is aimed at is 1/(2 tau) nats a token."""
    if tau <= 0:
        raise UserError(f"ipo: tau is {tau}", "Give a number above 0.")
    for batch in data:
        for part in batch.pairs():
            logp_G2, ref_G2 = (part.mean(model.token_logps(part)) for model in (policy, reference))
            loss_G, margin_G = ipo_loss(logp_G2, ref_G2, tau=tau, preference_N=part.column("preference", like=logp_G2))
            yield Step(part.per_example(loss_G), update=policy, metrics={"margin": margin_G, "accuracy": part.agrees(margin_G)})
