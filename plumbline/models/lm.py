"""`LM`: a causal language model with its tokenizer, as methods, protocols and evaluations see it."""

from __future__ import annotations

import copy
import functools
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, final

import torch
from torch import Tensor

from plumbline.core.batches import Group, Part
from plumbline.core.errors import UserError
from plumbline.core.nouns import Ask, Context, Prompt, Reply, Sampling
from plumbline.models import adapters, groups, loading, selfcheck
from plumbline.models.backends import BACKENDS
from plumbline.models.body import Body
from plumbline.models.dropout import Dropping
from plumbline.models.tokenizer import HFTokenizer

Scored = Part | Sequence[Group]
PLAIN = Sampling()


@final
class LM:
    """`model` is the module of transformers (with adapter layers inside, if there are any); `peft` wraps it where there are.

    `adapter` names the adapter that is active when this LM computes (None: none), so that a reference can share its policy's weights.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: HFTokenizer,
        *,
        peft: Any = None,
        adapter: str | None = adapters.TRAINED,
        name: str = "policy",
        attn: str = "auto",
        trainable: bool = True,
        gradient_checkpointing: bool = False,
    ) -> None:
        self.model, self.tokenizer, self.peft, self.adapter, self.name = model, tokenizer, peft, adapter, name
        self.attn, self.trainable, self.gradient_checkpointing = attn, trainable, gradient_checkpointing
        self.body = Body.of(model)
        model.eval()
        if gradient_checkpointing:
            options: dict[str, Any] = {"use_reentrant": False}
            if peft is not None:  # backward computes layers anew, when another adapter may be active
                options["context_fn"] = functools.partial(adapters.recomputing, peft)
            model.activation_checkpointing_enable(activation_checkpointing_kwargs=options)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        lora: int = 0,
        load_4bit: bool = False,
        dtype: str = "float32",
        device: str = "cpu",
        attn: str = "auto",
        gradient_checkpointing: bool = False,
        template: str | None = None,
        name: str = "policy",
        seed: int = 0,
        model: Any = None,
    ) -> LM:
        """A model directory (or hub name), or an adapter directory of PEFT with its base.

        `lora`: rank of a fresh adapter, 0 for none.   `model`: what was opened there already (the trunk of a classifier).
        """
        if attn not in ("auto", *BACKENDS):
            raise UserError(f"--attn {attn}: not known", f"One of: auto, {', '.join(BACKENDS)}.")
        adapter = path if loading.is_adapter(path) else None
        base = loading.adapter_base(path) if adapter else path
        model = model if model is not None else loading.causal_lm(base, dtype=dtype, device=device, load_4bit=load_4bit)
        tokenizer = HFTokenizer.load(base, template=template)
        loading.check_fit(tokenizer, model.get_input_embeddings().num_embeddings, base)
        tokenizer.end_ids |= loading.end_ids(model)
        peft = adapters.load(model, str(adapter)) if adapter else adapters.attach(model, lora, seed) if lora else None
        return cls(model, tokenizer, peft=peft, name=name, attn=attn, gradient_checkpointing=gradient_checkpointing)

    @property
    def config(self) -> Any:
        """The config of transformers."""
        return self.model.config

    @property
    def device(self) -> torch.device:
        """Where token ids go."""
        return self.body.device

    def parameters(self) -> list[Tensor]:
        """What an optimiser may change."""
        return list(self._trained().values())

    def state_dict(self) -> dict[str, Tensor]:
        """The trainable parameters by their names in transformers (tied ones once)."""
        return {name: p.detach() for name, p in self._trained().items()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Put values into the trainable parameters; the names must be the same."""
        mine = self._trained()
        if set(mine) != set(state):
            odd = sorted(set(mine) ^ set(state))[0]
            raise UserError(
                f"the checkpoint does not fit the model: {odd!r} is in only one of them", "Use the same model and --lora as before."
            )
        with torch.no_grad():
            for name, value in state.items():
                mine[name].copy_(value)

    def _trained(self) -> dict[str, Tensor]:
        if not self.trainable:
            return {}
        mine = "" if self.peft is None else f".{self.adapter}."  # another adapter of the same weights is another role's
        return {n: p for n, p in self.model.named_parameters() if p.requires_grad and mine in n}

    @contextmanager
    def view(self, *, training: bool = False) -> Iterator[None]:
        """Within: this LM's own adapter is active, and gradients are recorded only if it is trainable."""
        recompute = training and self.gradient_checkpointing and torch.is_grad_enabled()
        if recompute:
            self.model.train()  # transformers checkpoints in train mode only; dropout is 0 here (dropout.py)
        try:
            with torch.set_grad_enabled(torch.is_grad_enabled() and self.trainable):
                if self.peft is None:
                    yield
                else:
                    with adapters.active(self.peft, self.adapter):
                        yield
        finally:
            if recompute:
                self.model.eval()

    @property
    def backend(self) -> str:
        """The kernel's backend for this model: `attn`, or what the self-check and a short measurement choose."""
        if self.attn == "auto":
            self.attn = selfcheck.choose(self.body)
        return self.attn

    def token_logps(self, scored: Scored, *, temperature: float = 1.0) -> Tensor:
        """(N, T) nats of the completions' tokens, in order, 0 where a completion has ended."""
        backend = self.backend
        with self.view(training=True):
            return groups.token_logps(self.body, _groups(scored), backend=backend, temperature=temperature)

    def dropping(self, share: float) -> Dropping:
        """This model, dropping a share of its activations while gradients are recorded."""
        return Dropping(self, share)

    def logps(self, part: Part) -> Tensor:
        """(G, K) nats of whole completions."""
        return part.sum(self.token_logps(part))

    def hidden(self, scored: Scored, *, layer: int = -1) -> Tensor:
        """(N, T, H) states at the completions' tokens; `layer` as transformers counts hidden states, −1 after the last norm."""
        backend = self.backend
        with self.view(training=True):
            return groups.hidden(self.body, _groups(scored), backend=backend, layer=layer)

    def input_grad(self, scored: Scored, objective: Callable[[Tensor], Tensor]) -> list[Tensor]:
        """∂ objective(logp_NT) / ∂ prompt embeddings: (prompt length, H) per group, for attacks and saliency."""
        backend = self.backend
        with self.view():
            return groups.input_grad(self.body, _groups(scored), objective, backend=backend)

    def frozen(self, name: str = "reference") -> LM:
        """This model as it stands now, for good: shares the weights where only an adapter is trained, else a copy."""
        if not self.trainable:
            return self
        if self.peft is None:
            other = self.copy(name=name)
            other.trainable = False
            other.model.requires_grad_(False)
            return other
        own = self.adapter or adapters.TRAINED
        adapter = None if adapters.is_fresh(self.peft, own) else adapters.keep(self.peft, own)
        return LM(self.model, self.tokenizer, peft=self.peft, adapter=adapter, name=name, attn=self.attn, trainable=False)

    def copy(self, name: str | None = None) -> LM:
        """An independent model with the same weights, trainable as this one is."""
        peft = copy.deepcopy(self.peft)
        model = copy.deepcopy(self.model) if peft is None else peft.get_base_model()
        return LM(
            model,
            self.tokenizer,
            peft=peft,
            adapter=self.adapter,
            name=name or self.name,
            attn=self.attn,
            trainable=self.trainable,
            gradient_checkpointing=self.gradient_checkpointing,
        )

    def merge(self) -> LM:
        """A copy without adapter: it is folded into the weights, all of which are trainable again."""
        if self.peft is None:
            return self.copy()
        model = adapters.merged(self.peft, self.adapter).requires_grad_(True)
        return LM(model, self.tokenizer, name=self.name, attn=self.attn, gradient_checkpointing=self.gradient_checkpointing)

    def save(self, directory: str | os.PathLike[str]) -> None:
        """A plain directory of transformers: safetensors (an adapter merged), config, tokenizer with its template."""
        plain = self.model if self.peft is None else adapters.merged(self.peft, self.adapter)
        with loading.quiet():
            plain.save_pretrained(directory)
        self.tokenizer.save(directory)

    def fingerprint(self) -> str:
        """Hash of what this LM computes with: weights, and its adapter if it has one."""
        digest = hashlib.sha256(f"{self.adapter if self.peft is not None else ''}".encode())
        for name, value in sorted(self.model.state_dict().items()):
            if "lora_" not in name or (self.adapter is not None and f".{self.adapter}." in name):
                digest.update(name.encode())
                digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()

    def sample(self, prompts: Sequence[Context | Prompt], n: int = 1, sampling: Sampling = PLAIN) -> list[list[Reply]]:
        """`n` replies to each prompt, whose prefill they share."""
        from plumbline.models import decode  # decode knows LM: imported here, the two files need no common third

        with self.view():
            return decode.sample(self, [p.context if isinstance(p, Prompt) else p for p in prompts], n, sampling)

    def answer(self, asks: Sequence[Ask]) -> list[Reply]:
        """One reply per ask, in order; asks with equal contexts share a prefill."""
        from plumbline.models import decode

        with self.view():
            return decode.answer(self, asks)


def _groups(scored: Scored) -> Sequence[Group]:
    return scored.groups if isinstance(scored, Part) else scored
