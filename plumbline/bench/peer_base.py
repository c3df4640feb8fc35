"""What the peers' scripts share: how models are read and how gradients are told.   Nothing of plumbline is imported."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

PLAIN = {"use_cpu": True, "bf16": False, "report_to": [], "gradient_checkpointing": False, "disable_tqdm": True}


def model_in(folder: Path, attention: str = "sdpa") -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation=attention)


def scalar_in(folder: Path, attention: str = "sdpa") -> Any:
    return AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32, attn_implementation=attention)


def tokenizer_in(folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(folder)


def seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def norms(parameters: Iterable[torch.Tensor]) -> list[float]:
    """The norm of each parameter's gradient."""
    return [0.0 if p.grad is None else p.grad.norm().item() for p in parameters]


class Watch:
    """Calls a function and adds up the seconds that it takes."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function, self.seconds = function, 0.0

    def __call__(self, *given: Any, **named: Any) -> Any:
        start = time.perf_counter()
        found = self.function(*given, **named)
        self.seconds += time.perf_counter() - start
        return found

    def take(self) -> float:
        """The seconds since this was last asked."""
        taken, self.seconds = self.seconds, 0.0
        return taken
