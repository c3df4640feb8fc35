"""Between an attention layer and its kernel: queries, keys, values, pattern and z of an untouched model, to read and to change.

    pattern = softmax(q kᵀ · scaling + mask)        z = pattern v

Layers of transformers look their kernel up by a name in their config.   While a tap is open, each layer has a copy of its config with
a name of ours; the rest of the model (masks above all) sees the original.   The layer's own kernel computes z, so no bit changes unless
somebody changes something; the pattern is computed beside it, by the architecture's own eager function, and only if it is asked for.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

NAME = "plumbline_tap"
See = Callable[[str, Tensor], Tensor]  # (what, value) → the value, or the same object where nothing is changed


@dataclass
class Tap:
    """What one attention layer's kernel passes through.   `wants` names what `see` is to be shown, of rot_q rot_k v pattern z."""

    own: str
    wants: frozenset[str]
    see: See

    def __call__(self, module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **how: Any) -> Any:
        kernel = _kernel(self.own, module)
        groups = query.shape[1] // key.shape[1]
        query = self._heads("rot_q", query)
        k, v = self._heads("rot_k", key, groups), self._heads("v", value, groups)
        apart = (k is not key or v is not value) and groups > 1  # a head's own key or value: no longer shared within its group
        if apart:
            k, v = (_ungrouped(x, groups) if x is shared else x for x, shared in ((k, key), (v, value)))
        with _groups(module, 1) if apart else ExitStack():
            z, weights = kernel(module, query, k, v, attention_mask, **how)
            if "pattern" in self.wants:
                weights = weights if weights is not None else _pattern(module, query, k, v, attention_mask, how)
        if "pattern" in self.wants:
            seen = self.see("pattern", weights)
            if seen is not weights:
                z = (seen.to(v.dtype) @ (v if apart else _ungrouped(v, groups))).transpose(1, 2).contiguous()
        return (self.see("z", z) if "z" in self.wants else z), weights

    def _heads(self, what: str, x: Tensor, groups: int = 1) -> Tensor:
        """Show (batch, head, pos, d) as (batch, pos, head, d), one head per query head; the same object back if nothing was changed."""
        if what not in self.wants:
            return x
        shown = _ungrouped(x, groups).transpose(1, 2)
        seen = self.see(what, shown)
        return x if seen is shown else seen.transpose(1, 2)


def _ungrouped(x: Tensor, groups: int) -> Tensor:
    return x.repeat_interleave(groups, dim=1) if groups > 1 else x


def _eager(module: Any) -> Any:
    """The function that the architecture's own file computes attention with, line by line."""
    for kind in type(module).__mro__:
        found = getattr(sys.modules[kind.__module__], "eager_attention_forward", None)
        if found is not None:
            return found
    raise LookupError(f"{type(module).__name__} has no eager attention function")


def _kernel(own: str, module: Any) -> Any:
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    return _eager(module) if own == "eager" else ALL_ATTENTION_FUNCTIONS[own]


def _pattern(module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, how: Mapping[str, Any]) -> Tensor:
    """(batch, head, query, key) as the eager function computes it, with the mask that the other kernel was given."""
    length = query.shape[2]
    if mask is None:
        mask = torch.ones(length, length, dtype=torch.bool, device=query.device).tril()[None, None]
    if mask.dtype == torch.bool:
        mask = torch.zeros_like(mask, dtype=query.dtype).masked_fill(~mask, torch.finfo(query.dtype).min)
    return _eager(module)(module, query, key, value, mask, **how)[1]


@contextmanager
def _groups(module: Any, count: int) -> Iterator[None]:
    """Within: the layer's kernel finds `count` query heads to a key."""
    before = getattr(module, "num_key_value_groups", None)
    module.num_key_value_groups = count
    try:
        yield
    finally:
        module.num_key_value_groups = before


def _tapped(module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **how: Any) -> Any:
    return module.config.tap(module, query, key, value, attention_mask, **how)


def layers(model: Any) -> dict[str, Any]:
    """Submodules that may look a kernel up: those with a config that are no whole model themselves, by name."""
    from transformers import PreTrainedModel

    own = ((n, m) for n, m in model.named_modules() if not isinstance(m, PreTrainedModel))
    return {n: m for n, m in own if hasattr(getattr(m, "config", None), "_attn_implementation")}


@contextmanager
def tapped(modules: Mapping[str, Any], wants: Mapping[str, frozenset[str]], see: Callable[[str, str, Tensor], Tensor]) -> Iterator[None]:
    """Within: of each module named in `wants`, `see(module's name, what, value)` is called with what passes its kernel."""
    from transformers.modeling_utils import AttentionInterface

    AttentionInterface.register(NAME, _tapped)
    before = {name: modules[name].config for name in wants}
    try:
        for name, config in before.items():
            other = copy.copy(config)
            other.tap = Tap(config._attn_implementation, wants[name], lambda what, x, name=name: see(name, what, x))
            other._attn_implementation_internal = NAME
            modules[name].config = other
        yield
    finally:
        for name, config in before.items():
            modules[name].config = config
