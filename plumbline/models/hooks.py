"""Reading and changing what an untouched model computes, by the field's names and shapes.

    hook_embed                      batch pos d_model           blocks.l.hook_resid_pre, _mid, _post     batch pos d_model
    blocks.l.attn.hook_q, _k, _v, _z    batch pos head d_head   blocks.l.hook_attn_out, hook_mlp_out     batch pos d_model
    blocks.l.attn.hook_pattern      batch head query key        ln_final.hook_normalized                 batch pos d_model

`hook_q` and `hook_k` stand before the rotary embedding, `hook_rot_q` and `hook_rot_k` after it.   Keys and values that a group of heads
shares are shown once per query head.   `hook_attn_out` and `hook_mlp_out` are what is really added to the stream, so after a norm or a
multiplier that stands behind them.   Names as in TransformerLens (Nanda and Bloom 2022).

A function `fn(value, hook=point)` returns the value to go on with, or None to leave it.   Where it changes nothing, no bit changes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from plumbline.core.errors import UserError
from plumbline.models import attention_tap
from plumbline.models.body import Body
from plumbline.models.head import Scaling
from plumbline.models.lm import LM
from plumbline.models.parts import Branch, Layer, NotUnderstoodError, Parts, Source, find, first_tensor, probe_ids

Cache = dict[str, Tensor]
Hook = Callable[..., Tensor | None]
Names = str | Sequence[str] | Callable[[str], bool] | None
STREAMS = ("hook_resid_pre", "hook_attn_out", "hook_resid_mid", "hook_mlp_out", "hook_resid_post")
TAPPED = ("rot_q", "rot_k", "v", "pattern", "z")


@dataclass(frozen=True)
class HookPoint:
    """What a hook function is told of where it stands."""

    name: str

    def layer(self) -> int:
        """The number of the block, from 0."""
        return int(self.name.split(".")[1])


@final
class Insides:
    """A model and its parts, proven: with every hook in place and nothing changed, its logits are bit-equal to its own."""

    def __init__(self, model: Any, parts: Parts, lm: LM | None) -> None:
        self.model, self.parts, self.lm = model, parts, lm

    @classmethod
    def of(cls, model: Any) -> Insides:
        """The insides of an `LM`, or of a causal language model of transformers in eval mode; refused where they are not understood."""
        if isinstance(model, Insides):
            return model
        lm = model if isinstance(model, LM) else None
        model = model.model if lm is not None else model
        if model.training:
            raise UserError("hooks: the model is in training mode", "Call model.eval(): dropout would make every run another.")
        with lm.view() if lm is not None else ExitStack():
            insides = cls(model, find(model), lm)
            insides._prove()
        return insides

    @torch.no_grad()
    def _prove(self) -> None:
        ids = probe_ids(self.model, seed=1)[:2]
        plain = self.model(input_ids=ids, use_cache=False).logits
        logits, cache = self.run(ids, keep=self.names)
        lacking = [name for name in self.names if name not in cache]
        if lacking:
            raise NotUnderstoodError(self.model, f"{lacking[0]} never came by")
        if not torch.equal(plain, logits):
            raise NotUnderstoodError(self.model, "with hooks that change nothing its logits are others")
        last = cache[f"blocks.{self.layers - 1}.hook_resid_post"]
        again = self.unembed(last)
        if not torch.allclose(again, plain.to(again.dtype), atol=1e-3, rtol=1e-2 if plain.dtype.itemsize < 4 else 1e-4):
            raise NotUnderstoodError(self.model, "its logits are not its head's of the normed stream")

    @property
    def layers(self) -> int:
        """Number of blocks."""
        return len(self.parts.layers)

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        """Every hook of this model, in the order of the computation."""
        found = ["hook_embed"]
        for i, layer in enumerate(self.parts.layers):
            sources = [what for what, source in (("q", layer.q), ("k", layer.k)) if source is not None]
            inner = [f"attn.hook_{what}" for what in (*sources, *TAPPED)]
            outer = [s for s in STREAMS[1:] if not (layer.parallel and s == "hook_resid_mid")]
            found += [f"blocks.{i}.{name}" for name in (STREAMS[0], *inner, *outer)]
        return (*found, "ln_final.hook_normalized")

    def chosen(self, names: Names) -> tuple[str, ...]:
        """The hooks that names stand for: one, several, a test of names, or None for all."""
        if names is None:
            return self.names
        if callable(names):
            return tuple(n for n in self.names if names(n))
        wanted = (names,) if isinstance(names, str) else tuple(names)
        for name in wanted:
            if name not in self.names:
                kinds = sorted({n.split(".", 2)[-1] if n.startswith("blocks.") else n for n in self.names})
                raise UserError(f"this model has no hook {name!r}", f"It has {self.layers} blocks with: {', '.join(kinds)}.")
        return wanted

    def run(
        self, tokens: Tensor | Sequence[int], fwd_hooks: Sequence[tuple[Any, Hook]] = (), keep: Sequence[str] = ()
    ) -> tuple[Tensor, Cache]:
        """(batch, pos, vocabulary) logits with hooks in place, and what `keep` names as it was after them."""
        cache: Cache = {}
        with ExitStack() as stack:
            if self.lm is not None:
                stack.enter_context(self.lm.view())
            stack.enter_context(_Run(self, self._by_name(fwd_hooks), frozenset(keep), cache).installed())
            logits = self.model(input_ids=self.tokens(tokens), use_cache=False).logits
        return logits, {name: cache[name] for name in self.names if name in cache}

    @contextmanager
    def hooked(self, fwd_hooks: Sequence[tuple[Any, Hook]]) -> Iterator[None]:
        """Within: whatever runs the model, the decoder or the kernel of log-probabilities, runs it with functions in place at its streams.

        They see some positions of some texts at a time, in whatever packing, so each must treat every position alike.
        """
        hooks = self._by_name(fwd_hooks)
        inner = [name for name in hooks if ".attn." in name]
        if inner:
            raise UserError(
                f"{inner[0]} cannot stay in place while a model writes", "Change a stream (hook_resid_pre …), or use run_with_hooks."
            )
        with _Run(self, hooks, frozenset(), {}).installed():
            yield

    def _by_name(self, fwd_hooks: Sequence[tuple[Any, Hook]]) -> dict[str, list[Hook]]:
        hooks: dict[str, list[Hook]] = {}
        for names, fn in fwd_hooks:
            for name in self.chosen(names):
                hooks.setdefault(name, []).append(fn)
        return hooks

    @property
    def scaling(self) -> Scaling:
        """What the model does to its logits."""
        return Body.of(self.model).scaling

    def unembed(self, stream: Tensor, *, capped: bool = True) -> Tensor:
        """What the final norm and the head make of any stream, (…, d_model) → (…, vocabulary).   `capped`: after the soft cap."""
        return self.unembed_normed(self.model.get_submodule(self.parts.norm)(stream), capped=capped)

    def unembed_normed(self, normed: Tensor, *, capped: bool = True) -> Tensor:
        """The same of what the final norm gave."""
        scaling = self.scaling
        z = self.model.get_output_embeddings()(normed) * scaling.scale
        z = z if z.dtype == torch.float64 else z.float()
        return scaling.cap * (z / scaling.cap).tanh() if scaling.cap and capped else z

    def tokens(self, tokens: Tensor | Sequence[int]) -> Tensor:
        """(batch, pos) ids where the model is."""
        ids = torch.as_tensor(tokens, device=self.model.get_input_embeddings().weight.device)
        return ids[None] if ids.dim() == 1 else ids


def run_with_cache(model: Any, tokens: Tensor | Sequence[int], names: Names = None) -> tuple[Tensor, Cache]:
    """Logits, and the values of the hooks that are named (None: of all), without gradient history."""
    insides = Insides.of(model)
    return insides.run(tokens, keep=insides.chosen(names))


def run_with_hooks(model: Any, tokens: Tensor | Sequence[int], fwd_hooks: Sequence[tuple[Any, Hook]] = ()) -> Tensor:
    """Logits with functions in place that may change what they see.   `fwd_hooks`: (name, several names or a test of names; function)."""
    return Insides.of(model).run(tokens, fwd_hooks)[0]


class _Run:
    """One forward pass: which names are of interest, where their values are found, and how a changed one is put back."""

    def __init__(self, insides: Insides, hooks: Mapping[str, Sequence[Hook]], keep: frozenset[str], cache: Cache) -> None:
        self.insides, self.hooks, self.keep, self.cache = insides, hooks, keep, cache
        self.pre: dict[int, Tensor] = {}
        self.length = 0

    def wanted(self, name: str) -> bool:
        return name in self.keep or name in self.hooks

    def see(self, name: str, value: Tensor) -> Tensor:
        """Pass a value through its hooks; the same object back if they changed nothing."""
        now = value
        for fn in self.hooks.get(name, ()):
            new = fn(now, hook=HookPoint(name))
            if new is not None and new.shape != value.shape:
                raise UserError(
                    f"the function of {name} returned {tuple(new.shape)}", f"It was shown {tuple(value.shape)}: return that shape, or None."
                )
            now = now if new is None or _same(new, now) else new
        if name in self.keep:
            self.cache[name] = now.detach()
        return now

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Within: the hooks are in place."""
        parts, model = self.insides.parts, self.insides.model
        with ExitStack() as stack:
            self._output(stack, parts.embed, "hook_embed")
            self._output(stack, parts.norm, "ln_final.hook_normalized")
            for i, layer in enumerate(parts.layers):
                self._layer(stack, i, layer)
            wants = {layer.attention: self._tapped(i) for i, layer in enumerate(parts.layers)}
            wants = {name: what for name, what in wants.items() if what}
            number = {layer.attention: i for i, layer in enumerate(parts.layers)}
            see = lambda name, what, x: self.see(f"blocks.{number[name]}.attn.hook_{what}", x)  # noqa: E731
            modules = {name: model.get_submodule(name) for name in wants}
            stack.enter_context(attention_tap.tapped(modules, wants, see))
            yield

    def _tapped(self, i: int) -> frozenset[str]:
        return frozenset(what for what in TAPPED if self.wanted(f"blocks.{i}.attn.hook_{what}"))

    def _output(self, stack: ExitStack, module: str, name: str, **how: Any) -> None:
        """Show a module's output as `name`, and put back what comes of it."""
        if self.wanted(name):
            hook = functools.partial(self._pass, name=name, **how)
            stack.callback(self.insides.model.get_submodule(module).register_forward_hook(hook).remove)

    def _pass(self, _module: Any, _args: Any, output: Any, *, name: str, scale: float = 1.0, shape: bool = False) -> Any:
        raw = first_tensor(output)
        assert raw is not None
        value = raw.view(-1, self.length, raw.shape[-1]) if shape else raw
        value = value * scale if scale != 1.0 else value
        new = self.see(name, value)
        return None if new is value else _put(output, (new / scale if scale != 1.0 else new).reshape(raw.shape))

    def _layer(self, stack: ExitStack, i: int, layer: Layer) -> None:
        at, model = f"blocks.{i}.", self.insides.model
        if any(self.wanted(at + name) for name in STREAMS):
            block = model.get_submodule(layer.block)
            stack.callback(block.register_forward_pre_hook(functools.partial(self._enter, i=i), with_kwargs=True).remove)
        for what, source in (("q", layer.q), ("k", layer.k)):
            if source is not None and self.wanted(f"{at}attn.hook_{what}"):
                hook = functools.partial(self._channels, name=f"{at}attn.hook_{what}", source=source)
                stack.callback(model.get_submodule(source.module).register_forward_hook(hook).remove)
        self._output(stack, layer.attn.module, at + "hook_attn_out", scale=layer.attn.scale, shape=True)
        if self.wanted(at + "hook_resid_mid"):
            hook = functools.partial(self._mid, i=i, branch=layer.attn)
            stack.callback(model.get_submodule(layer.attn.module).register_forward_hook(hook).remove)
        self._output(stack, layer.mlp.module, at + "hook_mlp_out", scale=layer.mlp.scale, shape=True)
        self._output(stack, layer.block, at + "hook_resid_post")

    def _enter(self, _module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], *, i: int) -> Any:
        """The stream comes into a block."""
        value = args[0] if args else kwargs["hidden_states"]
        name = f"blocks.{i}.hook_resid_pre"
        new = self.see(name, value) if self.wanted(name) else value
        self.pre[i], self.length = new, new.shape[1]
        if new is value:
            return None
        return ((new, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": new})

    def _mid(self, _module: Any, _args: Any, output: Any, *, i: int, branch: Branch) -> Any:
        """The stream between attention and MLP: computed here, and changed by changing what attention adds."""
        raw, pre = first_tensor(output), self.pre[i]
        assert raw is not None
        mid = pre + raw.view(pre.shape) * branch.scale
        new = self.see(f"blocks.{i}.hook_resid_mid", mid)
        if new is mid:
            return None
        added = torch.where(new == mid, raw.view(pre.shape), (new - pre) / branch.scale)
        return _put(output, added.reshape(raw.shape))

    def _channels(self, _module: Any, _args: Any, output: Any, *, name: str, source: Source) -> Any:
        """Queries or keys among a module's output channels, shown per query head."""
        parts, raw = self.insides.parts, first_tensor(output)
        assert raw is not None
        flat = (raw.transpose(1, 2) if source.turned else raw).flatten(2)
        own = flat[:, :, source.channels].unflatten(-1, (source.heads, -1))
        groups = parts.heads // source.heads
        shown = own.repeat_interleave(groups, dim=2) if groups > 1 else own
        new = self.see(name, shown)
        if new is shown:
            return None
        shared = new[:, :, ::groups]
        if groups > 1 and not torch.equal(shared.repeat_interleave(groups, dim=2), new):
            raise UserError(
                f"{name}: heads of one group share their keys, and were changed differently", "Change hook_rot_k, which is per head."
            )
        flat = flat.index_copy(2, source.channels, shared.flatten(2))
        return _put(output, flat.unflatten(2, (raw.shape[1], -1)).transpose(1, 2) if source.turned else flat.view(raw.shape))


def _same(new: Tensor, old: Tensor) -> bool:
    """Nothing was changed: the same numbers, and no gradient is to flow to where the new ones come from."""
    return new is old or (not (new.requires_grad and torch.is_grad_enabled()) and torch.equal(new, old))


def _put(output: Any, new: Tensor) -> Any:
    """A module's output with another first tensor."""
    return new if isinstance(output, Tensor) else type(output)((new, *output[1:]))
