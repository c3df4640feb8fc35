"""A checkpoint is there whole or not at all; what cannot be used is said or passed over."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_policy import TinyPolicy

from plumbline.core.errors import UserError
from plumbline.core.methods import State
from plumbline.engine.checkpoints import Checkpoints


def saved(folder: Path, *steps: int) -> Checkpoints:
    checkpoints = Checkpoints(folder)
    for step in steps:
        checkpoints.write(step, {"policy": TinyPolicy(step), "kl": State(beta=float(step))}, {"streams": []})
    return checkpoints


def test_what_is_restored_is_what_was_saved(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 1, 2)
    policy, state = TinyPolicy(0), State(beta=0.0)
    latest = checkpoints.latest()
    assert latest is not None
    assert latest.step == 2
    latest.restore({"policy": policy, "kl": state})
    assert policy.bits() == TinyPolicy(2).bits()
    assert state.beta == 2.0
    assert (latest.path / "policy" / "model.safetensors").is_file()


@pytest.mark.parametrize("harm", ["truncate", "flip", "remove", "manifest", "extra"])
def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path, harm: str) -> None:
    checkpoints = saved(tmp_path, 1, 2)
    file = checkpoints.path(2) / ("manifest.json" if harm == "manifest" else "policy.safetensors")
    data = file.read_bytes()
    if harm == "remove":
        file.unlink()
    elif harm == "flip":
        file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif harm == "extra":
        (checkpoints.path(2) / "stray").write_text("")
    else:
        file.write_bytes(data[: len(data) // 2])
    latest = checkpoints.latest()
    assert latest is not None
    assert latest.step == 1


def test_an_unfinished_write_is_never_seen_and_swept(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 1)
    checkpoints.path(1).rename(tmp_path / ".writing-00000001")
    assert checkpoints.latest() is None
    checkpoints.write(2, {"policy": TinyPolicy()}, {})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000002"]


def test_an_older_format_is_a_clear_error(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 1)
    manifest = checkpoints.path(1) / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "format": 0}))
    with pytest.raises(UserError, match="checkpoint format 0, this plumbline reads 1"):
        checkpoints.latest()


class FullDisk(TinyPolicy):
    """A policy whose own save meets the disk's end, by the device that is always full."""

    def save(self, folder: Path) -> None:
        folder.mkdir()
        with Path("/dev/full").open("wb", buffering=0) as file:
            file.write(b"weights")


class DressedError(TinyPolicy):
    """A library that hides the system's error in one of its own."""

    def save(self, folder: Path) -> None:
        raise RuntimeError(f"I/O error: {OSError(errno.ENOSPC, 'No space left on device')}")


@pytest.mark.parametrize("kind", [FullDisk, DressedError])
def test_a_full_disk_is_a_clear_error_and_the_last_good_checkpoint_stands(tmp_path: Path, kind: type[TinyPolicy]) -> None:
    checkpoints = saved(tmp_path, 1)
    with pytest.raises(UserError, match=r"no room to write .*step-00000002"):
        checkpoints.write(2, {"policy": kind()}, {})
    latest = checkpoints.latest()
    assert latest is not None
    assert latest.step == 1
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000001"]


def test_retention_keeps_the_newest_and_the_best(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 1, 2, 3, 4, 5)
    checkpoints.retain(2, best=3)
    assert checkpoints.steps() == [3, 4, 5]
    checkpoints.retain(2, best=None)
    assert checkpoints.steps() == [4, 5]


def test_tied_weights_and_foreign_roles(tmp_path: Path) -> None:
    class Tied(TinyPolicy):
        def state_dict(self) -> dict[str, Any]:
            shared = torch.arange(3.0)
            return {"a": shared, "b": shared}

        def save(self, folder: Path) -> None:
            """Nothing but the exact state."""

    checkpoints = Checkpoints(tmp_path)
    checkpoints.write(1, {"tied": Tied()}, {})
    latest = checkpoints.latest()
    assert latest is not None
    with pytest.raises(UserError, match="'tied', which this run has not"):
        latest.restore({"policy": TinyPolicy()})
