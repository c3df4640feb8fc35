"""What is linear in a model once the scales of its norms are held: so that parts of a stream have parts of a logit.

    norm(x) = (x − mean x) · s(x) ⊙ w + b        with s(x) as it was: linear in x up to b.        RMS norms have no mean, and b = 0

w, b and whether the mean is taken are measured on inputs made for it, not read from attributes: so every norm of either kind fits.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from plumbline.core.errors import UserError
from plumbline.models.hooks import Insides

Pull = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class FrozenNorm:
    """A norm with the scale that it had at one input.   In float64."""

    weight_D: Tensor
    bias_D: Tensor
    scale: Tensor
    centred: bool

    def pull(self, direction_D: Tensor) -> Tensor:
        """The direction r with  r · part = direction · (what becomes of the part)."""
        r_D = direction_D * self.weight_D * self.scale
        return r_D - r_D.mean() if self.centred else r_D


@torch.no_grad()
def frozen_norm(norm: Any, x_D: Tensor) -> FrozenNorm:
    """Of a module and what it was given at one position."""
    probe_D = torch.ones_like(x_D)
    probe_D[: len(probe_D) // 2] = -1
    bias_D = norm(torch.zeros_like(x_D)).double()
    centred = torch.allclose(norm(probe_D + 3), norm(probe_D), atol=1e-3)
    inner_D = probe_D.double() - (probe_D.double().mean() if centred else 0)
    weight_D = (norm(probe_D).double() - bias_D) / inner_D
    y_D = norm(x_D).double() - bias_D
    x64_D = x_D.double()
    plain_D = (x64_D - x64_D.mean() if centred else x64_D) * weight_D
    scale = (y_D @ plain_D) / (plain_D @ plain_D)
    if (y_D - scale * plain_D).abs().max() > 1e-2 * y_D.abs().max():
        raise UserError(f"{type(norm).__name__} is neither a layer norm nor an RMS norm", "Its parts cannot be told apart.")
    return FrozenNorm(weight_D, bias_D, scale, centred)


def read_direction(insides: Insides, token: int, against: int | None) -> tuple[Tensor, float]:
    """u and c with  logit of `token` (minus that of `against`) = u · normed + c, before any soft cap.   In float64."""
    head = insides.model.get_output_embeddings()
    zero_D = torch.zeros_like(head.weight[0])
    scale = insides.scaling.scale

    def logit(h_D: Tensor) -> Tensor:
        z_V = head(h_D).double() * scale
        return z_V[token] - (z_V[against] if against is not None else 0)

    with torch.enable_grad():
        leaf_D = zero_D.detach().clone().requires_grad_()
        value = logit(leaf_D)
        grad_D = torch.autograd.grad(value, leaf_D)[0]
    return grad_D.double(), value.item()


class Seen:
    """What named modules were given and gave in one run, at one position of one sequence."""

    def __init__(self, insides: Insides, names: list[str]) -> None:
        self.given: dict[str, Tensor] = {}
        self.gave: dict[str, Tensor] = {}
        self.insides, self.names = insides, names

    def run(self, ids: Tensor, position: int, keep: list[str]) -> tuple[Tensor, dict[str, Tensor]]:
        """Logits and the values of hooks, with the modules watched."""

        def note(name: str, args: Any, kwargs: Any, output: Any) -> None:
            took = args[0] if args else kwargs["hidden_states"]
            gave = output if isinstance(output, Tensor) else output[0]
            self.given[name], self.gave[name] = _row(took, ids, position), _row(gave, ids, position)

        with ExitStack() as stack:
            for name in self.names:
                hook = lambda _m, a, k, o, name=name: note(name, a, k, o)  # noqa: E731
                stack.callback(self.insides.model.get_submodule(name).register_forward_hook(hook, with_kwargs=True).remove)
            return self.insides.run(ids, keep=keep)


def _row(x: Tensor, ids: Tensor, position: int) -> Tensor:
    return x.detach().reshape(*ids.shape, -1)[0, position]
