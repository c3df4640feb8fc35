"""Sampling: one prefill per distinct prompt, shared by its samples; finished rows leave; noise belongs to the sample.

    sample(lm, prompts, n)  →  n replies per prompt        the k-th draw of a prompt reads stream (seed, prompt, k)

So a reply is the same whatever it was batched with, wherever the decision margin exceeds what rounding moves (1e-5).
Equal prompts in one call go on counting k, so their replies differ.   EOS, where sampled, is the last id; it is never added.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch

from plumbline.core.errors import UserError
from plumbline.core.interfaces import Tokenizer
from plumbline.core.nouns import Ask, Context, Prompt, Reply, Sampling
from plumbline.models import choices, draw, lean, noise, steppers

PREFILL_TOKENS = 1 << 15  # prompt positions that one wave may hold
WAVE_BYTES = 1 << 30  # logits and caches that one wave may hold, roughly
IDLE = 1 / 8  # share of a batch that may have ended before the rest is moved together
PLAIN = Sampling()


class Decodes(Protocol):
    """What sampling needs of an `LM`."""

    @property
    def model(self) -> Any: ...
    @property
    def tokenizer(self) -> Tokenizer: ...


class Answers(Decodes, choices.Scores, Protocol):
    """What answering needs: sampling, and the kernel for choices."""


@dataclass
class Row:
    """One sample being drawn."""

    prompt: tuple[int, ...]
    key: int
    limit: int
    ids: list[int] = field(default_factory=list)
    logps: list[float] = field(default_factory=list)
    raws: list[float] = field(default_factory=list)
    text: str | None = None
    over: bool = False
    raw: bool = False

    def said(self, tokenizer: Tokenizer, ids: Sequence[int]) -> str:
        """The text of ids of this row.   After raw text it begins with its space, which some tokenizers leave out before a first token."""
        before = self.prompt[-1:] if self.raw else ()
        head, whole = tokenizer.decode(before) if before else "", tokenizer.decode([*before, *ids])
        return whole[len(head) :] if whole.startswith(head) else tokenizer.decode(ids)

    def reply(self, tokenizer: Tokenizer, ends: frozenset[int]) -> Reply:
        """The row as a reply; a stop id is kept in `ids` and left out of the text."""
        stopped = self.text is not None or self.ids[-1] in ends
        text = self.text if self.text is not None else self.said(tokenizer, self.ids[:-1] if stopped else self.ids)
        return Reply(text, tuple(self.ids), tuple(self.logps), tuple(self.raws), "stop" if stopped else "length")


@dataclass(frozen=True)
class Stops:
    """What ends a reply: ids (EOS and the caller's) and strings.   `tail` tokens are enough to hold any of the strings."""

    tokenizer: Tokenizer
    ids: frozenset[int]
    strings: tuple[str, ...]

    @property
    def tail(self) -> int:
        """A character takes at most four byte tokens; a few more stand before it."""
        return 4 * max(map(len, self.strings)) + 8

    def look(self, row: Row) -> None:
        """Mark the row as over where its last token ends it."""
        row.over = row.ids[-1] in self.ids or len(row.ids) >= row.limit
        if self.strings and any(s in self.tokenizer.decode(row.ids[-self.tail :]) for s in self.strings):
            text = row.said(self.tokenizer, row.ids)
            places = [text.find(s) for s in self.strings if s in text]
            if places:
                row.text, row.over = text[: min(places)], True


def sample(lm: Decodes, prompts: Sequence[Context | Prompt], n: int = 1, sampling: Sampling = PLAIN) -> list[list[Reply]]:
    """`n` replies to each prompt, in order."""
    draw.check(sampling)
    if n < 1:
        raise UserError(f"sample: n={n}", "Ask for one reply or more.")
    contexts = [p.context if isinstance(p, Prompt) else p for p in prompts]
    rendered = [tuple(lm.tokenizer.context_ids(c)) for c in contexts]
    limit = context_limit(lm.model)
    seen: dict[tuple[int, ...], int] = defaultdict(int)
    rows: list[Row] = []
    for at, ids in enumerate(rendered):
        _fits(ids, limit, at)
        for k in range(seen[ids], seen[ids] + n):
            room = min(sampling.max_tokens, limit - len(ids))
            rows.append(Row(ids, noise.stream_key(sampling.seed, ids, k), room, raw=isinstance(contexts[at], str)))
        seen[ids] += n
    ends = frozenset(end_ids(lm) | set(sampling.stop_ids))
    with torch.inference_mode():
        run(lm, rows, sampling, Stops(lm.tokenizer, ends, sampling.stop))
    replies = [row.reply(lm.tokenizer, ends) for row in rows]
    return [replies[i * n : (i + 1) * n] for i in range(len(contexts))]


def answer(lm: Answers, asks: Sequence[Ask]) -> list[Reply]:
    """One reply per ask, in order.   Asks of one sampling go together; equal contexts share their prefill."""
    replies: dict[int, Reply] = {}
    kinds: dict[str, list[int]] = defaultdict(list)
    for i, ask in enumerate(asks):
        kinds["choices" if ask.choices else repr(ask.sampling)].append(i)
    for kind, members in kinds.items():
        if kind == "choices":
            found = choices.choose(lm, [asks[i] for i in members])
        else:
            found = [r[0] for r in sample(lm, [asks[i].context for i in members], 1, asks[members[0]].sampling)]
        replies.update(zip(members, found, strict=True))
    return [replies[i] for i in range(len(asks))]


def context_limit(model: Any) -> int:
    """Positions that the model knows; a large number where its config states none."""
    return int(getattr(model.config.get_text_config(decoder=True), "max_position_embeddings", None) or 1 << 30)


def end_ids(lm: Decodes) -> set[int]:
    """EOS of the tokenizer (and the ends of a turn, where it knows some), and what the model's generation config names."""
    named = getattr(getattr(lm.model, "generation_config", None), "eos_token_id", None)
    more = named if isinstance(named, (list, tuple)) else [named]
    return {int(i) for i in (*more, lm.tokenizer.eos_id, *getattr(lm.tokenizer, "end_ids", ())) if i is not None}


def _fits(ids: tuple[int, ...], limit: int, at: int) -> None:
    if not ids:
        raise UserError(f"sample: prompt {at + 1} has no tokens", "Give it text, or use a tokenizer with a BOS token.")
    if len(ids) >= limit:
        raise UserError(
            f"sample: prompt {at + 1} has {len(ids)} tokens, and the model's context is {limit}",
            "Shorten the prompt, or use a model with a longer context.",
        )


def run(lm: Decodes, rows: Sequence[Row], sampling: Sampling, stops: Stops) -> None:
    """Draw all rows to their ends, in waves of prompts of similar length."""
    model = lm.model
    longest = max((len(r.prompt) + r.limit for r in rows), default=0)
    kind = "lean" if lean.serves(model) else steppers.kind_of(model, longest)
    build = {"lean": lean.Lean, "recomputed": steppers.Recomputed}.get(kind, steppers.Padded)
    for wave in waves(rows, room=_room(model, longest), equal=kind in ("bucketed", "recomputed")):
        prompts = {row.prompt: 0 for row in wave}
        for row in wave:
            prompts[row.prompt] += 1
        _decode(build(model, list(prompts), list(prompts.values()), max(r.limit for r in wave)), wave, sampling, stops)


def _room(model: Any, longest: int) -> int:
    """How many rows fit into a wave."""
    config = model.config.get_text_config(decoder=True)
    cache = 8 * getattr(config, "num_hidden_layers", 1) * getattr(config, "hidden_size", 1) * longest
    return max(8, WAVE_BYTES // (cache + 16 * config.vocab_size))


def waves(rows: Sequence[Row], *, room: int, equal: bool) -> Iterator[list[Row]]:
    """Rows sorted by prompt length, then prompt (so that a prompt's samples stand together), cut into waves."""
    wave: list[Row] = []
    prompts: set[tuple[int, ...]] = set()
    for row in sorted(rows, key=lambda r: (len(r.prompt), r.prompt)):
        full = len(wave) >= room or len(prompts | {row.prompt}) * len(row.prompt) > PREFILL_TOKENS
        if wave and (full or (equal and len(row.prompt) != len(wave[0].prompt))):
            yield wave
            wave, prompts = [], set()
        wave.append(row)
        prompts.add(row.prompt)
    if wave:
        yield wave


def _decode(stepper: steppers.Stepper, wave: list[Row], sampling: Sampling, stops: Stops) -> None:
    """The loop: draw, record, let finished rows go where they are many or can go no further, step."""
    keys_R = np.array([r.key for r in wave], dtype=np.uint64)
    logits_RV = stepper.logits_RV
    for step in range(max(r.limit for r in wave)):
        device = logits_RV.device
        token_R, logp_R, raw_R = draw.draw(
            logits_RV, sampling, lambda count, keys_R=keys_R, step=step, device=device: noise.gumbels(keys_R, step, count, device)
        )
        for row, token, logp, raw in zip(wave, token_R.tolist(), logp_R.tolist(), raw_R.tolist(), strict=True):
            if not row.over:
                row.ids.append(token)
                row.logps.append(logp)
                row.raws.append(raw)
                stops.look(row)
        alive = [i for i, row in enumerate(wave) if not row.over]
        if not alive:
            return
        if len(alive) <= (1 - IDLE) * len(wave) or any(row.over and step + 1 >= row.limit for row in wave):
            index_R = torch.tensor(alive, device=device)
            stepper.keep(index_R)
            token_R, keys_R, wave = token_R[index_R], keys_R[alive], [wave[i] for i in alive]
        logits_RV = stepper.step(token_R)
