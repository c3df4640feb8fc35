"""Training by dpo a language model with an adapter, killed ten times and resumed, ends bit-equal."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from pathlib import Path

import killable
import torch

from plumbline.models.fresh import fresh
from plumbline.models.lm import LM

WORDS = ("who", "is", "it", "mira", "the", "miller", "baker", "lives", "in", "town", "yes", "no", "?", ".")


def work(folder: Path, out: Path, fault: str) -> None:
    from plumbline.pipelines.train import Settings, train_policy

    torch.set_num_threads(1)
    policy = LM.load(folder / "model", lora=2, attn="dense", seed=3)
    data = str(folder / "pairs.jsonl")
    recipe: Settings = {"epochs": 4, "batch": 4, "lr": 0.02, "micro_tokens": 40, "save_every": 1}
    run = train_policy("dpo", policy, data, out=str(out), resume=out.exists(), fault=fault, **recipe)
    (out / "weights").write_bytes(b"".join(value.numpy().tobytes() for value in run.model.state_dict().values()))


def finish(folder: Path, out: Path, fault: str = "", *, kill_after: float | None = None) -> int | None:
    process = killable.SERVER.Process(target=work, args=(folder, out, fault))
    process.start()
    if kill_after is not None:
        time.sleep(kill_after)
        if process.pid is not None and process.exitcode is None:
            os.kill(process.pid, signal.SIGKILL)
    process.join()
    return process.exitcode


def make(folder: Path) -> None:
    fresh(folder / "model", WORDS, hidden=16, layers=2, heads=2, ffn=32, context=64)
    draw = random.Random(0)
    with (folder / "pairs.jsonl").open("w") as file:
        for _ in range(10):
            prompt, chosen, rejected = (" ".join(draw.choices(WORDS, k=draw.randint(1, 6))) for _ in range(3))
            file.write(json.dumps({"prompt": prompt, "chosen": f" {chosen} yes", "rejected": f" {rejected} no"}) + "\n")


def test_train_dpo_killed_ten_times(tmp_path: Path) -> None:
    make(tmp_path)
    assert finish(tmp_path, tmp_path / "whole") == 0
    out = tmp_path / "run"
    faults = ("part:3", "checkpoint-write:2", "boundary:2", "checkpoint-renamed:1", "checkpoint-write:1", "part:2", "boundary:1")
    for fault in faults:
        assert finish(tmp_path, out, fault) == -signal.SIGKILL
    for seconds in (0.3, 0.6, 0.9):
        finish(tmp_path, out, kill_after=seconds)
    assert finish(tmp_path, out) == 0
    assert (out / "weights").read_bytes() == (tmp_path / "whole" / "weights").read_bytes()
    logs = [[json.loads(line) for line in (p / "metrics.jsonl").read_text().splitlines()] for p in (out, tmp_path / "whole")]
    assert [(r["step"], r["loss"]) for r in logs[0]] == [(r["step"], r["loss"]) for r in logs[1]]
    assert len(logs[0]) == 12  # ten rows in batches of four, four times
