"""Linear probes, with a control task that says how much of their accuracy is the probe's own memory.

    selectivity = accuracy(labels) − accuracy(control)        control: every type (a word, say) gets a label by lot, once and for all

Hewitt and Liang 2019, "Designing and interpreting probes with control tasks", arXiv 1909.03368.   A probe that is accurate on both
learned by heart; one that is accurate on the labels alone found them in the states.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor
from torch.nn import functional as F

from plumbline.core.errors import UserError

SWEEPS = 60  # of L-BFGS: a convex problem in a few hundred numbers has long converged


@dataclass(frozen=True)
class Linear:
    """Logits of a class: `x @ weight_DC + bias_C`."""

    weight_DC: Tensor
    bias_C: Tensor

    def classes(self, x_ND: Tensor) -> Tensor:
        """(N,) the likeliest class of each row."""
        return (x_ND.double() @ self.weight_DC + self.bias_C).argmax(-1)


@dataclass(frozen=True)
class Probing:
    """Shares of held-out rows: right on the labels, right on the control's, and of the commonest label.   `n`: how many rows that is."""

    accuracy: float
    control: float
    majority: float
    n: int

    @property
    def selectivity(self) -> float:
        """What the states contribute."""
        return self.accuracy - self.control


def fit(x_ND: Tensor, y_N: Tensor, classes: int, *, penalty: float = 1e-3) -> Linear:
    """Multinomial logistic regression:  min mean −log softmax(xW + b)_y + penalty ‖W‖² (x in units of its standard deviation)."""
    x_ND = x_ND.detach().double()
    mean_D, sd_D = x_ND.mean(0), x_ND.std(0, unbiased=False).clamp_min(1e-8)
    unit_ND = (x_ND - mean_D) / sd_D
    weight_DC = torch.zeros(x_ND.shape[1], classes, dtype=torch.float64, device=x_ND.device, requires_grad=True)
    bias_C = torch.zeros(classes, dtype=torch.float64, device=x_ND.device, requires_grad=True)
    solver = torch.optim.LBFGS([weight_DC, bias_C], max_iter=SWEEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        solver.zero_grad()
        loss = F.cross_entropy(unit_ND @ weight_DC + bias_C, y_N) + penalty * weight_DC.square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        solver.step(closure)
    own_DC = weight_DC.detach() / sd_D[:, None]
    return Linear(own_DC, bias_C.detach() - mean_D @ own_DC)


def control_labels(types: Sequence[int], labels: Sequence[int], seed: int = 0) -> list[int]:
    """A label for every type, drawn as the labels are distributed, the same for each of its rows."""
    drawn = {kind: Random(f"{seed}/{kind}").choice(labels) for kind in sorted(set(types))}
    return [drawn[kind] for kind in types]


def probe(
    x_ND: Tensor, labels: Sequence[int], types: Sequence[int], *, held_out: float = 0.3, penalty: float = 1e-3, seed: int = 0
) -> Probing:
    """Fit on some rows, score on the others: once for the labels, once for labels by lot."""
    classes = len(set(labels))
    if classes < 2:
        raise UserError("probe: all rows have one label", "Give rows of at least two kinds.")
    numbers = {label: i for i, label in enumerate(sorted(set(labels)))}
    y = [numbers[label] for label in labels]
    order = list(range(len(y)))
    Random(seed).shuffle(order)
    cut = round(len(order) * held_out)
    if not 0 < cut < len(order):
        raise UserError(f"probe: {len(order)} rows cannot be split at {held_out}", "Give more rows.")
    test, train = order[:cut], order[cut:]

    def score(values: Sequence[int]) -> float:
        y_N = torch.tensor(values, device=x_ND.device)
        got_N = fit(x_ND[train], y_N[train], classes, penalty=penalty).classes(x_ND[test])
        return (got_N == y_N[test]).double().mean().item()

    commonest = max(numbers.values(), key=lambda c: sum(y[i] == c for i in train))
    majority = sum(y[i] == commonest for i in test) / len(test)
    return Probing(score(y), score(control_labels(types, y, seed)), majority, len(test))
