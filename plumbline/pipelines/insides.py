"""Looking inside a model from texts: what the commands of `plumbline interp` compute and say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from plumbline.core.errors import UserError
from plumbline.core.nouns import Ask, Context, Label, Message, Prompt, Sampling, plain
from plumbline.interp import patching, probes, steering
from plumbline.interp.attribution import Attribution, attribute
from plumbline.interp.lens import logit_lens
from plumbline.models.hooks import Insides
from plumbline.models.lm import LM
from plumbline.pipelines import sources

Said = tuple[dict[str, Any], str]
Text = tuple[str, str]  # what is read, and how the answer begins
BY_POSITION = ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out")
BY_HEAD = ("z", "pattern", "rot_q", "rot_k", "v")


@dataclass(frozen=True)
class Opened:
    """A model and its insides."""

    lm: LM
    insides: Insides

    def ids(self, text: str, reply: str = "", *, chat: bool = False) -> list[int]:
        """The tokens of a text and of the beginning of its answer."""
        return self.row((Message("user", text),) if chat else text, reply)

    def row(self, context: Context, reply: str = "") -> list[int]:
        """The same of any context."""
        tail = self.lm.tokenizer.completion_ids(context, reply, complete=False) if reply else []
        return [*self.lm.tokenizer.context_ids(context), *tail]

    def words(self, ids: Sequence[int]) -> list[str]:
        """Each token as text, special ones too."""
        one = [self.lm.tokenizer.hf.decode([i], skip_special_tokens=False) for i in ids]
        return [w.strip() or repr(w) for w in one]

    def next_id(self, word: str, text: str, reply: str, *, chat: bool) -> int:
        """The first token of a word that follows a text."""
        before, after = self.ids(text, reply, chat=chat), self.ids(text, f"{reply} {word}".strip(), chat=chat)
        if after[: len(before)] != before or len(after) == len(before) or after[len(before)] == self.lm.tokenizer.unk_id:
            raise UserError(f"{word!r} is no token that can follow the text", "Write the word as the model would write it.")
        return after[len(before)]


def opened(model: str, device: str = "auto", threads: int = 0) -> Opened:
    """A model by its name, with hooks that are proven."""
    sources.use_threads(threads)
    lm = sources.load(model, device=device)
    return Opened(lm, Insides.of(lm))


def lens(o: Opened, text: str, *, chat: bool = False, reply: str = "", top: int = 5) -> Said:
    """The likeliest next tokens after each layer."""
    ids = o.ids(text, reply, chat=chat)
    found = logit_lens(o.insides, ids)
    p_SLK, token_SLK = found.top(top)
    rows = {
        name: [{"token": w, "p": round(p, 4)} for w, p in zip(o.words(t.tolist()), q.tolist(), strict=True)]
        for name, t, q in zip(found.streams, token_SLK[:, -1], p_SLK[:, -1], strict=True)
    }
    width = max(map(len, rows))
    lines = [f"after {o.words(ids)[-1]!r}:"]
    lines += [f"{name:{width}}  " + "  ".join(f"{r['token']} {r['p']:.2f}" for r in row) for name, row in rows.items()]
    return {"tokens": o.words(ids), "next": rows}, "\n".join(lines)


def attributed(o: Opened, text: str, *, chat: bool, reply: str, answer: str = "", against: str = "") -> tuple[Attribution, str]:
    """The shares of a word's logit, and what they are shares of."""
    ids = o.ids(text, reply, chat=chat)
    with torch.no_grad():
        likeliest = int(o.insides.run(ids)[0][0, -1].argmax())
    token = o.next_id(answer, text, reply, chat=chat) if answer else likeliest
    other = o.next_id(against, text, reply, chat=chat) if against else None
    name = o.words([token])[0] + (f" minus {o.words([other])[0]}" if other is not None else "")
    return attribute(o.insides, ids, token, against=other), name


def attribution(o: Opened, text: str, *, chat: bool = False, reply: str = "", answer: str = "", against: str = "", top: int = 12) -> Said:
    """The largest shares of a word's logit."""
    found, name = attributed(o, text, chat=chat, reply=reply, answer=answer, against=against)
    largest = sorted(found.parts.items(), key=lambda part: -abs(part[1]))[:top]
    rest = sum(found.parts.values()) - sum(v for _, v in largest)
    lines = [f"logit of {name}: {found.logit:.4f}; the {len(found.parts)} parts sum to it within {found.gap:.1e}"]
    lines += [f"{part:24}{value:9.3f}" for part, value in largest] + [f"{'all others':24}{rest:9.3f}"]
    return {"of": name, "logit": found.logit, "gap": found.gap, "parts": found.parts}, "\n".join(lines)


@dataclass(frozen=True)
class Patched:
    """A table of effects: rows are layers, columns positions or heads.   `answer`, `wrong`: what the two runs say."""

    table: Tensor
    columns: list[str]
    answer: str
    wrong: str


def patched(o: Opened, clean: Text, corrupted: Text, *, chat: bool, what: str = "resid_pre") -> Patched:
    """Share of the difference between the two answers that each single activation of the clean run brings back."""
    if what not in (*BY_POSITION, *BY_HEAD):
        raise UserError(f"--what {what}: not known", f"One of: {', '.join((*BY_POSITION, *BY_HEAD))}.")
    good, bad = o.ids(*clean, chat=chat), o.ids(*corrupted, chat=chat)
    if len(good) != len(bad):
        raise UserError(f"the texts have {len(good)} and {len(bad)} tokens", "Patching wants as many in both: exchange words one for one.")
    with torch.no_grad():
        good_logits, cache = o.insides.run(good, keep=o.insides.chosen(lambda n: n == "hook_embed" or n.endswith(f"hook_{what}")))
        bad_logits = o.insides.run(bad)[0]
    answer, wrong = int(good_logits[0, -1].argmax()), int(bad_logits[0, -1].argmax())
    if answer == wrong:
        raise UserError(f"both texts are answered by {o.words([answer])[0]!r}", "Take a corrupted text with another answer.")
    metric = patching.between(patching.difference(answer, wrong), bad_logits, good_logits)
    by = patching.patch if what in BY_POSITION else patching.patch_heads
    table = by(o.insides, bad, cache, metric, what)
    columns = o.words(good) if what in BY_POSITION else [f"head {h}" for h in range(table.shape[1])]
    return Patched(table, columns, *o.words([answer, wrong]))


def patch(o: Opened, pair: tuple[Text, Text], *, chat: bool = False, what: str = "resid_pre") -> Said:
    """The table of effects."""
    found = patched(o, *pair, chat=chat, what=what)
    lines = [f"{found.answer} (clean) against {found.wrong} (corrupted): share of the difference that hook_{what} brings back"]
    lines.append(" " * 16 + "".join(f"{f'layer {i}':>9}" for i in range(len(found.table))))
    lines += [
        f"{name:16.16}" + "".join(f"{v:9.2f}" for v in column) for name, column in zip(found.columns, found.table.T.tolist(), strict=True)
    ]
    return {"answer": found.answer, "wrong": found.wrong, "columns": found.columns, "effect": found.table.tolist()}, "\n".join(lines)


def probe(o: Opened, data: str, *, held_out: float = 0.3, seed: int = 0, skip_bad: bool = False) -> Said:
    """A probe of thumbs at the last token of each reply, in every layer's stream; the control's types are their last words (before it)."""
    items = sources.items(data, Label, skip_bad=skip_bad)
    rows = [o.row(item.context, item.completion) for item in items]
    labels = [int(item.desirable) for item in items]
    short = next((item for item, row in zip(items, rows, strict=True) if len(row) < 2), None)
    if short is not None:
        raise UserError(f"{data}: {short.completion!r} is a single token", "The control's types are the tokens before the last.")
    types = [row[-2] for row in rows]
    x_NSD = steering.all_states(o.insides, rows)
    found = {f"layer {i}": probes.probe(x_NSD[:, i], labels, types, held_out=held_out, seed=seed) for i in range(x_NSD.shape[1])}
    first = next(iter(found.values()))
    lines = [
        f"{len(rows)} rows, scored on {first.n}; the commoner label has {first.majority:.3f}",
        f"{'':10}accuracy  control  selectivity",
    ]
    lines += [f"{name:10}{p.accuracy:8.3f}{p.control:9.3f}{p.selectivity:13.3f}" for name, p in found.items()]
    said = {name: {"accuracy": p.accuracy, "control": p.control, "selectivity": p.selectivity} for name, p in found.items()}
    return {"n": first.n, "majority": first.majority, "layers": said}, "\n".join(lines)


def steer(o: Opened, sets: tuple[str, str], prompts: str, *, layer: int, scale: float | None, most: int) -> Said:
    """Greedy replies with and without a direction; `scale` None takes it out."""
    layer = layer if layer >= 0 else o.insides.layers // 2
    if layer >= o.insides.layers:
        raise UserError(f"--layer {layer}: this model has no such block", f"Give 0 to {o.insides.layers - 1}, or -1 for the middle.")
    toward, away = ([o.row(p.context) for p in sources.items(spec, Prompt)] for spec in sets)
    v_D = steering.direction(o.insides, toward, away, layer)
    hooks = steering.ablating(v_D) if scale is None else steering.adding(v_D, layer, scale=scale)
    done = "taken out everywhere" if scale is None else f"times {scale:g} added before block {layer}"
    asked = sources.items(prompts, Prompt)
    asks = [Ask(o.lm.name, p.context, Sampling(temperature=0.0, max_tokens=most)) for p in asked]
    both = (o.lm.answer(asks), steering.Steered(o.lm, hooks).answer(asks))
    rows = [
        {"prompt": plain(p.context), "plain": before.text, "steered": after.text} for p, before, after in zip(asked, *both, strict=True)
    ]
    lines = [f"mean of {len(toward)} minus mean of {len(away)}, length {v_D.norm():.2f}, {done}"]
    for row in rows:
        lines += [row["prompt"], f"  plain    {row['plain']}", f"  steered  {row['steered']}"]
    return {"layer": layer, "length": v_D.norm().item(), "replies": rows}, "\n".join(lines)
