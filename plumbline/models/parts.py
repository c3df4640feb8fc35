"""What a decoder is made of, found by watching it compute: no names of architectures, no lists of attribute paths.

A small batch is run once, and of every block it is found which of its modules' outputs are added to the residual stream:

    resid_post = resid_pre + a · attn_out + m · mlp_out                least squares over all pairs of modules, the exact pair taken

and where queries, keys and the result of attention come from: at position 0 rotary embeddings turn nothing, so each channel of a query is
there some channel of an earlier module's output, times a constant.   What fits nothing is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from plumbline.core.errors import UserError
from plumbline.models import attention_tap

BATCH, LENGTH = 12, 13  # rows tell channels apart; 13 is no number of heads, so the axis of positions is known by its length


@dataclass(frozen=True)
class Branch:
    """A module whose output, times `scale`, is added to the stream."""

    module: str
    scale: float


@dataclass(frozen=True)
class Source:
    """Where q or k is before its rotary embedding: these channels of a module's output, one after another for each of `heads`.

    `turned`: the module gives (batch, head, pos, d).
    """

    module: str
    channels: Tensor
    heads: int
    turned: bool


@dataclass(frozen=True)
class Layer:
    """One block, by the names of its modules.   `parallel`: attention and MLP read the same stream, there is no resid_mid.

    `out`: the projection of z, if z goes into a module as it is.   `q`, `k`: None where they were not found in any module's output.
    """

    block: str
    attention: str
    attn: Branch
    mlp: Branch
    parallel: bool
    out: str | None
    q: Source | None
    k: Source | None


@dataclass(frozen=True)
class Parts:
    """Names of modules of a model.   `heads`, `d_head`: of queries in each layer; `kv_heads`: of keys and values."""

    layers: tuple[Layer, ...]
    embed: str
    norm: str
    heads: int
    kv_heads: int
    d_head: int


@dataclass
class Call:
    """What a module was given, and what it gave, in the probe."""

    name: str
    given: Tensor | None
    gave: Tensor


def first_tensor(value: Any) -> Tensor | None:
    """A tensor, or the first of a tuple."""
    value = value[0] if isinstance(value, (tuple, list)) and value else value
    return value if isinstance(value, Tensor) else None


def given(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor | None:
    """What a module works on: its first argument, or `hidden_states`."""
    return first_tensor(args) if args else first_tensor(kwargs.get("hidden_states"))


class Watch:
    """Records every module's call while a model computes."""

    def __init__(self, model: Any) -> None:
        self.calls: dict[str, Call] = {}
        self.taps: dict[str, dict[str, Tensor]] = {}
        self.order: list[str] = []
        self.model = model

    def _note(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        gave, took = first_tensor(output), given(args, kwargs)
        if gave is not None and name not in self.calls:
            self.calls[name] = Call(name, None if took is None else took.detach().clone(), gave.detach().clone())

    def _see(self, name: str, what: str, value: Tensor) -> Tensor:
        if name not in self.taps:
            self.order.append(name)
        self.taps.setdefault(name, {})[what] = value.detach().clone()
        return value

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Within: calls are recorded."""
        able = attention_tap.layers(self.model)
        wants = dict.fromkeys(able, frozenset({"rot_q", "rot_k", "v", "z"}))
        with ExitStack() as stack:
            for name, module in self.model.named_modules():
                if name:
                    note = lambda _m, a, k, o, name=name: self._note(name, a, k, o)  # noqa: E731
                    stack.callback(module.register_forward_hook(note, with_kwargs=True).remove)
            stack.enter_context(attention_tap.tapped(able, wants, self._see))
            yield


class NotUnderstoodError(UserError):
    """A model whose structure the probe could not make out."""

    def __init__(self, model: Any, why: str) -> None:
        super().__init__(
            f"{type(model).__name__}: its insides are not understood ({why})",
            "Hooks need decoder blocks with one softmax attention and one MLP each, added to one residual stream.",
        )


def probe_ids(model: Any, seed: int = 0) -> Tensor:
    """(BATCH, LENGTH) random tokens; every row begins with another one where the vocabulary allows."""
    embedding = model.get_input_embeddings()
    noise = torch.Generator().manual_seed(seed)
    ids = torch.randint(embedding.num_embeddings, (BATCH, LENGTH), generator=noise)
    ids[:, 0] = torch.randperm(embedding.num_embeddings, generator=noise)[torch.arange(BATCH) % embedding.num_embeddings]
    return ids.to(embedding.weight.device)


@torch.no_grad()
def find(model: Any) -> Parts:
    """Watch the model compute a probe, and name its parts."""
    watch = Watch(model)
    with watch.watching():
        model(input_ids=probe_ids(model), use_cache=False)
    if not watch.order:
        raise NotUnderstoodError(model, "no layer asks transformers for its attention function")
    blocks = _blocks(model, watch.order)
    layers = tuple(_layer(model, watch, block, attention) for block, attention in zip(blocks, watch.order, strict=True))
    seen = watch.taps[watch.order[0]]
    _, _, heads, d_head = seen["z"].shape
    if any(t["z"].shape[2:] != seen["z"].shape[2:] for t in watch.taps.values()):
        raise NotUnderstoodError(model, "its layers differ in their heads")
    own = {name: module for name, module in model.named_modules() if module is model.get_input_embeddings()}
    kv = _kv_heads(watch.taps[watch.order[0]]["v"])
    return Parts(layers, next(iter(own)), _norm(model, watch, blocks), heads, kv, d_head)


def _kv_heads(v: Tensor) -> int:
    """Of values shown per query head: how many are different."""
    same = [bool(torch.equal(v[:, :, i], v[:, :, i + 1])) for i in range(v.shape[2] - 1)]
    return 1 + same.count(False)


def _blocks(model: Any, attentions: list[str]) -> list[str]:
    """The element of the list of layers that holds each attention: the list is the longest common path of all."""
    from torch import nn

    found = []
    for name in attentions:
        parts = name.split(".")
        paths = [".".join(parts[:i]) for i in range(1, len(parts) + 1)]
        lists = [p for p, up in zip(paths[1:], paths, strict=False) if isinstance(model.get_submodule(up), nn.ModuleList)]
        if not lists:
            raise NotUnderstoodError(model, f"{name} stands in no list of layers")
        found.append(lists[0])
    stack = model.get_submodule(found[0].rpartition(".")[0])
    if len(set(found)) != len(found) or len(stack) != len(found):
        raise NotUnderstoodError(model, f"{len(stack)} layers, but {len(found)} attentions in {len(set(found))} of them")
    return found


def _streams(watch: Watch, block: str, like: Tensor) -> list[Call]:
    """Direct children of a block that gave something of the stream's shape, in the order in which they were done."""
    children = [c for name, c in watch.calls.items() if name.rpartition(".")[0] == block]
    streams = [c for c in children if (c.gave.numel(), c.gave.shape[-1]) == (like.numel(), like.shape[-1])]
    return [Call(c.name, c.given, c.gave.reshape(like.shape)) for c in streams]


def _branches(pre: Tensor, post: Tensor, calls: list[Call]) -> tuple[float, list[tuple[Call, float]]]:
    """The pair of modules whose scaled outputs make up what a block adds, and how far off they are (1: as far as rounding may be)."""
    eps = torch.finfo(pre.dtype).eps
    added = (post.double() - pre.double()).flatten()
    best: tuple[float, list[tuple[Call, float]]] = (float("inf"), [])
    for pair in combinations(calls, 2):
        columns = torch.stack([c.gave.double().flatten() for c in pair], dim=1)
        scales = torch.linalg.lstsq(columns.cpu(), added[:, None].cpu()).solution[:, 0].tolist()
        scales = [1.0 if abs(s - 1) < min(1e-2, 1e3 * eps) else s for s in scales]
        off = (added - columns @ columns.new_tensor(scales)).norm().item()
        allowed = 8 * eps * (pre.norm() + post.norm() + columns.norm()).item()
        if off / allowed < best[0]:
            best = off / allowed, list(zip(pair, scales, strict=True))
    return best


def _layer(model: Any, watch: Watch, block: str, attention: str) -> Layer:
    call, tap = watch.calls[block], watch.taps[attention]
    pre, post = call.given, call.gave
    if pre is None or pre.shape != post.shape:
        raise NotUnderstoodError(model, f"{block} does not turn a stream into a stream of the same shape")
    calls = _streams(watch, block, post)
    at = next((i for i, c in enumerate(calls) if (attention + ".").startswith(c.name + ".")), 0)
    off, found = _branches(pre, post, calls[at:])
    if off > 1:
        raise NotUnderstoodError(model, f"what {block} adds to the stream is not the sum of what two of its modules give")
    (attn, a), (mlp, m) = found
    mid = pre.double() + a * attn.gave.double()
    near = 8 * torch.finfo(pre.dtype).eps * mid.norm()
    givens = [c.given.reshape(pre.shape) for c in calls if c.given is not None and c.given.numel() == pre.numel()]
    parallel = not any((g.double() - mid).norm() <= near for g in givens)
    inner = [c for n, c in watch.calls.items() if n.startswith(attention + ".")]
    inner.sort(key=lambda c: c.name.count("."))  # a layer of an adapter stands before the layer that it wraps
    z = tap["z"].flatten(2)
    out = next((c.name for c in inner if c.given is not None and c.given.shape == z.shape and torch.equal(c.given, z)), None)
    q, k = _source(inner, tap["rot_q"]), _source(inner, _distinct(tap["rot_k"]))
    return Layer(block, attention, Branch(attn.name, a), Branch(mlp.name, m), parallel, out, q, k)


def _distinct(x: Tensor) -> Tensor:
    """(batch, pos, kv head, d) of keys shown per query head."""
    return x[:, :, :: x.shape[2] // _kv_heads(x)]


def _source(calls: list[Call], seen: Tensor) -> Source | None:
    """The first module in whose output at position 0 every channel of `seen` is found, times one constant."""
    want_BC = seen[:, 0].flatten(1).double()
    for call in calls:
        if call.gave.dim() not in (3, 4) or LENGTH not in call.gave.shape[1:3]:
            continue
        turned = call.gave.shape[1] != LENGTH
        have_BD = (call.gave[:, :, 0] if turned else call.gave[:, 0]).flatten(1).double()
        alike_CD = _unit(want_BC).T @ _unit(have_BD)
        channels_C = alike_CD.argmax(1)
        got_BC = have_BD[:, channels_C]
        ratio = (want_BC * got_BC).sum() / (got_BC * got_BC).sum()
        if (want_BC - ratio * got_BC).abs().max() <= 32 * torch.finfo(seen.dtype).eps * want_BC.abs().max():
            return Source(call.name, channels_C, seen.shape[2], turned)
    return None


def _unit(x_BC: Tensor) -> Tensor:
    return x_BC / x_BC.norm(dim=0).clamp_min(1e-30)


def _norm(model: Any, watch: Watch, blocks: list[str]) -> str:
    """The module between the last block and the head."""
    last, head = watch.calls[blocks[-1]].gave, model.get_output_embeddings()
    states = next(c.given for n, c in watch.calls.items() if model.get_submodule(n) is head)
    for name, call in watch.calls.items():
        if call.given is None or call.given.shape != last.shape or states is None or call.gave.shape != states.shape:
            continue
        if torch.equal(call.given, last) and torch.equal(call.gave, states):
            return name
    raise NotUnderstoodError(model, "between the last block and the head there is more than one norm")
