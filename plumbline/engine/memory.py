"""Memory pre-flight: what a run needs beyond the loaded weights, before it starts.

optimiser and gradients   3 · 4 bytes per trainable parameter (gradient, two moments)
activations               micro_tokens · layers · (16 · hidden + 4 · inner) · 4 bytes, a layer's worth + 4 bytes · hidden each
                          layer under checkpointing
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import torch

from plumbline.core.errors import UserError
from plumbline.engine.optimisers import trainable
from plumbline.engine.progress import Progress
from plumbline.engine.recipe import Recipe

GIB = 2**30


def available(device: torch.device) -> int:
    """Free bytes: of the GPU, or of the machine and of the control group that the process lives in."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    free = psutil.virtual_memory().available
    limit, current = (Path("/sys/fs/cgroup") / name for name in ("memory.max", "memory.current"))
    if limit.exists() and limit.read_text().strip().isdigit():
        free = min(free, int(limit.read_text()) - int(current.read_text()))
    return free


def needed(roles: Mapping[str, Any], recipe: Recipe) -> int:
    """Bytes that training needs on top of what is loaded, by the formula above."""
    parameters = {id(p): p for role in roles.values() for p in trainable(role)}
    states = sum(p.numel() * (8 + p.element_size()) for p in parameters.values())
    return states + max((_activations(role, recipe.micro_tokens) for role in roles.values()), default=0)


def _activations(role: Any, tokens: int) -> int:
    config = getattr(role, "config", None)
    layers, hidden = getattr(config, "num_hidden_layers", 0), getattr(config, "hidden_size", 0)
    if not layers or not hidden or not trainable(role):
        return 0
    layer = tokens * (16 * hidden + 4 * (getattr(config, "intermediate_size", None) or 4 * hidden)) * 4
    if getattr(role, "gradient_checkpointing", False):
        return int(2.5 * layer) + layers * tokens * hidden * 4
    return layers * layer


def check_memory(roles: Mapping[str, Any], recipe: Recipe, device: torch.device, progress: Progress) -> None:
    """Say what is needed; refuse if that is not there, unless the recipe says to go on anyway."""
    need, free = needed(roles, recipe), available(device)
    if need > GIB // 10:
        progress.note(f"needs about {need / GIB:.1f} GiB beside the loaded weights, {free / GIB:.1f} GiB are free")
    if need > free and not recipe.ignore_memory:
        raise UserError(
            f"training needs about {need / GIB:.1f} GiB beside the loaded weights, but {free / GIB:.1f} GiB are free",
            "Lower micro_tokens, use --gradient_checkpointing or --lora, or pass --ignore_memory to try anyway.",
        )
