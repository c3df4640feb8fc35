"""Low-rank adapters by PEFT: attach, switch off, keep an earlier one under its own name, merge.

W x + (α / r) B A x,   B = 0 at first, dropout 0                      Hu et al. 2021, arXiv 2106.09685
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from transformers.pytorch_utils import Conv1D

TRAINED = "default"


def attach(model: Any, rank: int, seed: int = 0) -> Any:
    """The PEFT wrapper around `model`, whose linear layers (all but the head) now carry fresh adapters of this rank."""
    from peft import LoraConfig, get_peft_model

    transposed = any(isinstance(m, Conv1D) for m in model.modules())
    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM", fan_in_fan_out=transposed
    )
    with torch.random.fork_rng(devices=[]), _patient():
        torch.manual_seed(seed)
        return get_peft_model(model, config, adapter_name=TRAINED)


def load(model: Any, directory: str) -> Any:
    """The PEFT wrapper with an adapter that was trained before."""
    from peft import PeftModel

    with _patient():
        return PeftModel.from_pretrained(model, directory, adapter_name=TRAINED, is_trainable=True)


@contextmanager
def _patient() -> Iterator[None]:
    """PEFT 0.21 asks transformers 5.23 for an attribute by its old name, which warns on every use; nothing is wrong."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning)
        yield


def is_fresh(peft: Any) -> bool:
    """True while the adapter changes nothing: every B is zero."""
    return all(not p.any() for name, p in peft.named_parameters() if f"lora_B.{TRAINED}" in name or f"lora_embedding_B.{TRAINED}" in name)


def keep(peft: Any) -> str:
    """Copy the trained adapter as it stands under a new name; returns the name."""
    name = f"kept{len(peft.peft_config)}"
    peft.add_adapter(name, copy.deepcopy(peft.peft_config[TRAINED]))
    values = dict(peft.named_parameters())
    with torch.no_grad():
        for key, value in values.items():
            if f".{name}." in key:
                value.copy_(values[key.replace(f".{name}.", f".{TRAINED}.")])
                value.requires_grad_(False)
    peft.set_adapter(TRAINED)
    return name


@contextmanager
def active(peft: Any, name: str | None) -> Iterator[None]:
    """Within: the model with the adapter of this name, or without any."""
    if name == TRAINED:
        yield
    elif name is None:
        with peft.disable_adapter():
            yield
    else:
        _select(peft, name)
        try:
            yield
        finally:
            _select(peft, TRAINED)


def _select(peft: Any, name: str) -> None:
    """Switch the active adapter of every layer without touching `requires_grad`, which `set_adapter` would."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for module in peft.modules():
        if isinstance(module, BaseTunerLayer):
            module._active_adapter = [name]


def merged(peft: Any, name: str | None) -> Any:
    """A copy of the model with the adapter of this name folded into its weights (None: without any)."""
    other = cast(Any, copy.deepcopy(peft))
    return other.unload() if name is None else other.merge_and_unload(adapter_names=[name])
