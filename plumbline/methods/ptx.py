"""Demonstrations beside an online method's updates, so that what people showed is not forgotten for what a reward likes.

    L = L_online − γ E_{(x, y) ∼ demonstrations} log π(y | x)           Ouyang et al. 2022, arXiv 2203.02155, eq. 2 (PPO-ptx)

There the rows are pretraining text; here they are what the run has beside its prompts: in `rlhf` demonstrations and preferred replies.
"""

from __future__ import annotations

from dataclasses import dataclass

from plumbline.core.errors import UserError
from plumbline.core.interfaces import Policy
from plumbline.core.methods import Step, Steps
from plumbline.core.rollouts import Rollout


@dataclass(frozen=True)
class Ptx:
    """What demonstrations beside the prompts weigh.   `coef`: γ, per token, 0 leaves them out.   `rows`: how many join each update."""

    coef: float = 1.0
    rows: int = 8

    def __post_init__(self) -> None:
        if self.coef < 0 or self.rows < 1:
            raise UserError(f"ppo: {self}", "coef is at least 0, rows at least 1.")

    def steps(self, policy: Policy, rollout: Rollout) -> Steps:
        """The part of an update that demonstrations have; nothing where the run has none."""
        for part in rollout.demonstrations(self.rows).parts() if self.coef else ():
            logp_NT = policy.token_logps(part)
            yield Step(self.coef * part.per_token(-logp_NT), update=policy, metrics={"ptx_nll": -logp_NT[part.mask(logp_NT) > 0]})


PTX = Ptx()
