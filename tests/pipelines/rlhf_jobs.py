"""rlhf runs for the tests that kill them: a fresh tiny model, and files for every stage."""

from __future__ import annotations

import json
import multiprocessing
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from plumbline.cli.rlhf import rlhf
from plumbline.core.registry import load_method
from plumbline.core.rollouts import Draw
from plumbline.engine.recipe import Recipe
from plumbline.models.fresh import fresh
from plumbline.pipelines.recipes import Recipes
from plumbline.pipelines.rlhf_run import Given, run

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["pytest", "torch._dynamo", "plumbline.pipelines.rlhf_run"])
WORDS = ("who", "is", "it", "mira", "the", "miller", "baker", "lives", "in", "town", "yes", "no", "?", ".")


def make(folder: Path) -> Path:
    """A model, and files of demonstrations, comparisons, ratings and prompts."""
    fresh(folder / "model", WORDS, hidden=16, layers=2, heads=2, ffn=32, context=64)
    draw = random.Random(0)
    say = lambda: " ".join(draw.choices(WORDS, k=draw.randint(1, 6)))  # noqa: E731
    grade = lambda: {"honest": draw.randint(1, 5), "helpful": draw.randint(1, 5)}  # noqa: E731
    rows = {
        "demos": [{"prompt": say(), "completion": f" {say()}"} for _ in range(8)],
        "comparisons": [{"prompt": say(), "chosen": f" {say()} yes", "rejected": f" {say()} no"} for _ in range(12)],
        "ratings": [{"prompt": say(), "completion": f" {say()}", "scores": grade(), "annotator": "ab"[i % 2]} for i in range(12)],
        "prompts": [{"prompt": say()} for _ in range(12)],
    }
    for name, some in rows.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some))
    return folder


def train(folder: Path, out: Path, *kinds: str, fault: str = "", resume: bool = False, **more: str) -> dict[str, Any]:
    """2 steps of SFT, 3 of the reward, 3 rounds of PPO with two updates each, saved after every step."""
    files = {kind: str(folder / f"{kind}.jsonl") for kind in (*kinds, "prompts")}
    learner = load_method("ppo")(passes=2, sampling=Draw(max_tokens=6))
    stage = Recipe(batch=4, save_every=1)
    recipes = Recipes(stage, stage, replace(stage, lr="policy=0.01,value=0.01"))
    given = Given(model=str(folder / "model"), **{**files, **more})
    load = {"device": "cpu", "attn": "dense"}
    return run(given, learner, recipes, out=str(out), resume=resume, threads=1, load=load, fault=fault)[0]


def work(argv: Sequence[str]) -> None:
    """In the child: the command."""
    torch.set_num_threads(1)
    rlhf(argv)


def finish(argv: Sequence[str]) -> int:
    """The command to its end in a process of its own, whichever it is; returns the exit code (−9: killed)."""
    process = SERVER.Process(target=work, args=(argv,))
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode
