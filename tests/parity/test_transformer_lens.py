"""The same models and tokens as TransformerLens: what both call by one name has one value, and silencing it one consequence, to 1e-4."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from plumbline.models.fresh import fresh
from plumbline.models.hooks import HookPoint, Insides, run_with_cache, run_with_hooks
from plumbline.models.lm import LM
from plumbline.models.shrink import strengthen

ROOT = Path(__file__).resolve().parents[2]
PEER = ROOT / ".peers" / "lens" / "bin" / "python"
SHIPPED, SHARED = ROOT / "plumbline" / "world" / "models", ROOT.parent / "shared" / "models"
FOUND = {
    "town-s": SHIPPED / "s",
    "town-l": SHIPPED / "l",
    "dialogue5M": SHARED / "dialogue5M",
    "stories3M": SHARED / "stories3M-agpl",  # two heads of keys and values for six of queries
}
KINDS = ["q", "k", "rot_q", "rot_k", "v", "z", "pattern"]
STREAMS = ["hook_resid_pre", "hook_attn_out", "hook_resid_mid", "hook_mlp_out", "hook_resid_post"]
CHANGES = [("blocks.1.attn.hook_z", 0), ("blocks.1.hook_mlp_out", None), ("blocks.0.hook_attn_out", None)]

pytestmark = pytest.mark.skipif(not PEER.exists(), reason="TransformerLens is not installed apart (.peers/lens): run make lens-setup")


def sharp(path: Path) -> Path:
    """A model of random weights with opinions of its own."""
    fresh(path, [f"w{i}" for i in range(40)], hidden=32, layers=2, heads=2, ffn=48, context=64)
    lm = LM.load(path, attn="dense")
    strengthen(lm.model)
    lm.save(path)
    return path


def tokens_of(inside: Insides) -> Tensor:
    """Two rows of any tokens."""
    size = inside.model.get_input_embeddings().num_embeddings
    return torch.randint(3, size, (2, 13), generator=torch.Generator().manual_seed(0))


def names_of(inside: Insides) -> list[str]:
    """All that both have a name for."""
    blocks = [f"blocks.{i}.{name}" for i in range(inside.layers) for name in (*STREAMS, *(f"attn.hook_{k}" for k in KINDS))]
    return ["hook_embed", *blocks]


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The models that are here."""
    return {"random": sharp(tmp_path_factory.mktemp("sharp") / "model"), **{n: path for n, path in FOUND.items() if path.is_dir()}}


@pytest.fixture(scope="module")
def models(places: dict[str, Path]) -> dict[str, Insides]:
    """The same, opened here."""
    return {name: Insides.of(LM.load(path, attn="dense")) for name, path in places.items()}


@pytest.fixture(scope="module")
def theirs(places: dict[str, Path], models: dict[str, Insides], tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Tensor]]:
    """What TransformerLens saw, by model: one process for all of them."""
    work = tmp_path_factory.mktemp("lens")
    jobs = {
        name: {"model": str(places[name]), "tokens": tokens_of(inside).tolist(), "names": names_of(inside), "changes": CHANGES}
        for name, inside in models.items()
    }
    (work / "jobs.json").write_text(json.dumps(jobs))
    subprocess.run([str(PEER), str(Path(__file__).parent / "lens_numbers.py"), str(work)], check=True, timeout=600)
    return {name: load_file(work / f"{name}.safetensors") for name in models}


@pytest.mark.parametrize("name", ["random", *FOUND])
def test_one_name_one_value(name: str, models: dict[str, Insides], theirs: dict[str, dict[str, Tensor]]) -> None:
    if name not in models:
        pytest.skip(f"the model {name} is not here")
    inside, wanted = models[name], names_of(models[name])
    logits, ours = run_with_cache(inside, tokens_of(inside), wanted)
    torch.testing.assert_close(theirs[name]["logits"], logits, atol=1e-4, rtol=1e-4)
    for hook in wanted:
        value = theirs[name][hook]
        if value.dim() == 4 and "pattern" not in hook:  # keys and values once per group there, once per query head here
            value = value.repeat_interleave(inside.parts.heads // value.shape[2], dim=2)
        torch.testing.assert_close(value, ours[hook], atol=1e-4, rtol=1e-4, msg=lambda said, hook=hook: f"{hook}: {said}")


@pytest.mark.parametrize("name", ["random", *FOUND])
def test_one_change_one_consequence(name: str, models: dict[str, Insides], theirs: dict[str, dict[str, Tensor]]) -> None:
    if name not in models:
        pytest.skip(f"the model {name} is not here")
    inside = models[name]
    plain = theirs[name]["logits"]
    for hook, head in CHANGES:

        def zero(value: Tensor, hook: HookPoint, head: int | None = head) -> Tensor:
            value = value.clone()
            value[..., slice(None) if head is None else head, :] = 0
            return value

        got, want = run_with_hooks(inside, tokens_of(inside), [(hook, zero)]), theirs[name][f"without {hook} {head}"]
        assert (want - plain).abs().max() > 0.1
        torch.testing.assert_close(got, want, atol=1e-4, rtol=1e-4, msg=lambda said, hook=hook: f"{hook}: {said}")
