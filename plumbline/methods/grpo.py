"""Group-relative policy optimisation: a completion is as good as it scores above the others of its prompt.   No critic.

    A_i = (r_i − mean r) / std r  over the group of i                          Shao et al. 2024, arXiv 2402.03300, §4.1
    L   = Σ_it [−min(ρ_it A_i, clip(ρ_it, 1 ± ε) A_i) + β k3_it] / Σ_it 1,     ρ = π/π_sampled,   k3 estimates KL(π‖ref)

The mean is over the tokens of the whole batch, so that a long completion's tokens weigh no less, and the KL is off unless it is asked
for: both as in DAPO (Yu et al. 2025, arXiv 2503.14476, §3.3 and §2.3).   `scale=False` is Dr. GRPO's advantage (arXiv 2503.20783).
"""

from __future__ import annotations

import torch

from plumbline.core.errors import UserError
from plumbline.core.interfaces import Reward, Sampler, Scorer
from plumbline.core.methods import Step, Steps, method
from plumbline.core.nouns import Prompt
from plumbline.core.rollouts import DRAW, Draw, Rounds
from plumbline.losses.policy import clipped, group_advantages, k3


@method(data=Prompt, paper="Shao et al. 2024, arXiv 2402.03300")
def grpo(
    policy: Sampler,
    reference: Scorer,
    reward: Reward,
    prompts: Rounds,
    *,
    group: int = 8,
    passes: int = 1,
    minibatches: int = 1,
    clip: float | tuple[float, float] = 0.2,
    kl: float = 0.0,
    scale: bool = True,
    missing_end: float = 0.0,
    sampling: Draw = DRAW,
) -> Steps:
    """Raise what scores above its group: `group` completions of each prompt.

    `passes`: over a round.   `minibatches`: updates of a pass.
    `clip`: how far a token's ratio to the policy that sampled it may push, or (down, up).   `kl`: weight of the KL to the reference,
    which is not read at 0.   `scale`: divide by the group's standard deviation.   `missing_end`: taken from the score of a
    completion that was cut.   `sampling`: how completions are drawn.
    """
    low, high = clip if isinstance(clip, tuple) else (clip, clip)
    if group < 2 or passes < 1 or minibatches < 1 or min(low, high) <= 0 or kl < 0:
        raise UserError("grpo: a setting is out of range", "group is at least 2, passes and minibatches 1; clip is above 0, kl at least 0.")
    for asked in prompts:
        rollout = asked.sample(policy, group, sampling.plain)
        score_N = torch.tensor(rollout.score(reward), dtype=torch.float64)
        cut_N = 1 - torch.tensor(rollout.columns["complete"], dtype=torch.float64)
        rollout.keep("advantage", group_advantages(score_N - missing_end * cut_N, rollout.sizes, scale=scale))
        if kl:
            rollout.measure("reference", lambda part: reference.token_logps(part, temperature=sampling.temperature))
        for batch in rollout.batches(passes=passes, minibatches=minibatches):
            for part in batch.parts():
                logp_NT = policy.token_logps(part, temperature=sampling.temperature)
                sampled_NT, on_NT = part.span("sampled", logp_NT), part.mask(logp_NT) > 0
                ratio_NT = (logp_NT - sampled_NT).masked_fill(~on_NT, 0.0).exp()
                advantage_N = part.column("advantage", like=logp_NT)
                loss_NT = clipped(ratio_NT, advantage_N, (low, high))
                metrics = {name: part.column(name, like=logp_NT) for name in part.columns if name != "advantage"}
                metrics |= {"ratio": ratio_NT[on_NT], "clip_fraction": (loss_NT > -ratio_NT * advantage_N[:, None])[on_NT].float()}
                metrics |= {"entropy": -sampled_NT[on_NT]}  # an estimate, as each token was drawn from what it is the entropy of
                if kl:
                    gap_NT = (logp_NT - part.span("reference", logp_NT)).masked_fill(~on_NT, 0.0)
                    loss_NT = loss_NT + kl * k3(gap_NT)
                    metrics["kl"] = (sampled_NT - part.span("reference", logp_NT)).sum(1)  # nats per sequence, before the updates
                yield Step(part.per_token(loss_NT), update=policy, metrics=metrics)
