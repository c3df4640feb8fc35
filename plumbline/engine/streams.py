"""Random streams: python's, numpy's and torch's, as one value that can be saved, restored and set aside.

A drive has its own streams (seeded by seed and rank) and gives the caller's back.   An evaluation has its own too, seeded by
(seed, step), with every module in eval mode: whether it runs changes nothing that is trained.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy
import torch


def streams() -> dict[str, Any]:
    """The state of every stream, as values that `torch.save` can write and a weights-only load can read."""
    version, words, gauss = random.getstate()
    kind, keys, position, has_gauss, cached = numpy.random.get_state(legacy=True)
    return {
        "python": [version, list(words), gauss],
        "numpy": [str(kind), torch.from_numpy(numpy.asarray(keys).astype("int64")), int(position), int(has_gauss), float(cached)],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
    }


def set_streams(state: dict[str, Any]) -> None:
    """Put every stream where `streams` found it."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    kind, keys, position, has_gauss, cached = state["numpy"]
    numpy.random.set_state((kind, keys.numpy().astype("uint32"), position, has_gauss, cached))
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])


@contextmanager
def own_streams(*key: int) -> Iterator[None]:
    """Inside: streams seeded by `key`.   Outside: as if nothing had been drawn."""
    before = streams()
    seed = int(numpy.random.SeedSequence([k & 0xFFFFFFFF for k in key]).generate_state(1)[0])
    random.seed(seed)
    numpy.random.seed(seed)
    torch.manual_seed(seed)
    try:
        yield
    finally:
        set_streams(before)


def _modules(roles: Iterable[Any]) -> Iterator[torch.nn.Module]:
    for role in roles:
        for thing in (role, getattr(role, "model", None)):
            if isinstance(thing, torch.nn.Module):
                yield from thing.modules()


@contextmanager
def eval_mode(roles: Iterable[Any]) -> Iterator[None]:
    """Inside: every module of the roles in eval mode, no gradients.   Outside: each module's mode as it was."""
    modes = [(m, m.training) for m in _modules(roles)]
    for module, _ in modes:
        module.training = False
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode
