"""What the engine tells and asks of the outside: progress, memory, trackers, fault names, stages' names and values."""

from __future__ import annotations

import io
import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import accelerate.tracking
import pytest
import torch
from tiny_policy import TinyPolicy, groups, imitate

from plumbline.core.batches import Batches
from plumbline.core.errors import UserError
from plumbline.core.methods import Stage, Step, Steps
from plumbline.engine import memory
from plumbline.engine.drive import drive
from plumbline.engine.faults import Faults
from plumbline.engine.loader import Loader
from plumbline.engine.progress import Progress, clock
from plumbline.engine.recipe import Recipe
from plumbline.engine.runs import RunFolder
from plumbline.engine.stages import run_pipeline

QUIET = Progress(quiet=True)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("kind", [io.StringIO, Terminal])
def test_progress_says_loss_gold_rate_and_time_left(kind: type[io.StringIO]) -> None:
    stream = kind()
    progress = Progress(stream=stream, pause=0)
    drive(
        imitate(TinyPolicy(), Loader(groups(8))), recipe=Recipe(batch=4, eval_every=1), evaluate=lambda: {"gold": 0.25}, progress=progress
    )
    text = stream.getvalue()
    assert ("\r" in text) == (kind is Terminal)
    last = text.replace("\r", "\n").strip().split("\n")[-1]
    assert "step 2  100%  loss " in last
    assert "gold 0.250" in last
    assert "tokens/s" in last
    assert "took 0:" in last
    assert (clock(75), clock(3700)) == ("1:15", "1:01:40")


def test_memory_is_counted_and_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = TinyPolicy()
    count = sum(p.numel() for p in policy.parameters())
    # float32: a gradient of 4 bytes and two moments of 4; no config, so no activations are known
    assert memory.needed({"policy": policy, "reference": policy.frozen()}, Recipe()) == 12 * count
    monkeypatch.setattr(memory, "available", lambda device: 12 * count - 1)
    with pytest.raises(UserError, match=r"needs about .* GiB"):
        drive(imitate(policy, Loader(groups(4))), recipe=Recipe(), progress=QUIET)
    drive(imitate(policy, Loader(groups(4))), recipe=Recipe(ignore_memory=True), progress=QUIET)


def test_available_memory_is_plausible() -> None:
    assert 2**20 < memory.available(torch.device("cpu")) < 2**45


def test_trackers_get_every_number(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Notebook:
        requires_logging_directory = True
        rows: list[tuple[int, dict[str, float]]] = []  # noqa: RUF012
        closed = False

        def __init__(self, name: str, logging_dir: Path) -> None: ...
        def start(self) -> None: ...
        def store_init_configuration(self, values: dict[str, str]) -> None: ...
        def log(self, values: dict[str, float], step: int) -> None:
            self.rows.append((step, values))

        def finish(self) -> None:
            Notebook.closed = True

    monkeypatch.setitem(accelerate.tracking.LOGGER_TYPE_TO_CLASS, "notebook", Notebook)
    monkeypatch.setattr(accelerate.tracking, "get_available_trackers", lambda: ["notebook"])
    figure = {"gold": {"mean": 0.5, "lo": 0.4, "hi": 0.6, "n": 3}}
    with RunFolder.open(tmp_path / "run") as run:
        recipe = Recipe(batch=4, track="notebook")
        drive(imitate(TinyPolicy(), Loader(groups(8))), recipe=recipe, run=run, evaluate=lambda: figure, progress=QUIET)
        written = run.read("metrics")
    assert [step for step, _ in Notebook.rows] == [1, 2]
    assert Notebook.rows[1][1]["eval/gold/mean"] == 0.5
    assert Notebook.rows[0][1]["loss"] == written[0]["loss"]
    assert Notebook.closed


@pytest.mark.parametrize(("name", "said"), [("notatracker", "there is no tracker"), ("clearml", "is not installed")])
def test_unknown_and_missing_trackers_are_refused(name: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        drive(imitate(TinyPolicy(), Loader(groups(4))), recipe=Recipe(track=name), progress=QUIET)


@pytest.mark.parametrize("text", ["checkpoint-writ:3", "part:x"])
def test_unknown_faults_are_refused(text: str) -> None:
    with pytest.raises(UserError):
        Faults.parse(text)


def returns(value: Any, policy: TinyPolicy, data: Batches) -> Steps:
    yield from imitate(policy, data)
    return value


@pytest.mark.parametrize("value", [None, 0.5, {"kl": [1, 2]}])
def test_a_finished_stage_is_not_entered_again(tmp_path: Path, value: Any) -> None:
    entered: list[str] = []

    def spied(name: str, steps: Steps) -> Steps:
        entered.append(name)
        return (yield from steps)

    def pipeline() -> Generator[Stage[Any], Any, tuple[Any, bytes]]:
        policy = TinyPolicy()
        answer = yield Stage("one", returns(value, policy, Loader(groups(8))), Recipe(batch=4))
        yield Stage("two", imitate(policy, Loader(groups(8))), Recipe(batch=8, lr=0.1))
        return (answer.bits() if value is None else answer), policy.bits()

    with RunFolder.open(tmp_path / "run") as run:
        first = run_pipeline(pipeline(), run, progress=QUIET)
    stamp = [p.stat().st_mtime_ns for p in sorted((tmp_path / "run" / "checkpoints").rglob("*.pt"))]
    with RunFolder.open(tmp_path / "run", resume=True) as run:
        second = run_pipeline(pipeline(), run, resume=True, progress=QUIET)
    assert second[1] == first[1]
    assert stamp == [p.stat().st_mtime_ns for p in sorted((tmp_path / "run" / "checkpoints").rglob("*.pt"))]
    assert second[0] == first[0]
    assert set(json.loads((tmp_path / "run" / "stages.json").read_text())) == {"one", "two"}


def test_a_lost_final_checkpoint_and_a_name_used_twice(tmp_path: Path) -> None:
    def pipeline(second: str) -> Generator[Stage[Any], Any, None]:
        yield Stage("one", imitate(TinyPolicy(), Loader(groups(8))), Recipe(batch=4))
        yield Stage(second, imitate(TinyPolicy(), Loader(groups(8))), Recipe(batch=4))

    with RunFolder.open(tmp_path / "run") as run:
        with pytest.raises(ValueError, match="used twice"):
            run_pipeline(pipeline("one"), run, progress=QUIET)
        next((tmp_path / "run" / "checkpoints" / "one").glob("step-*/training.pt")).unlink()
        with pytest.raises(UserError, match="gone or damaged"):
            run_pipeline(pipeline("two"), run, resume=True, progress=QUIET)


def test_a_stage_must_return_what_can_be_found_again(tmp_path: Path) -> None:
    def pipeline() -> Generator[Stage[Any], Any, None]:
        yield Stage("one", returns(object(), TinyPolicy(), Loader(groups(8))), Recipe(batch=4))

    with RunFolder.open(tmp_path / "run") as run, pytest.raises(ValueError, match="return a role, or plain JSON"):
        run_pipeline(pipeline(), run, progress=QUIET)


def test_a_method_that_ends_early_is_evaluated_and_saved(tmp_path: Path) -> None:
    def early(policy: TinyPolicy, data: Batches) -> Steps:
        for i, batch in enumerate(data):
            for part in batch.parts():
                yield Step(part.per_token(-policy.token_logps(part)), update=policy)
            if i == 1:
                return "done"

    with RunFolder.open(tmp_path / "run") as run:
        recipe = Recipe(batch=4)
        result = drive(early(TinyPolicy(), Loader(groups(40))), recipe=recipe, run=run, evaluate=lambda: {"gold": 1.0}, progress=QUIET)
        assert (result.steps, result.why, result.value, result.eval) == (2, "method", "done", {"gold": 1.0})
        assert run.checkpoints.steps() == [2]
