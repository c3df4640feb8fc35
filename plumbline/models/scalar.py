"""`ScalarLM`: a trunk and a linear head without bias, which gives numbers instead of words: rewards, or values.

    scores  s_c(x, y) = w_c · h(last token of y)             one per completion and head: a reward, a criterion
    values  V(x, y_<t) = w_1 · h(the token before y_t)       one per token: what is still to come from there

w begins with standard deviation 1/√(d + 1) (Stiennon et al. 2020, arXiv 2009.01325, app. B.1).   On disk it is a sequence-classification
directory of transformers, whose last token is the rightmost one that is not its padding token; what transformers has no place for
(names, weights, mean and spread of the heads) is in `plumbline_reward` of config.json.
"""

from __future__ import annotations

import copy
import hashlib
import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Unpack, final

import torch
from torch import Tensor, nn

from plumbline.core.batches import Batch, Group, Part
from plumbline.core.errors import UserError
from plumbline.core.nouns import Game, Scores
from plumbline.models import adapters, classifiers, groups, loading
from plumbline.models.lm import LM
from plumbline.models.tokenizer import HFTokenizer

MICRO_TOKENS = 8192
FORGET = 0.9  # what a batch's share of the running mean and spread keeps when the next batch is seen: about the last ten count


@final
class ScalarLM:
    """`trunk` gives states (its vocabulary head, if it has one, is never used), `head` (C, H) reads them.

    `weights`: of each head in the total, 1 where none is stated.
    `moments` (3, C): weight, mean and mean square of raw scores, times the weight; `mean` and `std` come from it.
    `pad`: a token id that is passed over at the end of a text, as in the directories that were trained so.
    """

    def __init__(
        self, trunk: LM, head: Tensor, heads: Sequence[str], *, weights: Mapping[str, float] | None = None, pad: int | None = None
    ) -> None:
        if len(heads) != len(head) or len(set(heads)) != len(heads):
            raise ValueError(f"{len(head)} heads want as many different names, not {list(heads)}")
        self.trunk, self.heads, self.pad = trunk, tuple(heads), pad
        self.head = nn.Parameter(head.detach().float().clone(), requires_grad=trunk.trainable)
        self.weights: dict[str, float] = {name: float((weights or {}).get(name, 1.0)) for name in heads}
        self.moments = torch.zeros(3, len(heads), dtype=torch.float64)

    @classmethod
    def on(cls, lm: LM, heads: Sequence[str] = ("reward",), *, seed: int = 0) -> ScalarLM:
        """A fresh head on the weights of `lm`: a further adapter on the same base where it carries adapters, else its own copy of them."""
        name = heads[0] if len(heads) == 1 else "reward"
        return cls(_own(lm, name, seed), _fresh(lm.body.width, len(heads), seed).to(lm.device), heads)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        heads: Sequence[str] = (),
        dtype: str = "float32",
        name: str = "reward",
        seed: int = 0,
        **how: Unpack[loading.Loading],
    ) -> ScalarLM:
        """A sequence-classification directory (ours or another's), or a causal LM directory, which gets a fresh head.

        `heads`: their names, by default those in the directory, else "reward".   The other options are those of `LM.load`.
        """
        if loading.is_adapter(path) or not loading.is_classifier(path):
            lm = LM.load(path, dtype=dtype, name=name, seed=seed, **how)
            names = heads or ("reward",)
            return cls(_headless(lm), _fresh(lm.body.width, len(names), seed).to(lm.device), names)
        model = loading.classifier(path, dtype=dtype, device=how.get("device", "cpu"), load_4bit=how.get("load_4bit", False))
        kept, pad = classifiers.take(model.config), model.config.get_text_config().pad_token_id
        names = tuple(heads) or classifiers.names(model.config, kept)
        if len(names) != len(model.score.weight):
            raise UserError(f"{path} has {len(model.score.weight)} heads, not {len(names)} ({', '.join(names)})", "Name as many.")
        trunk = LM.load(path, model=model.base_model, name=name, seed=seed, **how)
        scalar = cls(trunk, model.score.weight, names, weights=kept.get("weights"), pad=pad)
        scalar.standardise(kept.get("mean", {}), kept.get("std", {}))
        return scalar

    # -- numbers

    def scores(self, scored: Part | Sequence[Group]) -> Tensor:
        """(N, C) raw scores, with gradient: each head at the last token of each completion."""
        rows = [self._kept(g) for g in _groups(scored)]
        last_N = [len(c) - 1 for g in rows for c in g.completions]
        score_NTC = self._read(rows, self.head)
        return score_NTC[torch.arange(len(last_N), device=self.device), torch.tensor(last_N, device=self.device)]

    def values(self, scored: Part | Sequence[Group]) -> Tensor:
        """(N, T) the first head at the state before each completion token, 0 where a completion has ended."""
        return self._read(_groups(scored), self.head[:1], before=True)[..., 0]

    def _read(self, rows: Sequence[Group], head_CH: Tensor, *, before: bool = False) -> Tensor:
        """(N, T, C) of a head at completion tokens (or before them), in float32 whatever the trunk computes in."""
        backend = self.trunk.backend

        def read(states_PH: Tensor) -> Tensor:
            with torch.autocast(states_PH.device.type, enabled=False):
                return states_PH.float() @ head_CH.t()

        with self.trunk.view(training=True):
            return groups.hidden(self.trunk.body, rows, backend=backend, before=before, read=read)

    def _kept(self, group: Group) -> Group:
        """A group as far as it is read: without trailing padding tokens.   Where nothing is left, the prompt's last token is read."""
        ends = [max((t + 1 for t, token in enumerate(c) if token != self.pad), default=0) for c in group.completions]
        kept = tuple(c[:end] for c, end in zip(group.completions, ends, strict=True))
        if all(kept):
            return group if kept == group.completions else Group(group.prompt, kept)
        return Group(group.prompt[:-1], tuple((group.prompt[-1], *c) for c in kept))

    @torch.no_grad()
    def __call__(self, games: Sequence[Game]) -> Scores:
        """Rewards of games, by head: (raw − mean) / std of what it was trained on.   No gradient."""
        rows = self._groups_of(games)
        found: dict[int, list[list[float]]] = {}
        for part in Batch(rows, micro_tokens=MICRO_TOKENS).parts():
            values = iter(self.scores(part).double().cpu())
            found |= {g.row: [next(values).tolist() for _ in g.completions] for g in part.groups}
        raw_NC = [row for g in rows for row in found[g.row]]
        mean, std = self.mean, self.std
        columns = {name: [(row[c] - mean[name]) / std[name] for row in raw_NC] for c, name in enumerate(self.heads)}
        return Scores(columns, weights=dict(self.weights))

    def _groups_of(self, games: Sequence[Game]) -> list[Group]:
        """Games as groups of my own tokens: neighbours with one context share their prompt."""
        rows: list[Group] = []
        held: list[tuple[int, ...]] = []
        for i, game in enumerate(games):
            turn = game.turns[-1]
            held.append(classifiers.ids_of(self.tokenizer, turn))
            if i + 1 < len(games) and games[i + 1].turns[-1].context == turn.context:
                continue
            prompt = tuple(self.tokenizer.context_ids(turn.context))
            rows.append(classifiers.fitted(Group(prompt, tuple(held), row=len(rows)), self.config, self.tokenizer.bos_id))
            held = []
        return rows

    # -- mean and spread

    @property
    def mean(self) -> dict[str, float]:
        """Of the raw scores of each head; 0 before any were seen."""
        return self._moment(lambda weight, first, second: first / weight, 0.0)

    @property
    def std(self) -> dict[str, float]:
        """Of the raw scores of each head; 1 before any were seen, and where all are equal."""
        return self._moment(lambda weight, first, second: math.sqrt(max(second / weight - (first / weight) ** 2, 0.0)) or 1.0, 1.0)

    def _moment(self, compute: Callable[[float, float, float], float], absent: float) -> dict[str, float]:
        return {n: compute(*column) if column[0] else absent for n, column in zip(self.heads, self.moments.t().tolist(), strict=True)}

    def observe(self, raw: Sequence[Tensor], mean: Callable[[Tensor], Tensor]) -> None:
        """Move mean and spread towards a batch of raw (n, C) scores; `mean` is over ranks.   Without gradients (an evaluation): nothing."""
        if not torch.is_grad_enabled():
            return
        raw_NC = torch.cat([x.detach().double() for x in raw]) if raw else self.head.new_zeros(0, len(self.heads), dtype=torch.float64)
        now_2C = torch.stack([torch.stack([mean(x_N) for x_N in power.t()]) for power in (raw_NC, raw_NC.square())]).cpu()
        self.moments = FORGET * self.moments + (1 - FORGET) * torch.cat([torch.ones(1, len(self.heads), dtype=torch.float64), now_2C])

    def standardise(self, mean: Mapping[str, float], std: Mapping[str, float]) -> None:
        """Set both, where they are known."""
        mean_C, std_C = ([float(given.get(n, absent)) for n in self.heads] for given, absent in ((mean, 0.0), (std, 1.0)))
        self.moments = torch.tensor([[1.0] * len(mean_C), mean_C, [s * s + m * m for m, s in zip(mean_C, std_C, strict=True)]]).double()

    # -- an updatable object that can be saved

    @property
    def model(self) -> Any:
        """The module that gives states."""
        return self.trunk.model

    @property
    def tokenizer(self) -> HFTokenizer:
        """Its own, which need not be the policy's."""
        return self.trunk.tokenizer

    @property
    def name(self) -> str:
        """As it is called in reports."""
        return self.trunk.name

    @property
    def config(self) -> Any:
        """The config of transformers."""
        return self.trunk.config

    @property
    def device(self) -> torch.device:
        """Where token ids go."""
        return self.trunk.device

    @property
    def gradient_checkpointing(self) -> bool:
        """Whether activations are computed twice to keep fewer."""
        return self.trunk.gradient_checkpointing

    def parameters(self) -> list[Tensor]:
        """What an optimiser may change: its part of the trunk, and the head."""
        return [*self.trunk.parameters(), self.head] if self.trunk.trainable else []

    def state_dict(self) -> dict[str, Tensor]:
        """The trainable parameters, and the running moments; nothing if it is frozen."""
        if not self.trunk.trainable:
            return {}
        return {**self.trunk.state_dict(), "score.weight": self.head.detach(), "moments": self.moments}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Put values into them; the names must be the same."""
        rest = dict(state)
        head, moments = rest.pop("score.weight", None), rest.pop("moments", None)
        if head is None or moments is None or head.shape != self.head.shape:
            raise UserError("the checkpoint does not fit: its heads are not those of this model", "Use the same model and heads as before.")
        self.trunk.load_state_dict(rest)
        with torch.no_grad():
            self.head.copy_(head)
        self.moments = moments.double().cpu().clone()

    def frozen(self, name: str = "") -> ScalarLM:
        """This model as it stands now, for good."""
        return self._with(self.trunk.frozen(name or self.name)) if self.trunk.trainable else self

    def copy(self, name: str = "") -> ScalarLM:
        """An independent model with the same numbers: a further adapter on the same base, or a copy of all weights."""
        return self._with(_own(self.trunk, name or self.name, 0))

    def _with(self, trunk: LM) -> ScalarLM:
        other = ScalarLM(trunk, self.head, self.heads, weights=self.weights, pad=self.pad)
        other.moments = self.moments.clone()
        return other

    def save(self, directory: str | os.PathLike[str]) -> None:
        """A sequence-classification directory of transformers (an adapter merged), with tokenizer and template."""
        peft = self.trunk.peft
        trunk = self.model if peft is None else adapters.merged(peft, self.trunk.adapter)
        kept = {"heads": list(self.heads), "weights": self.weights, "mean": self.mean, "std": self.std}
        classifiers.save(directory, trunk.base_model, self.head, self.tokenizer, kept, self.pad)

    def fingerprint(self) -> str:
        """Hash of all that its rewards depend on."""
        numbers = (self.trunk.fingerprint(), self.heads, self.weights, self.head.detach().cpu().tolist(), self.mean, self.std, self.pad)
        return hashlib.sha256(repr(numbers).encode()).hexdigest()


def _fresh(width: int, count: int, seed: int) -> Tensor:
    """(C, H) weights of standard deviation 1/√(H + 1)."""
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed)) / math.sqrt(width + 1)


def _own(lm: LM, name: str, seed: int) -> LM:
    """A trunk with the weights of `lm` that nobody else trains."""
    if lm.peft is None:
        model = copy.deepcopy(lm.model.base_model).requires_grad_(True)
        return LM(model, lm.tokenizer, name=name, attn=lm.attn, gradient_checkpointing=lm.gradient_checkpointing)
    adapter = adapters.branch(lm.peft, lm.adapter, seed)
    return LM(
        lm.model,
        lm.tokenizer,
        peft=lm.peft,
        adapter=adapter,
        name=name,
        attn=lm.attn,
        gradient_checkpointing=lm.gradient_checkpointing,
    )


def _headless(lm: LM) -> LM:
    """`lm`, without its vocabulary head where that would be trained."""
    if lm.peft is not None:
        return lm
    return LM(lm.model.base_model, lm.tokenizer, name=lm.name, attn=lm.attn, gradient_checkpointing=lm.gradient_checkpointing)


def _groups(scored: Part | Sequence[Group]) -> Sequence[Group]:
    return scored.groups if isinstance(scored, Part) else scored
