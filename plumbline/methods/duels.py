"""Which two replies to ask about: strategies of one loop (`sea`), each a few lines.

    explore       a = argmax r_e,   b = argmax r_e' ≠ a                 heads e, e' drawn from the posterior      Thompson sampling
    best-arm      a = argmax r_e,   b = argmax_b Var_e σ(r_e(a) − r_e(b))                                        Thompson, then contrast
    uncertainty   (a, b) = argmax Var_e σ(r_e(a) − r_e(b))                                                       uncertainty sampling
    apl           of the prompts with the highest entropy, the pairs with the greatest |implicit reward gap|     active preference learning
    passive       two draws of the policy                                                                        online DPO and its like
    xpo           one draw of the policy, one of the reference                                                   exploratory preferences

Liu et al. 2024, arXiv 2411.01493, alg. 1: `explore` is for those who live with the answers, `best-arm` for those who pay for them.
APL is Muldrew et al. 2024 (2402.08114), XPO Xie et al. 2024 (2405.21046).   In shapes: E heads, K different replies to one prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Literal

from torch import Tensor

Pair = tuple[int, int]
Chooser = Callable[[Tensor, Random], Pair]
Strategy = Literal["explore", "best-arm", "uncertainty", "apl", "passive", "xpo"]


# -- by the beliefs of the heads


def win_variance(reward_EK: Tensor) -> Tensor:
    """(K, K) Var_e σ(r_e(a) − r_e(b)): how much the heads differ about who wins."""
    return (reward_EK[:, :, None] - reward_EK[:, None, :]).sigmoid().var(0, unbiased=False)


def explore(reward_EK: Tensor, chance: Random) -> Pair:
    """The favourites of two heads: heads are drawn until a second one has another favourite; if none has, any other reply."""
    best_E = reward_EK.argmax(1).tolist()
    order = chance.sample(best_E, len(best_E))
    others = [k for k in order if k != order[0]] or [chance.choice([k for k in range(reward_EK.shape[1]) if k != order[0]])]
    return order[0], others[0]


def best_arm(reward_EK: Tensor, chance: Random) -> Pair:
    """A head's favourite, and whoever it is least known to beat."""
    first = chance.choice(reward_EK.argmax(1).tolist())
    doubt_K = win_variance(reward_EK)[first]
    doubt_K[first] = -1.0
    return first, int(doubt_K.argmax())


def uncertainty(reward_EK: Tensor, chance: Random) -> Pair:
    """The pair whose winner is least known; where heads agree about all of them, any two."""
    doubt_KK = win_variance(reward_EK)
    first, second = divmod(int(doubt_KK.argmax()), len(doubt_KK))
    return (first, second) if first != second else believed(reward_EK, chance)


def believed(reward_EK: Tensor, chance: Random) -> Pair:
    """Best and worst as one head sees them: what the model would say without asking anyone."""
    reward_K = reward_EK[chance.randrange(len(reward_EK))]
    best, worst = int(reward_K.argmax()), int(reward_K.argmin())
    return (best, worst) if best != worst else (0, 1)


BY_BELIEF: dict[str, Chooser] = {"explore": explore, "best-arm": best_arm, "uncertainty": uncertainty}
SPEAKS_FOR_ITSELF = ("explore", "best-arm")  # what may label a share of its duels by its own belief


# -- by likelihoods


def apl(entropy_G: Sequence[float], gain_GK: Sequence[Sequence[float]]) -> list[tuple[int, Pair]]:
    """Half of the prompts, those with the highest entropy; of these the half on which β log π/ref of two replies differs most.

    `gain_GK`: log π/ref of each reply.   Out: prompt, and its most and least likely reply by that.
    """
    uncertain = sorted(range(len(entropy_G)), key=lambda g: -entropy_G[g])[: -(-len(entropy_G) // 2)]
    pairs = {g: _extremes(gain_GK[g]) for g in uncertain}
    gap = {g: gain_GK[g][a] - gain_GK[g][b] for g, (a, b) in pairs.items()}
    kept = sorted(uncertain, key=lambda g: -gap[g])[: -(-len(uncertain) // 2)]
    return [(g, pairs[g]) for g in sorted(kept)]


def _extremes(x_K: Sequence[float]) -> Pair:
    best, worst = (pick(range(len(x_K)), key=lambda k: x_K[k]) for pick in (max, min))
    return (best, worst) if best != worst else (0, 1)
