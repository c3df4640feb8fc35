"""Kahneman–Tversky optimisation: thumbs instead of comparisons; a gain is felt from where the model stands, a loss too.

    g = log (π/ref)(y|x)        z = max(0, mean over the batch of log (π/ref)(y'|x)),   y' the completion of another prompt of it
    v = λ_D σ(β(g − z)) if y is desirable, λ_U σ(β(z − g)) if it is not              L = mean of λ_y − v

Ethayarajh et al. 2024, arXiv 2402.01306, eq. 8 and §4.1.   z is a biased estimate of KL(π‖ref) and is not part of the gradient.   The
paper holds λ_D n_D / λ_U n_U within [1, 3/2] (§4.2 of v4; 4/3 in the first versions): `ratio` is that, whatever the counts of thumbs are.
"""

from __future__ import annotations

import torch

from plumbline.core.batches import Batch, Batches
from plumbline.core.errors import UserError
from plumbline.core.interfaces import Policy, Scorer
from plumbline.core.methods import Step, Steps, method
from plumbline.core.nouns import Label, Tally
from plumbline.losses.thumbs import kto_loss


@method(data=Label, paper="Ethayarajh et al. 2024, arXiv 2402.01306, eq. 8")
def kto(policy: Policy, reference: Scorer, tally: Tally, data: Batches, *, beta: float = 0.1, ratio: float = 1.0) -> Steps:
    """Align `policy` to thumbs: `beta` pulls to the reference, `ratio` is how much the desirable weigh in all over the undesirable."""
    if beta <= 0 or not 1 <= ratio <= 1.5:
        raise UserError(f"kto: beta is {beta}, ratio is {ratio}", "beta must be above 0, ratio from 1 to 1.5.")
    for batch in data:
        up, down = weights(tally, ratio)
        point = felt_from(policy, reference, batch)
        for part in batch.parts():
            logp_N, ref_N = (part.sum(model.token_logps(part))[:, 0] for model in (policy, reference))
            gain_N, good_N = logp_N - ref_N, part.column("desirable", like=logp_N)
            weight_N = down + (up - down) * good_N
            loss_N, value_N = kto_loss(gain_N, good_N, point, beta=beta, weight_N=weight_N)
            metrics = {"value": value_N, "kl": point, "desirable_gain": gain_N[good_N > 0], "undesirable_gain": gain_N[good_N == 0]}
            yield Step(part.per_example(loss_N), update=policy, metrics={**metrics, "accuracy": ((gain_N > point) == (good_N > 0)).float()})


def weights(tally: Tally, ratio: float) -> tuple[float, float]:
    """(λ_D, λ_U): the rarer thumb is raised until λ_D n_D = ratio · λ_U n_U; the other's is 1."""
    if not (tally.desirable and tally.undesirable):
        return 1.0, 1.0  # with one kind alone there is nothing to balance
    raised = ratio * tally.undesirable / tally.desirable
    return (raised, 1.0) if raised >= 1 else (1.0, 1 / raised)


@torch.no_grad()
def felt_from(policy: Scorer, reference: Scorer, batch: Batch) -> float:
    """z in nats: what π gains over ref on completions that answer other prompts, over the whole batch, never below 0.

    A batch of one has no other prompt: 0.
    """
    if len(batch.groups) < 2:
        return 0.0
    gaps = [part.sum(policy.token_logps(part) - reference.token_logps(part))[:, 0] for part in batch.mismatched().parts()]
    return max(0.0, float(batch.mean(torch.cat(gaps))))
