"""Run by TransformerLens' own environment: what it sees inside the model that it is given.   Imports nothing of plumbline.

python lens_numbers.py WORK        reads WORK/job.json, WORK/model; writes WORK/seen.safetensors
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformer_lens.model_bridge import TransformerBridge  # pyright: ignore[reportMissingImports]   lives in .peers/lens only


def main(work: Path) -> None:
    torch.set_num_threads(1)
    job = json.loads((work / "job.json").read_text())
    bridge = TransformerBridge.boot_transformers(str(work / "model"), device="cpu", dtype=torch.float32)
    bridge.enable_compatibility_mode(no_processing=True)  # the field's names, over weights as they are
    with torch.no_grad():
        logits, cache = bridge.run_with_cache(torch.tensor(job["tokens"]))
    seen = {name: cache[name].contiguous().clone() for name in job["names"] if name in cache}
    save_file({"logits": logits.contiguous(), **seen}, work / "seen.safetensors")


main(Path(sys.argv[1]))
