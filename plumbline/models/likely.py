"""`Likely`: a language model as a scorer of replies, by how probable they are: no new head, what it knows is there from the start.

    score(x, y) = log π(y|x), in nats, the end token included

Two replies of one prompt are compared by the difference, which is their log-odds under a choice between the two.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, final

import torch
from torch import Tensor

from plumbline.core.batches import Part
from plumbline.models.lm import LM
from plumbline.models.tokenizer import HFTokenizer


@final
class Likely:
    """Scores by `lm`, and trains it."""

    def __init__(self, lm: LM) -> None:
        self.lm = lm

    def scores(self, part: Part) -> Tensor:
        """(N, 1) nats of each completion, with gradient."""
        logp_NT = self.lm.token_logps(part)
        return (logp_NT * part.mask(logp_NT)).sum(1, keepdim=True)

    def observe(self, raw: Sequence[Tensor], mean: Callable[[Tensor], Tensor]) -> None:
        """Nothing: log-probabilities are not standardised."""

    @property
    def model(self) -> Any:
        """The module that computes."""
        return self.lm.model

    @property
    def tokenizer(self) -> HFTokenizer:
        """Of the language model."""
        return self.lm.tokenizer

    @property
    def config(self) -> Any:
        """The config of transformers."""
        return self.lm.config

    @property
    def device(self) -> torch.device:
        """Where token ids go."""
        return self.lm.device

    @property
    def gradient_checkpointing(self) -> bool:
        """Whether activations are computed twice to keep fewer."""
        return self.lm.gradient_checkpointing

    def parameters(self) -> list[Tensor]:
        """What an optimiser may change."""
        return self.lm.parameters()

    def state_dict(self) -> dict[str, Tensor]:
        """The trainable parameters."""
        return self.lm.state_dict()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Put values into them."""
        self.lm.load_state_dict(state)

    def save(self, directory: str | os.PathLike[str]) -> None:
        """A causal language model's directory."""
        self.lm.save(directory)
