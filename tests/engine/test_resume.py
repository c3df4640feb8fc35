"""Killed and resumed is bit-equal to never killed: at every fault point, at random times, at every boundary of every method."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import killable
import pytest
import torch
from tiny_policy import Longer, TinyPolicy, TinyScalar, TinyValue, evens, groups, last_digits, prompts

from plumbline.core.errors import UserError
from plumbline.core.methods import State
from plumbline.core.nouns import Comparison, Demo, Label, Prompt, Rating, Tally
from plumbline.core.registry import entries, load_method
from plumbline.core.rollouts import Draw
from plumbline.engine.drive import drive
from plumbline.engine.faults import Faults
from plumbline.engine.loader import Loader
from plumbline.engine.progress import Progress
from plumbline.engine.recipe import Recipe
from plumbline.engine.rounds import PromptRounds
from plumbline.engine.runs import RunFolder
from plumbline.methods.ppo import Kl
from plumbline.models.epistemic import Epistemic
from plumbline.models.thresholds import Thresholds

QUIET = Progress(quiet=True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every job, never killed."""
    made = {}
    for job in killable.JOBS:
        made[job] = tmp_path_factory.mktemp("whole") / job
        assert killable.finish(job, made[job]) == 0
    return made


def metrics(out: Path) -> list[tuple[str, int, float, object]]:
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [(r.get("stage", ""), r["step"], r["loss"], r.get("eval")) for r in rows]


POINTS = ["part:7", "boundary:15", "checkpoint-write:1", "checkpoint-write:3", "checkpoint-renamed:2", "evaluation:2", "rollout:9"]


@pytest.mark.parametrize("fault", POINTS)
def test_killed_at_a_fault_point(whole: dict[str, Path], tmp_path: Path, fault: str) -> None:
    out = tmp_path / "run"
    assert killable.finish("plain", out, fault) == -signal.SIGKILL
    assert killable.finish("plain", out, resume=True) == 0
    assert (out / "weights").read_bytes() == (whole["plain"] / "weights").read_bytes()
    assert metrics(out) == metrics(whole["plain"])


# Three rounds an epoch, four updates a round, saved after every second round: the faults lie within the fourth round and around it.
ONLINE = ["rollout:4", "update:1", "update:13", "update:16", "part:50", "boundary:4", "checkpoint-write:2", "checkpoint-renamed:2"]


@pytest.mark.parametrize("fault", ONLINE)
def test_a_round_killed_anywhere(whole: dict[str, Path], tmp_path: Path, fault: str) -> None:
    out = tmp_path / "run"
    assert killable.finish("online", out, fault) == -signal.SIGKILL
    assert killable.finish("online", out, resume=True) == 0
    assert (out / "weights").read_bytes() == (whole["online"] / "weights").read_bytes()
    assert metrics(out) == metrics(whole["online"])


@pytest.mark.parametrize("fault", ["stage:1", "stage:2", "checkpoint-write:6"])
def test_pipeline_killed_at_a_fault_point(whole: dict[str, Path], tmp_path: Path, fault: str) -> None:
    out = tmp_path / "run"
    assert killable.finish("staged", out, fault) == -signal.SIGKILL
    assert killable.finish("staged", out, resume=True) == 0
    assert (out / "weights").read_bytes() == (whole["staged"] / "weights").read_bytes()
    assert metrics(out) == metrics(whole["staged"])


def test_one_run_killed_ten_times(whole: dict[str, Path], tmp_path: Path) -> None:
    """Five fault points, then five times SIGKILL from outside at a random moment, all in one run."""
    out, draw = tmp_path / "run", random.Random(0)
    for fault in ("part:2", "checkpoint-write:2", "evaluation:1", "checkpoint-renamed:1", "boundary:1"):
        assert killable.finish("plain", out, fault, resume=True) == -signal.SIGKILL
    for _ in range(5):
        process = killable.start("plain", out, resume=True)
        assert process.pid is not None
        time.sleep(draw.uniform(0.05, 0.5))
        if process.exitcode is None:
            os.kill(process.pid, signal.SIGKILL)
        process.join()
    assert killable.finish("plain", out, resume=True) == 0
    assert (out / "weights").read_bytes() == (whole["plain"] / "weights").read_bytes()
    assert metrics(out) == metrics(whole["plain"])


def test_an_interrupt_saves_and_resumes(whole: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "run"
    with RunFolder.open(out) as run, pytest.raises(KeyboardInterrupt, match="step 4"):
        killable.plain(run, Faults(), False, wait=lambda: os.kill(os.getpid(), signal.SIGINT))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert killable.finish("plain", out, resume=True) == 0
    assert (out / "weights").read_bytes() == (whole["plain"] / "weights").read_bytes()


class Killed(BaseException):
    """Stands for SIGKILL where a process for each of many kills would take too long: nothing in the engine catches it."""


def die() -> None:
    raise Killed


class Hands:
    """What fills the roles of a method that eats this kind of data."""

    def __init__(self, kind: type) -> None:
        self.kind, self.policy = kind, TinyPolicy()

    def fill(self, role: str) -> object:
        """A new object for each role, except that there is one policy."""
        kinds: dict[str, Callable[[], object]] = {
            "policy": lambda: self.policy,
            "reference": self.policy.frozen,
            "model": TinyScalar,
            "thresholds": lambda: Thresholds({"anna": 6, "bert": 6}, {key: [1.0, 2.0, 3.0, 2.0, 1.0] for key in TinyScalar.heads}),
            "reward": lambda: evens,
            "value": TinyValue,
            "epistemic": lambda: Epistemic(last_digits, 8, heads=4, hidden=6),
            "oracle": lambda: Longer(),
            "state": State,
            "tally": lambda: Tally(7, 5),
            "prompts": lambda: PromptRounds(prompts(12)),
            "data": self.rows,
        }
        return kinds[role]()

    def rows(self) -> Loader:
        """Twelve rows of feedback."""
        found = groups(12, completions={Demo: 1, Comparison: 2, Rating: 1, Label: 1}[self.kind])
        found = [replace(g, desirable=g.row % 3 > 0) for g in found]
        if self.kind is Rating:
            marks = [{"helpful": 1.0 + g.row % 5, "honest": 5.0 - g.row % 4} for g in found]
            people = ["anna" if g.row % 2 else "bert" for g in found]
            found = [replace(g, item=Rating("", "", m, annotator=a)) for g, m, a in zip(found, marks, people, strict=True)]
        return Loader(found)


def bits(roles: list[object]) -> bytes:
    """Everything that a training may have changed."""
    found = b"".join(role.bits() for role in roles if isinstance(role, TinyPolicy))
    rest = [role.state_dict() for role in roles if isinstance(role, (State, Thresholds, Epistemic))]
    return found + repr([{name: torch.as_tensor(x).tolist() for name, x in state.items()} for state in rest]).encode()


@pytest.mark.parametrize("name", [e.name for e in entries("method")])
@pytest.mark.parametrize("point", ["boundary", "checkpoint-renamed"])
def test_every_registered_method_at_every_boundary(tmp_path: Path, name: str, point: str) -> None:
    method = load_method(name)
    settings: dict[str, Any] = {"sampling": Draw(max_tokens=5)} if method.data is Prompt else {}
    if name == "ppo":
        settings["kl"] = Kl(target=0.01)  # adapts, so that its state matters
    if name == "sea":
        settings |= {"proposals": 5, "burn_in": 5, "own": 0.5}

    def train(out: Path | None, faults: Faults) -> bytes:
        hands = Hands(method.data)
        roles = [hands.fill(role) for role in method.roles]
        recipe = Recipe(epochs=2, batch=4, lr=0.02, save_every=1, keep=1)
        if out is None:
            drive(method(*roles, **settings), recipe=recipe, progress=QUIET)
        else:
            with RunFolder.open(out, resume=True, faults=faults) as run:
                drive(method(*roles, **settings), recipe=recipe, run=run, resume=True, progress=QUIET, faults=faults)
        return bits(roles)

    expected = train(None, Faults())
    for count in range(1, 7):  # 12 rows in batches of 4, twice
        out = tmp_path / str(count)
        with pytest.raises(Killed):
            train(out, Faults(point, count, act=die))
        assert train(out, Faults()) == expected


def test_other_data_or_another_batch_is_refused(tmp_path: Path) -> None:
    method = load_method("sft")
    with RunFolder.open(tmp_path) as run:
        drive(method(TinyPolicy(), Loader(groups(12))), recipe=Recipe(steps=2, batch=4), run=run, progress=QUIET)
        for rows, batch, named in ((groups(13), 4, "rows 12.* 13"), (groups(12), 5, "batch 4.* 5"), (groups(12, seed=1), 4, "checksum")):
            recipe = Recipe(steps=4, batch=batch)
            with pytest.raises(UserError, match=named):
                drive(method(TinyPolicy(), Loader(rows)), recipe=recipe, run=run, resume=True, progress=QUIET)


def test_a_finished_run_resumed_does_nothing_and_a_longer_one_goes_on(tmp_path: Path) -> None:
    method = load_method("sft")

    def train(steps: int) -> tuple[bytes, int]:
        policy = TinyPolicy()
        recipe = Recipe(steps=steps, batch=4, schedule="constant", warmup=0)
        with RunFolder.open(tmp_path / "run", resume=True) as run:
            result = drive(method(policy, Loader(groups(12))), recipe=recipe, run=run, resume=True, progress=QUIET)
        return policy.bits(), result.steps

    first = train(3)
    assert train(3) == first
    policy = TinyPolicy()
    drive(method(policy, Loader(groups(12))), recipe=Recipe(steps=5, batch=4, schedule="constant", warmup=0), progress=QUIET)
    assert train(5) == (policy.bits(), 5)
