"""Dropout, where training asks for it: every place that the architecture has drops this share, and only while gradients are recorded.

Models are loaded with every dropout at 0 (`loading.without_dropout`), so whatever else reads the same weights meanwhile, a reference
or an evaluation, reads them whole.   The noise is of torch's own stream, which a checkpoint keeps.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import torch
from torch import Tensor, nn

from plumbline.core.errors import UserError

if TYPE_CHECKING:
    from plumbline.models.lm import LM, Scored

Place = tuple[nn.Module, str]


@final
@dataclass(frozen=True)
class Dropping:
    """A language model that drops `share` of its activations in training."""

    lm: LM
    share: float

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise UserError(f"dropout is {self.share}", "Give a share from 0 to below 1.")
        if self.share and not places(self.lm.model):
            raise UserError(f"a {type(self.lm.model).__name__} has no dropout", "Leave --dropout out.")
        if self.share and self.lm.gradient_checkpointing:
            raise UserError("dropout and gradient checkpointing do not go together", "Checkpoints would be computed anew without it.")

    def token_logps(self, scored: Scored, /, *, temperature: float = 1.0) -> Tensor:
        """(N, T) nats as `LM.token_logps`."""
        if self.lm.backend == "flex" and self.share:  # asked before anything is dropped: the choice may measure the model
            raise UserError("FlexAttention knows no dropout", "Pass --attn dense, or leave --dropout out.")
        if not (self.share and self.lm.trainable and torch.is_grad_enabled()):
            return self.lm.token_logps(scored, temperature=temperature)
        with _dropped(self.lm.model, self.share):
            return self.lm.token_logps(scored, temperature=temperature)


def places(model: Any) -> list[Place]:
    """Where a model drops: its dropout layers, and the numbers that its attention reads."""
    found: list[Place] = []
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            found.append((module, "p"))
        numbers = [name for name, value in vars(module).items() if isinstance(value, (int, float)) and not isinstance(value, bool)]
        found += [(module, name) for name in numbers if "dropout" in name or "pdrop" in name]
    return found


@contextmanager
def _dropped(model: Any, share: float) -> Iterator[None]:
    """Within: train mode, and every place drops `share`."""
    before = [(module, name, getattr(module, name)) for module, name in places(model)]
    for module, name, _ in before:
        setattr(module, name, share)
    model.train()
    try:
        yield
    finally:
        model.eval()
        for module, name, value in before:
            setattr(module, name, value)
