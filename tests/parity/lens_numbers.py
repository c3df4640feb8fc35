"""Run by TransformerLens' own environment: what it sees, and what it changes, inside the models that it is given.   No plumbline here.

python lens_numbers.py WORK        reads WORK/jobs.json; writes WORK/NAME.safetensors for each of its models
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformer_lens.model_bridge import TransformerBridge  # pyright: ignore[reportMissingImports]   lives in .peers/lens only


def silenced(name: str, head: int | None) -> tuple[str, Any]:
    """A hook that puts a value, or one head of it, to zero."""

    def zero(value: torch.Tensor, hook: Any) -> torch.Tensor:
        value = value.clone()
        if head is None:
            value.zero_()
        else:
            value[:, :, head] = 0
        return value

    return name, zero


@torch.no_grad()
def numbers(job: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Values by name, the logits, and the logits with each of the job's changes."""
    bridge = TransformerBridge.boot_transformers(job["model"], device="cpu", dtype=torch.float32)
    bridge.enable_compatibility_mode(no_processing=True)  # the field's names, over weights as they are
    tokens = torch.tensor(job["tokens"])
    logits, cache = bridge.run_with_cache(tokens)
    seen = {name: cache[name] for name in job["names"] if name in cache}
    for name, head in job["changes"]:
        seen[f"without {name} {head}"] = bridge.run_with_hooks(tokens, fwd_hooks=[silenced(name, head)])
    return {name: value.contiguous().clone() for name, value in {"logits": logits, **seen}.items()}


def main(work: Path) -> None:
    torch.set_num_threads(1)
    for name, job in json.loads((work / "jobs.json").read_text()).items():
        save_file(numbers(job), work / f"{name}.safetensors")


main(Path(sys.argv[1]))
