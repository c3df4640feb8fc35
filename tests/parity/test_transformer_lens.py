"""The same model and tokens as TransformerLens: what both call by one name has one value, to 1e-4."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from plumbline.models.fresh import fresh
from plumbline.models.hooks import Insides, run_with_cache
from plumbline.models.lm import LM
from plumbline.models.shrink import strengthen

ROOT = Path(__file__).resolve().parents[2]
PEER = ROOT / ".peers" / "lens" / "bin" / "python"
KINDS = ["q", "k", "v", "z", "pattern"]
WANTED = ["hook_resid_pre", "hook_attn_out", "hook_resid_mid", "hook_mlp_out", "hook_resid_post", *(f"attn.hook_{k}" for k in KINDS)]

pytestmark = pytest.mark.skipif(
    not PEER.exists(), reason="TransformerLens has no environment of its own (.peers/lens): make a venv there, pip install transformer-lens"
)


def test_one_name_one_value(tmp_path: Path) -> None:
    fresh(tmp_path / "model", [f"w{i}" for i in range(40)], hidden=32, layers=2, heads=2, ffn=48, context=64)
    lm = LM.load(tmp_path / "model", attn="dense")
    strengthen(lm.model)
    lm.save(tmp_path / "model")
    lm = LM.load(tmp_path / "model", attn="dense")
    tokens = torch.randint(3, 40, (2, 11), generator=torch.Generator().manual_seed(0))
    inside = Insides.of(lm)
    names = [f"blocks.{i}.{name}" for i in range(inside.layers) for name in WANTED]
    (tmp_path / "job.json").write_text(json.dumps({"tokens": tokens.tolist(), "names": names}))
    script = Path(__file__).parent / "lens_numbers.py"
    subprocess.run([str(PEER), str(script), str(tmp_path)], check=True, timeout=600)
    theirs = load_file(tmp_path / "seen.safetensors")
    logits, ours = run_with_cache(inside, tokens, names)
    torch.testing.assert_close(theirs.pop("logits"), logits, atol=1e-4, rtol=1e-4)
    assert set(theirs) == set(names)
    for name, value in theirs.items():
        torch.testing.assert_close(value, ours[name], atol=1e-4, rtol=1e-4, msg=lambda said, name=name: f"{name}: {said}")
