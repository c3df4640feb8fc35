"""The same models and rows as TRL: the same tokens, log-probabilities, losses and gradients, to 1e-5 in float32."""

from __future__ import annotations

import json
import random
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from plumbline.core.batches import Batch, Group, Part
from plumbline.core.methods import Steps
from plumbline.core.nouns import Message, Tally
from plumbline.methods.dpo import dpo
from plumbline.methods.kto import kto, weights
from plumbline.methods.sft import sft
from plumbline.models.fresh import fresh
from plumbline.models.lm import LM
from plumbline.models.shrink import strengthen

ROOT = Path(__file__).resolve().parents[2]
PEER = ROOT / ".peers" / "bin" / "python"
BETA = 0.3
TALLY, RATIO = Tally(2, 4), 1.2  # of six rows
WORDS = [f"w{i}" for i in range(60)]

pytestmark = pytest.mark.skipif(not PEER.exists(), reason="TRL is not installed apart (.peers): run make bench-setup")


@dataclass
class Peer:
    """What TRL computed, and our models and groups for the same rows."""

    numbers: dict[str, Any]
    gradients: dict[str, dict[str, torch.Tensor]]
    policy: LM
    reference: LM
    groups: list[Group]
    thumbs: list[Group]


class Once:
    def __init__(self, groups: list[Group]) -> None:
        self.batch = Batch(groups, micro_tokens=60)

    def __iter__(self) -> Iterator[Batch]:
        yield self.batch


def _rows(seed: int) -> list[dict[str, Any]]:
    rng = random.Random(seed)

    def turn(role: str, longest: int) -> dict[str, str]:
        return {"role": role, "content": " ".join(rng.choices(WORDS, k=rng.randint(1, longest)))}

    def row(turns: int) -> dict[str, Any]:
        prompt = [turn("assistant" if i % 2 else "user", 9) for i in range(2 * turns - 1)]
        return {"prompt": prompt, "chosen": [turn("assistant", 12)], "rejected": [turn("assistant", 12)]}

    return [row(rng.randint(1, 2)) for _ in range(6)]


def _model(folder: Path, seed: int) -> LM:
    """Random weights, scaled so that log-probabilities differ by whole nats."""
    fresh(folder, WORDS, hidden=16, layers=2, heads=2, ffn=32, seed=seed)
    lm = LM.load(folder)
    strengthen(lm.model, seed)
    lm.save(folder)
    return LM.load(folder)


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Peer:
    work = tmp_path_factory.mktemp("trl")
    policy, reference = _model(work / "policy", 1), _model(work / "reference", 2)
    rows = _rows(3)
    # TRL answers a prompt with the completion of the row before it, plumbline with that of the row after it: so it gets the rows backwards.
    said = [(row["prompt"], row[("chosen", "rejected")[i % 2]], i % 3 == 0) for i, row in enumerate(rows)]
    thumbs = [{"prompt": prompt, "completion": completion, "label": label} for prompt, completion, label in reversed(said)]
    (work / "job.json").write_text(json.dumps({"pairs": rows, "thumbs": thumbs, "weights": weights(TALLY, RATIO), "beta": BETA}))
    script = Path(__file__).with_name("trl_numbers.py")
    done = subprocess.run(
        [PEER, script, work], capture_output=True, text=True, timeout=300, env={"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    )
    assert done.returncode == 0, done.stderr[-4000:]
    groups = []
    for row in rows:
        context = tuple(Message(t["role"], t["content"]) for t in row["prompt"])
        texts = [row[k][0]["content"] for k in ("chosen", "rejected")]
        ids = [tuple(policy.tokenizer.completion_ids(context, text)) for text in texts]
        groups.append(Group(tuple(policy.tokenizer.context_ids(context)), tuple(ids)))
    labelled = [Group(g.prompt, (g.completions[i % 2],), desirable=i % 3 == 0, row=i + 1) for i, g in enumerate(groups)]
    gradients = {name: load_file(work / f"{name}.safetensors") for name in ("dpo", "sft", "kto")}
    return Peer(json.loads((work / "numbers.json").read_text()), gradients, policy, reference, groups, labelled)


def _totals(policy: LM, steps: Steps) -> tuple[float, dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Loss, gradients by name, metrics of all steps one after the other."""
    policy.model.zero_grad()
    total, metrics = 0.0, {}
    for step in steps:
        step.loss.backward()
        total += step.loss.item()
        for name, value in step.metrics.items():
            metrics.setdefault(name, []).append(torch.as_tensor(value).detach().reshape(-1))
    gradients = {name: p.grad.clone() for name, p in policy.model.named_parameters() if p.grad is not None}
    return total, gradients, {name: torch.cat(values) for name, values in metrics.items()}


def _same_gradients(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert set(ours) == set(theirs)
    largest = max(g.abs().max().item() for g in theirs.values())
    for name, gradient in theirs.items():
        torch.testing.assert_close(ours[name] / largest, gradient / largest, rtol=0, atol=1e-5)


def test_the_peer_is_the_pinned_one():
    pins = (ROOT / "tools" / "peers.lock").read_text().split()
    assert "trl==1.16.0" in pins
    with (ROOT / "pyproject.toml").open("rb") as file:
        assert "torch==2.13.0" in tomllib.load(file)["project"]["dependencies"]


def test_dpo_trains_on_the_same_tokens(peer: Peer):
    ours = [
        {"prompt_ids": list(g.prompt), "chosen_ids": list(g.completions[0]), "rejected_ids": list(g.completions[1])} for g in peer.groups
    ]
    assert ours == peer.numbers["dpo"]["ids"]


def test_sft_trains_on_the_same_tokens(peer: Peer):
    assert [[*g.prompt, *g.completions[0]] for g in peer.groups] == peer.numbers["sft"]["ids"]


def test_reference_log_probabilities(peer: Peer):
    part = Part(tuple(peer.groups), Batch(peer.groups).totals)
    with torch.no_grad():
        ours = peer.reference.logps(part)
    torch.testing.assert_close(ours.T, torch.tensor(peer.numbers["dpo"]["ref"]), rtol=1e-6, atol=1e-5)


def test_dpo_loss_gradient_and_metrics(peer: Peer):
    loss, gradients, metrics = _totals(peer.policy, dpo(peer.policy, peer.reference, Once(peer.groups), beta=BETA))
    theirs = peer.numbers["dpo"]
    assert loss == pytest.approx(theirs["loss"], abs=1e-5)
    _same_gradients(gradients, peer.gradients["dpo"])
    names = {"margin": "margins", "accuracy": "accuracies", "chosen_reward": "chosen", "rejected_reward": "rejected"}
    for ours, their in names.items():
        assert metrics[ours].mean().item() == pytest.approx(theirs["metrics"][f"rewards/{their}"], abs=1e-5)


def test_sft_loss_and_gradient(peer: Peer):
    chosen = [Group(g.prompt, g.completions[:1]) for g in peer.groups]
    loss, gradients, _ = _totals(peer.policy, sft(peer.policy, Once(chosen)))
    assert loss == pytest.approx(peer.numbers["sft"]["loss"], abs=1e-5)
    _same_gradients(gradients, peer.gradients["sft"])


def test_kto_trains_on_the_same_tokens(peer: Peer):
    ours = [{"prompt_ids": list(g.prompt), "completion_ids": list(g.completions[0])} for g in reversed(peer.thumbs)]
    assert ours == peer.numbers["kto"]["ids"]


def test_kto_loss_gradient_and_point(peer: Peer):
    loss, gradients, metrics = _totals(peer.policy, kto(peer.policy, peer.reference, TALLY, Once(peer.thumbs), beta=BETA, ratio=RATIO))
    theirs = peer.numbers["kto"]
    assert metrics["kl"].mean().item() == pytest.approx(theirs["kl"], abs=1e-5)
    assert theirs["kl"] > 0.1  # not clamped at 0: it says something
    assert loss == pytest.approx(theirs["loss"], abs=1e-5)
    _same_gradients(gradients, peer.gradients["kto"])
