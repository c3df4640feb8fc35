"""Proximal policy optimisation: a critic says what went better than expected, and a clip holds each round's updates near its samples.

    r_t = [t is the last] (score − missing_end · cut) − β log (π/ref)(y_t)                     Ziegler et al. 2019, arXiv 1909.08593, eq. 2
    A   = GAE(r, V; γ, λ),   R = A + V,   then A is whitened over the tokens of the round       Schulman et al. 2016, arXiv 1506.02438
    L_π = −min(ρ A, clip(ρ, 1 ± ε) A),   ρ = π/π_sampled                                       Schulman et al. 2017, arXiv 1707.06347, eq. 7
    L_V = ½ max((V − R)², (V_old + clip(V − V_old, ±ε_V) − R)²)                                 OpenAI Baselines, ppo2

Policy and critic have an optimiser each.   π, ref and ρ are taken at the temperature of the samples.   Placed in the loss, the KL is
β ½ (log π/ref)², whose gradient at the samples is the KL's, and r has none.   β is held, or follows a target (`Kl`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from plumbline.core.batches import Part
from plumbline.core.errors import UserError
from plumbline.core.interfaces import Reward, Sampler, Scorer, Value
from plumbline.core.methods import State, Step, Steps, method
from plumbline.core.nouns import Prompt
from plumbline.core.rollouts import DRAW, Draw, Rollout, Rounds
from plumbline.losses import policy as losses
from plumbline.methods.ptx import PTX, Ptx


@dataclass(frozen=True)
class Kl:
    """The pull to the reference.   `coef`: its β.   `target`: nats per sequence that β adapts to, 0 holds β.   `place`: where it counts.

    β ← β (1 + 0.1 clip(kl/target − 1, ±0.2)) after each round: Ziegler et al. 2019, §2.2.
    """

    coef: float = 0.25
    target: float = 0.0
    place: Literal["reward", "loss"] = "reward"

    def __post_init__(self) -> None:
        if self.coef < 0 or self.target < 0 or (self.target and not self.coef) or self.place not in ("reward", "loss"):
            raise UserError(f"ppo: {self}", "coef and target are at least 0, with a target coef is above 0; place is reward or loss.")

    def adapted(self, coef: float, kl: float) -> float:
        """β of the next round, after one in which the KL was `kl` nats per sequence."""
        return coef * (1 + 0.1 * min(max(kl / self.target - 1, -0.2), 0.2)) if self.target else coef


@dataclass(frozen=True)
class Gae:
    """How far rewards reach back.   `gamma`: discount per token.   `lam`: 1 trusts the samples only, 0 the critic's next value only."""

    gamma: float = 1.0
    lam: float = 0.95

    def __post_init__(self) -> None:
        if not (0 <= self.gamma <= 1 and 0 <= self.lam <= 1):
            raise UserError(f"ppo: {self}", "gamma and lam are from 0 to 1.")


@dataclass(frozen=True)
class Clip:
    """How far a round may move things, inf: anywhere.   `ratio`: π/π_sampled of a token.   `value`: a value, in units of the reward."""

    ratio: float = 0.2
    value: float = 0.2

    def __post_init__(self) -> None:
        if not (self.ratio > 0 and self.value > 0):
            raise UserError(f"ppo: {self}", "ratio and value are above 0; inf does not clip.")


@method(data=Prompt, paper="Schulman et al. 2017, arXiv 1707.06347; of language Ziegler et al. 2019, arXiv 1909.08593")
def ppo(
    policy: Sampler,
    reference: Scorer,
    reward: Reward,
    value: Value,
    state: State,
    prompts: Rounds,
    *,
    kl: Kl = Kl(),
    gae: Gae = Gae(),
    clip: Clip = Clip(),
    ptx: Ptx = PTX,
    sampling: Draw = DRAW,
    passes: int = 1,
    minibatches: int = 8,
    missing_end: float = 0.0,
) -> Steps:
    """Raise what the reward likes: `kl` holds to the reference, `gae` spreads rewards over tokens, `clip` bounds the updates of a round.

    `ptx`: what demonstrations beside the prompts weigh.   `sampling`: how completions are drawn.   `passes`: over a round.
    `minibatches`: updates of a pass.   `missing_end`: taken from the score of a completion that was cut.
    """
    if min(passes, minibatches) < 1:
        raise UserError(f"ppo: passes is {passes}, minibatches is {minibatches}", "Give at least 1 of each.")
    if "coef" not in state.state_dict():
        state.coef = kl.coef  # a resumed run has it already
    for asked in prompts:
        rollout = asked.sample(policy, 1, sampling.plain)
        score_N = torch.tensor(rollout.score(reward), dtype=torch.float64)
        rollout.measure("reference", lambda part: reference.token_logps(part, temperature=sampling.temperature))
        rollout.measure("value", value.values)
        in_reward, in_loss = (state.coef * (kl.place == place) for place in ("reward", "loss"))
        explained = appraise(rollout, score_N, in_reward, gae, missing_end)
        for batch in rollout.batches(passes=passes, minibatches=minibatches):
            for part in batch.parts():
                logp_NT = policy.token_logps(part, temperature=sampling.temperature)
                sampled_NT, on_NT = part.span("sampled", logp_NT), part.mask(logp_NT) > 0
                advantage_NT = part.span("advantage", logp_NT)
                ratio_NT = (logp_NT - sampled_NT).masked_fill(~on_NT, 0.0).exp()
                loss_NT = losses.clipped(ratio_NT, advantage_NT, clip.ratio)
                metrics = {name: part.column(name, like=logp_NT) for name in part.columns}
                metrics |= {"ratio": ratio_NT[on_NT], "clip_fraction": (loss_NT > -ratio_NT * advantage_NT)[on_NT].float()}
                metrics |= {"entropy": -sampled_NT[on_NT]}  # an estimate, as each token was drawn from what it is the entropy of
                if in_loss:
                    loss_NT = loss_NT + in_loss * losses.k2((logp_NT - part.span("reference", logp_NT)).masked_fill(~on_NT, 0.0))
                metrics |= {"kl_coef": state.coef, "policy_loss": loss_NT[on_NT]}
                yield Step(part.per_token(loss_NT), update=policy, metrics=metrics)
                yield appraised(value, part, clip.value, explained)
            yield from ptx.steps(policy, rollout)
        state.coef = kl.adapted(state.coef, sum(rollout.columns["kl"]) / len(rollout.columns["kl"]))


def appraise(rollout: Rollout, score_N: torch.Tensor, coef: float, gae: Gae, missing_end: float) -> float:
    """Rewards, advantages and returns of the round's tokens; returns the share of the returns' variance that the critic foresaw."""
    whole = rollout.whole()
    like_NT = torch.zeros(whole.shape, dtype=torch.float64)
    mask_NT = whole.mask(like_NT)
    sampled_NT, reference_NT, value_NT = (whole.span(name, like_NT) for name in ("sampled", "reference", "value"))
    gap_NT = sampled_NT - reference_NT
    end_N = score_N - missing_end * (1 - whole.column("complete", like=like_NT))
    reward_NT = losses.at_end(end_N, mask_NT) - coef * losses.k1(gap_NT)
    advantage_NT, return_NT = losses.gae(reward_NT, value_NT, mask_NT, gamma=gae.gamma, lam=gae.lam)
    rollout.keep("advantage", losses.whiten(advantage_NT, mask_NT))
    rollout.keep("return", return_NT)
    rollout.keep("kl", losses.k1(gap_NT).sum(1))  # nats per sequence
    rollout.keep("kl_k3", losses.k3(gap_NT).sum(1))
    rollout.keep("reward", reward_NT.sum(1))
    return losses.explained_variance(value_NT, return_NT, mask_NT).item()


def appraised(value: Value, part: Part, clip: float, explained: float) -> Step:
    """The critic's step: towards the returns, no further than `clip` from what it said when the round began."""
    value_NT = value.values(part)
    old_NT, return_NT = part.span("value", value_NT), part.span("return", value_NT)
    loss_NT = losses.clipped_value_loss(value_NT, old_NT, return_NT, clip)
    metrics = {"value_loss": loss_NT[part.mask(value_NT) > 0], "explained_variance": explained}
    return Step(part.per_token(loss_NT), update=value, metrics=metrics)
