"""Checkpoints: everything that a run needs to go on as if it had not stopped, in one folder that is there whole or not at all.

    checkpoints/step-00000120/
      manifest.json          format, step, versions, and size and checksum of every file
      <role>.safetensors     a role's trainable state, exactly
      <role>/                the same as a plain Hugging Face directory, where the role can save itself
      training.pt            optimisers, counters, random streams, data position, states that are not tensors

Written to a hidden folder, every file synced, then renamed: so a folder with its name is complete.   One that fails its checksums
(a disk's doing) is passed over for the one before.
"""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save

from plumbline.core.errors import UserError
from plumbline.engine.faults import INERT, Faults

FORMAT = 1
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A complete checkpoint on disk."""

    path: Path
    step: int

    def training(self) -> dict[str, Any]:
        """What `training.pt` holds."""
        return torch.load(self.path / "training.pt", weights_only=True)

    def restore(self, roles: Mapping[str, Any]) -> None:
        """Put the saved state into the roles of the same names."""
        for name, state in self.training()["states"].items():
            roles[name].load_state_dict(state)
        for file in sorted(self.path.glob("*.safetensors")):
            if file.stem not in roles:
                raise UserError(
                    f"{file} belongs to a role {file.stem!r}, which this run has not", "Resume with the method of the first run."
                )
            roles[file.stem].load_state_dict(load_file(file))


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _checksum(path: Path) -> int:
    crc = 0
    with path.open("rb") as file:
        while piece := file.read(1 << 22):
            crc = zlib.crc32(piece, crc)
    return crc


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "manifest.json")


def write_atomically(path: Path, data: bytes) -> None:
    """A file that is the old or the new one, whatever happens in between."""
    temporary = path.with_name(f".{path.name}.new")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    _sync(path.parent)


def _write_role(folder: Path, name: str, role: Any) -> dict[str, Any] | None:
    """Write a role's tensors; returns its state instead if it holds other things."""
    state = role.state_dict()
    if not state or not all(isinstance(v, torch.Tensor) for v in state.values()):
        return state
    # Clones, as safetensors refuses tensors that share memory (tied weights).
    (folder / f"{name}.safetensors").write_bytes(save({k: v.detach().cpu().clone().contiguous() for k, v in state.items()}))
    if hasattr(role, "save"):
        role.save(folder / name)
    return None


def _write_all(folder: Path, step: int, roles: Mapping[str, Any], training: dict[str, Any], about: Mapping[str, Any]) -> None:
    states = {name: _write_role(folder, name, role) for name, role in roles.items()}
    held = io.BytesIO()
    torch.save({**training, "states": {name: state for name, state in states.items() if state is not None}}, held)
    (folder / "training.pt").write_bytes(held.getbuffer())
    sizes = {str(p.relative_to(folder)): [p.stat().st_size, _checksum(p)] for p in _files(folder)}
    manifest = {"format": FORMAT, "step": step, **about, "files": sizes}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    for path in [*_files(folder), folder / "manifest.json", *[p for p in folder.rglob("*") if p.is_dir()], folder]:
        _sync(path)


class Checkpoints:
    """The checkpoints of one run (or of one stage of it)."""

    def __init__(self, folder: Path, *, faults: Faults = INERT) -> None:
        self.folder, self.faults = folder, faults

    def path(self, step: int) -> Path:
        """Where the checkpoint of a step is, or would be."""
        return self.folder / f"step-{step:08d}"

    def write(self, step: int, roles: Mapping[str, Any], training: dict[str, Any], about: Mapping[str, Any] | None = None) -> Path:
        """Save the roles and the training state after `step` steps."""
        self.sweep()
        hidden, path = self.folder / f".writing-{step:08d}", self.path(step)
        try:
            hidden.mkdir(parents=True)
            _write_all(hidden, step, roles, training, about or {})
        except Exception as error:
            shutil.rmtree(hidden, ignore_errors=True)
            if self._full(error):
                free = shutil.disk_usage(self.folder).free / 2**20
                raise UserError(
                    f"no room to write {path} ({free:,.0f} MiB free); the checkpoints before it stand",
                    "Free some space, or lower keep, and go on with --resume.",
                ) from error
            raise
        self.faults.at("checkpoint-write")
        if path.exists():
            shutil.rmtree(path)  # failed its checksums, or it would have been resumed from
        hidden.rename(path)
        _sync(self.folder)
        self.faults.at("checkpoint-renamed")
        return path

    def _full(self, error: Exception) -> bool:
        """Whether an error, however a library dressed it, comes from a full disk."""
        if isinstance(error, OSError) and error.errno in FULL:
            return True
        return "No space left" in str(error) or "os error 28" in str(error)

    def sweep(self) -> None:
        """Remove what an interrupted write left."""
        for left in self.folder.glob(".writing-*"):
            shutil.rmtree(left)

    def steps(self) -> list[int]:
        """Steps of all checkpoints, oldest first."""
        return sorted(int(p.name.split("-")[1]) for p in self.folder.glob("step-*") if p.is_dir())

    def latest(self) -> Checkpoint | None:
        """The newest complete checkpoint."""
        for step in reversed(self.steps()):
            if self._complete(self.path(step)):
                return Checkpoint(self.path(step), step)
        return None

    def _complete(self, path: Path) -> bool:
        try:
            manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        if manifest.get("format") != FORMAT:
            raise UserError(
                f"{path} has checkpoint format {manifest.get('format')}, this plumbline reads {FORMAT}",
                f"Resume with the version that wrote it, or start a new run from its weights (--model {path}/policy).",
            )
        sizes = {str(p.relative_to(path)): p.stat().st_size for p in _files(path)}
        if sizes != {name: size for name, (size, _) in manifest["files"].items()}:
            return False
        return all(_checksum(path / name) == crc for name, (_, crc) in manifest["files"].items())

    def retain(self, keep: int, best: int | None) -> None:
        """Keep the newest `keep` and the best; remove the others, oldest first."""
        for step in self.steps()[:-keep]:
            if step != best:
                shutil.rmtree(self.path(step))
