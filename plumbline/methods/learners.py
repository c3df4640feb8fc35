"""How `sea` learns from a round's duels: the policy by any loss of comparisons, and the heads from their replay.

    XPO     L + α log π(y'|x),   y' the reference's reply: what the reference says grows less likely, so that others are tried

Xie et al. 2024, arXiv 2405.21046, alg. 1.   The losses are those of dpo, ipo and slic, whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from plumbline.core.batches import Batch
from plumbline.core.errors import UserError
from plumbline.core.interfaces import Sampler
from plumbline.core.methods import Step, Steps
from plumbline.methods.dpo import dpo
from plumbline.methods.ipo import ipo
from plumbline.methods.slic import slic


@dataclass(frozen=True)
class Learn:
    """How the policy learns.   `loss`: that of dpo, ipo or slic.   `beta`: of dpo.   `tau`: of ipo.   `delta`: of slic.

    `xpo`: α of XPO's own term.   `passes`: over a round's duels.   `minibatches`: updates of a pass.
    """

    loss: Literal["dpo", "ipo", "slic"] = "dpo"
    beta: float = 0.1
    tau: float = 0.1
    delta: float = 1.0
    xpo: float = 5e-6
    passes: int = 1
    minibatches: int = 1

    def __post_init__(self) -> None:
        if self.loss not in ("dpo", "ipo", "slic") or min(self.passes, self.minibatches) < 1 or self.xpo < 0:
            raise UserError(f"sea: {self}", "loss is dpo, ipo or slic; passes and minibatches are at least 1, xpo at least 0.")

    def steps(self, policy: Sampler, reference: Sampler, batch: Batch) -> Steps:
        """The steps of the method that is named, on one batch."""
        if self.loss == "dpo":
            return dpo(policy, reference, [batch], beta=self.beta)
        return ipo(policy, reference, [batch], tau=self.tau) if self.loss == "ipo" else slic(policy, [batch], delta=self.delta)


@dataclass(frozen=True)
class Fit:
    """How heads learn.   `updates`: of a round.   `duels`: of the replay in each.   `pull`: how strongly each is held where it began."""

    updates: int = 5
    duels: int = 128
    pull: float = 1.0

    def __post_init__(self) -> None:
        if min(self.updates, self.duels) < 1 or self.pull < 0:
            raise UserError(f"sea: {self}", "updates and duels are at least 1, pull at least 0.")


LEARN, FIT = Learn(), Fit()


def optimism(policy: Sampler, batch: Batch, alpha: float) -> Steps:
    """+ α log π of the reference's reply (the second arm), which the update makes less likely."""
    for part in batch.parts():
        logp_N = part.sum(policy.token_logps(part)).flatten()
        yield Step(alpha * part.per_example((logp_N * part.column("second_arm", like=logp_N)).view(-1, 2).sum(1)), update=policy)
