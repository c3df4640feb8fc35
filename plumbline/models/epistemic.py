"""A reward that knows what it does not know: many small heads on frozen features, each begun elsewhere and held near where it began.

    r_e(x, y) = f(φ(x, y); θ_e) + prior · f(φ(x, y); θ̃_e)          e = 1 … E,   f an MLP of two hidden layers, θ̃_e never trained
    L_e       = mean_i −log σ(r_e(y⁺_i) − r_e(y⁻_i)) + (pull/n) Σ_w ½ fan_in ‖w − w⁰_e‖²

Liu et al. 2024, arXiv 2411.01493, §4.2: 20 heads of 2 × 128, fitted online to a replay of n labelled duels, each pulled to where it
began.   A head is then about a draw from the posterior: where it begins is a draw from the prior N(·, 1/fan_in), and n·L_e is its negative
log density (Pearce et al. 2020, arXiv 1810.05546).   The untrained network besides is Osband et al. 2018, arXiv 1806.03335: off the data,
where nothing moves f, heads go on to differ.   φ is what a frozen model makes of a completion (`read_by`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from random import Random
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plumbline.core.batches import Group
from plumbline.core.errors import UserError
from plumbline.losses.reward import bradley_terry_loss
from plumbline.models.lm import LM

UNIT = 8.0  # a power of two: nothing is rounded
TOLD = 2  # features beside the state
Read = Callable[[Sequence[Group]], Tensor]


@final
class Epistemic:
    """`heads` rewards of `hidden` units twice, on features of `width` numbers; `prior` scales the networks that are never trained.

    `read` gives features of groups, a row per completion.   `capacity`: duels that the replay holds; the oldest leave it.
    Parameters are eighths of what they make, so that a learning rate that suits a policy's weights (1e-4) moves heads by about 1e-3.
    """

    def __init__(
        self,
        read: Read,
        width: int,
        *,
        heads: int = 20,
        hidden: int = 128,
        prior: float = 1.0,
        capacity: int = 10_000,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        if heads < 2 or hidden < 1 or prior < 0 or capacity < 1:
            raise ValueError(f"two heads at least, and numbers above 0: {heads} heads of {hidden}, prior {prior}, capacity {capacity}")
        self.read, self.sizes, self.heads = read, (width, hidden, hidden, 1), heads
        self.prior, self.capacity, self.device = prior, capacity, torch.device(device)
        self.seed = seed
        self._draw(seed)
        self.weights = [nn.Parameter(w / UNIT) for w in self.initial]
        self.pairs_R2H = torch.zeros(0, 2, width, device=self.device)
        self.preference_R = torch.zeros(0, device=self.device)

    @classmethod
    def on(cls, lm: LM, *, heads: int = 20, hidden: int = 128, prior: float = 1.0, capacity: int = 10_000, seed: int = 0) -> Epistemic:
        """Heads on the last states of `lm`, which must not be trained: features of the replay are never read again."""
        if lm.trainable:
            raise ValueError("the features are those of a frozen model: pass `lm.frozen()`")
        how = {"heads": heads, "hidden": hidden, "capacity": capacity, "seed": seed}
        return cls(read_by(lm), lm.body.width + TOLD, prior=prior, device=lm.device, **how)

    def _draw(self, seed: int) -> None:
        """Where each head begins, and its untrained network."""
        chance = torch.Generator().manual_seed(seed)
        self.seed = seed
        self.initial, self.fixed = (self._network(chance) for _ in range(2))

    def _network(self, chance: torch.Generator) -> list[Tensor]:
        """Weights and biases of all heads: weights of variance 1/fan_in, biases 0."""
        found = []
        for a, b in pairwise(self.sizes):
            found.append(torch.randn(self.heads, a, b, generator=chance) / math.sqrt(a))
            found.append(torch.zeros(self.heads, 1, b))
        return [x.to(self.device) for x in found]

    # -- rewards

    @torch.no_grad()
    def features(self, groups: Sequence[Group]) -> Tensor:
        """(N, H) of every completion, in order."""
        return self.read(groups).float()

    def __call__(self, features_NH: Tensor) -> Tensor:
        """(E, N) every head's reward; gradients go to the trained networks."""
        trained_EN = _mlp(features_NH, [w * UNIT for w in self.weights])
        with torch.no_grad():
            fixed_EN = _mlp(features_NH, self.fixed)
        return trained_EN + self.prior * fixed_EN

    # -- learning

    @property
    def labels(self) -> int:
        """Duels in the replay."""
        return len(self.preference_R)

    def remember(self, pairs_G2H: Tensor, preference_G: Sequence[float]) -> None:
        """Put duels into the replay: features of both, and the probability that the first is better."""
        pairs_R2H = torch.cat([self.pairs_R2H, pairs_G2H.detach().to(self.device)])
        preference_R = torch.cat([self.preference_R, torch.tensor(list(preference_G), device=self.device)])
        self.pairs_R2H, self.preference_R = pairs_R2H[-self.capacity :], preference_R[-self.capacity :]

    def draw(self, count: int, chance: Random) -> list[int]:
        """Some duels of the replay, none twice: all where there are no more than `count`."""
        return chance.sample(range(self.labels), min(count, self.labels))

    def loss(self, rows: Sequence[int], *, pull: float) -> tuple[Tensor, Tensor]:
        """The mean of L_e over heads on these duels, a scalar, and the heads' margins (E, rows)."""
        at = torch.tensor(list(rows), device=self.device)
        reward_EB2 = self(self.pairs_R2H[at].flatten(0, 1)).unflatten(1, (len(rows), 2))
        p_X = self.preference_R[at].expand(self.heads, -1).flatten()
        loss_X, margin_X = bradley_terry_loss(reward_EB2.flatten(0, 1), p_X)
        return loss_X.mean() + pull * self.distance() / (self.labels * self.heads), margin_X.view(self.heads, -1)

    def distance(self) -> Tensor:
        """Σ ½ fan_in ‖w − w⁰‖² over the weights of all heads (a bias counts once)."""
        fans = [fan for a in self.sizes[:-1] for fan in (a, 1)]
        gaps = zip(fans, self.weights, self.initial, strict=True)
        return sum((0.5 * fan * (w * UNIT - start).square().sum() for fan, w, start in gaps), torch.zeros((), device=self.device))

    # -- an updatable object

    def parameters(self) -> list[nn.Parameter]:
        """Weights and biases of the trained networks."""
        return self.weights

    def state_dict(self) -> dict[str, Tensor]:
        """The weights, the replay, and the seed of all that is drawn at the beginning."""
        weights = {f"weights.{i}": w.detach() for i, w in enumerate(self.weights)}
        return {**weights, "replay.pairs": self.pairs_R2H, "replay.preference": self.preference_R, "seed": torch.tensor(self.seed)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Put them back; the sizes must be the same."""
        weights = [state.get(f"weights.{i}") for i in range(len(self.weights))]
        if any(new is None or new.shape != mine.shape for new, mine in zip(weights, self.weights, strict=True)):
            raise UserError("the checkpoint's heads are of another number or size", "Resume with the model and settings of the first run.")
        with torch.no_grad():
            for mine, new in zip(self.weights, weights, strict=True):
                assert new is not None
                mine.copy_(new)
        self._draw(int(state["seed"]))
        self.pairs_R2H, self.preference_R = (state[f"replay.{name}"].to(self.device) for name in ("pairs", "preference"))


def read_by(lm: LM) -> Read:
    """(N, H + 2) what a model makes of each completion: the state at its last token, to a mean square of 1, and how likely it found it.

    The latter is the mean and the least log p of its tokens, in half nats.   On town, heads that were taught by 512 noisy comparisons order
    .55 of other pairs right by the state alone, and .73 with the likelihood beside it.
    """

    def read(groups: Sequence[Group]) -> Tensor:
        states_NTH, logp_NT = lm.hidden(groups), lm.token_logps(groups)
        length_N = torch.tensor([len(c) for g in groups for c in g.completions], device=lm.device)
        x_NH = states_NTH[torch.arange(len(length_N), device=lm.device), length_N - 1].float()
        x_NH = x_NH * x_NH.square().mean(1, keepdim=True).clamp(min=1e-12).rsqrt()
        told_N2 = torch.stack([logp_NT.sum(1) / length_N, logp_NT.min(1).values], dim=1)
        return torch.cat([x_NH, 2 * told_N2.float()], dim=1)

    return read


def _mlp(x_NH: Tensor, network: Sequence[Tensor]) -> Tensor:
    """(E, N) of E networks with rectified hidden layers, whose inputs keep their mean square (He et al. 2015)."""
    x_ENH = x_NH.expand(len(network[0]), -1, -1)
    *hidden, (w_out, b_out) = zip(network[::2], network[1::2], strict=True)
    for w_EHK, b_E1K in hidden:
        x_ENH = math.sqrt(2) * F.relu(x_ENH @ w_EHK + b_E1K)
    return (x_ENH @ w_out + b_out)[..., 0]
