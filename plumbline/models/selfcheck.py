"""Which backend may be used for this architecture: whichever gives what one-by-one forward passes give.

On a shrunk copy of the config with strong weights (see `shrink`), groups longer than its window and its original length are scored
by every backend and, one sequence at a time, by the model's own forward pass and logits.   Values and gradients must agree.   Of those
that do, the fastest on a small measured load is taken; the answer is kept per architecture, so that a resumed run computes alike.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from plumbline.core.batches import Group
from plumbline.models import groups as kernel
from plumbline.models import shrink
from plumbline.models.body import Body
from plumbline.models.loading import quiet

log = logging.getLogger("plumbline")
VALUES, GRADIENTS = 2e-4, 2e-3  # a wrong mask is off by whole nats; rounding of the shrunk model stays below a tenth of these


def one_by_one(model: Any, groups: Sequence[Group], temperature: float = 1.0) -> list[Tensor]:
    """The definition: each completion's log-probabilities from a plain forward pass over prompt + completion alone."""
    found = []
    device = model.get_input_embeddings().weight.device
    for group in groups:
        for completion in group.completions:
            ids = torch.tensor([[*group.prompt, *completion]], device=device)
            logits = model(input_ids=ids, use_cache=False).logits[0, len(group.prompt) - 1 : -1].float() / temperature
            found.append(torch.log_softmax(logits, -1).gather(1, ids[0, len(group.prompt) :, None])[:, 0])
    return found


def probe(vocabulary: int, seed: int = 0) -> list[Group]:
    """Groups that a wrong mask cannot survive: shorter and longer than the window, one and many completions, packed together."""
    noise = torch.Generator().manual_seed(seed)

    def ids(count: int) -> tuple[int, ...]:
        return tuple(torch.randint(1, vocabulary, (count,), generator=noise).tolist())

    shapes = [(13, (9, 12, 4)), (3, (2, 5)), (1, (3,)), (20, (1, 11))]
    return [Group(ids(prompt), tuple(ids(c) for c in completions)) for prompt, completions in shapes]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Largest differences from one-by-one."""

    values: float
    gradients: float

    @property
    def right(self) -> bool:
        return self.values < VALUES and self.gradients < GRADIENTS


def compare(model: Any, groups: Sequence[Group], backend: str) -> Verdict:
    """Values and gradients (relative to the largest gradient) of a backend against one-by-one."""
    weight = torch.Generator().manual_seed(1)
    want = torch.cat(one_by_one(model, groups))
    weights = torch.randn(want.shape, generator=weight).to(want.device)
    trained = [p for p in model.parameters() if p.requires_grad]
    want_grads = torch.autograd.grad((want * weights).sum(), trained, allow_unused=True)
    got_NT = kernel.token_logps(Body.of(model), groups, backend=backend)
    widths = [len(c) for g in groups for c in g.completions]
    got = torch.cat([row[:w] for row, w in zip(got_NT, widths, strict=True)])
    got_grads = torch.autograd.grad((got * weights).sum(), trained, allow_unused=True)
    largest = max(g.abs().max().item() for g in want_grads if g is not None)
    gaps = [
        ((torch.zeros_like(p) if a is None else a) - (torch.zeros_like(p) if b is None else b)).abs().max().item() / largest
        for p, a, b in zip(trained, want_grads, got_grads, strict=True)
    ]
    return Verdict((got - want).abs().max().item(), max(gaps))


def choose(body: Body) -> str:
    """The backend for this model: the preferred one among those that are right for its architecture."""
    key = _key(body)
    if key not in _chosen:
        with torch.inference_mode(False), torch.enable_grad():  # an evaluation may be the first to ask, and it records no gradients
            _chosen[key] = _first_right(body)
    return _chosen[key]


_chosen: dict[str, str] = {}


def _key(body: Body) -> str:
    config = {**body.model.config.to_dict(), "attention": body.model.config._attn_implementation, "device": body.device.type}
    return hashlib.sha256(repr(sorted(config.items(), key=str)).encode()).hexdigest()


def _first_right(body: Body) -> str:
    from transformers import AutoModelForCausalLM

    try:
        with torch.random.fork_rng(devices=[]), quiet():
            config = shrink.shrunk(body.model.config)
            tiny = AutoModelForCausalLM.from_config(config, attn_implementation=body.model.config._attn_implementation)
            tiny = shrink.strengthen(tiny.float()).to(body.device)
    except Exception as error:
        log.warning("kernel: no small copy of this architecture could be made to check on (%s): padded rows are used", error)
        return "padded"
    for backend in ("dense", "prefix"):
        try:
            verdict = compare(tiny, probe(config.vocab_size), backend)
        except Exception as error:
            log.warning("kernel: %s cannot run on this architecture (%s)", backend, type(error).__name__)
            continue
        if verdict.right:
            return backend
    return "padded"
