"""`plumbline data check FILE`: what a file of feedback holds and what training would do with it, before anything is trained.

Lengths are tokens where a tokenizer is given, else words.   Trained text stands between ⟦ and ⟧.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plumbline.core.batches import Group
from plumbline.core.interfaces import Tokenizer
from plumbline.core.nouns import Comparison, Feedback, Prompt, completions_of, plain
from plumbline.data.columns import KINDS, USED
from plumbline.data.plan import UNKNOWN, Plan
from plumbline.data.rows import Rows, open_rows

QUANTILES = (0.0, 0.25, 0.5, 0.9, 0.99, 1.0)
SHOWN = 240  # characters of a prompt or completion shown


@dataclass
class Check:
    """What was found.   `lengths`: name → values at `QUANTILES`.   `pairs` name rows: (earlier, later).

    `unknown`: rows with words that the tokenizer has no tokens for.
    """

    file: str
    kind: str
    rows: int
    items: int
    unit: str
    columns: dict[str, int]
    conversions: dict[str, int]
    lengths: dict[str, list[int]] = field(default_factory=dict)
    truncated: dict[str, int] = field(default_factory=dict)
    unknown: int = 0
    limits: tuple[int | None, int | None] = (None, None)
    duplicates: list[tuple[int, int]] = field(default_factory=list)
    contradictions: list[tuple[int, int]] = field(default_factory=list)
    repeats: int = 0
    overlap: list[tuple[int, int]] = field(default_factory=list)
    overlap_with: str = ""
    bad: list[str] = field(default_factory=list)
    samples: list[str] = field(default_factory=list)

    def record(self) -> dict[str, Any]:
        """For `--json`."""
        return dict(self.__dict__)

    def text(self) -> str:
        """For people."""
        return "\n".join([*_facts(self), *_findings(self), *self.samples])


def check(
    path: str | Path,
    *,
    kind: type | None = None,
    tokenizer: Tokenizer | None = None,
    eval_path: str | Path | None = None,
    max_prompt_tokens: int | None = None,
    max_completion_tokens: int | None = None,
) -> Check:
    """Read a whole file, bad rows too, and say what is in it."""
    rows = open_rows(path, kind, skip_bad=True)
    unit = "tokens" if tokenizer else "words"
    found = Check(rows.file, KINDS[rows.kind], rows.used, len(rows), unit, dict(rows.columns), dict(rows.conversions))
    found.bad = [error.message for error in rows.skipped]
    _compare(rows, found)
    if eval_path:
        _overlap(rows, open_rows(eval_path, skip_bad=True), found)
    if tokenizer and rows.kind is not Prompt:
        whole = Plan(rows, tokenizer, skip_bad=True)
        cut = Plan(rows, tokenizer, max_prompt_tokens=max_prompt_tokens, max_completion_tokens=max_completion_tokens, skip_bad=True)
        _with_tokens(whole, cut, found)
    else:
        _with_words(rows, found)
    return found


def _texts(item: Any) -> tuple[str, ...]:
    return () if isinstance(item, Prompt) else completions_of(item)


def _digest(*parts: object) -> bytes:
    return hashlib.blake2b(repr(parts).encode("utf-8", "replace"), digest_size=12).digest()


def _compare(rows: Rows, found: Check) -> None:
    """Exact duplicates, comparisons that say the opposite of an earlier one, completions that repeat their prompt."""
    seen: dict[bytes, int] = {}
    order: dict[bytes, tuple[int, bytes]] = {}
    for i, item in enumerate(rows):
        texts, row = _texts(item), rows.row(i)
        digest = _digest(item.context, texts, *(getattr(item, name, None) for name in ("desirable", "preference", "scores")))
        if digest in seen:
            found.duplicates.append((seen[digest], row))
        seen.setdefault(digest, row)
        raw = isinstance(item.context, str) and item.context.strip()
        found.repeats += bool(raw and texts and all(t.startswith(item.context) for t in texts))
        if isinstance(item, Comparison):
            _contradiction(item, row, order, found)


def _contradiction(item: Comparison, row: int, order: dict[bytes, tuple[int, bytes]], found: Check) -> None:
    for i, better in enumerate(item.completions):
        for worse in item.completions[i + 1 :]:
            if item.preference == 0.5:
                continue
            first = better if item.preference > 0.5 else worse
            pair, winner = _digest(item.context, *sorted((better, worse))), _digest(first)
            before = order.setdefault(pair, (row, winner))
            if before[1] != winner:
                found.contradictions.append((before[0], row))


def _overlap(rows: Rows, other: Rows, found: Check) -> None:
    """Prompts that the evaluation file asks too: (row here, row there)."""
    there = {_digest(item.context): other.row(i) for i, item in enumerate(other)}
    found.overlap_with = other.file
    found.overlap = [(rows.row(i), there[d]) for i, item in enumerate(rows) if (d := _digest(item.context)) in there]


def quantiles(values: Iterable[int]) -> list[int]:
    """Values at `QUANTILES`, by nearest rank."""
    ordered = sorted(values)
    return [ordered[round(q * (len(ordered) - 1))] for q in QUANTILES] if ordered else []


def _names(item: Feedback, k: int) -> str:
    if isinstance(item, Comparison):
        return ("chosen", "rejected")[k] if len(item.completions) == 2 else f"place {k + 1}"
    return "completion"


def _with_tokens(plan: Plan, cut: Plan, found: Check) -> None:
    """Lengths as they are; what the limits would cut; samples as they would be trained on."""
    lengths: dict[str, array[int]] = {}
    for group in plan:
        lengths.setdefault("prompt", array("Q")).append(len(group.prompt))
        for k, ids in enumerate(group.completions):
            lengths.setdefault(_names(_item(group), k), array("Q")).append(len(ids))
    found.lengths = {name: quantiles(values) for name, values in lengths.items()}
    found.unknown = cut.counts[UNKNOWN]
    found.truncated = {what: count for what, count in cut.counts.items() if what != UNKNOWN}
    found.limits = (cut.max_prompt, cut.max_completion)
    found.bad += [error.message for error in cut.skipped]
    found.samples = [line for i in _spread(len(cut)) for line in _group_lines(cut[i], plan.tokenizer)]


def _item(group: Group) -> Feedback:
    if group.item is None:
        raise ValueError("a group of a plan has its item")
    return group.item


def _with_words(rows: Rows, found: Check) -> None:
    lengths: dict[str, array[int]] = {}
    for item in rows:
        lengths.setdefault("prompt", array("Q")).append(len(plain(item.context).split()))
        for k, text in enumerate(_texts(item)):
            lengths.setdefault(_names(item, k), array("Q")).append(len(text.split()))
    found.lengths = {name: quantiles(values) for name, values in lengths.items()}
    for i in _spread(len(rows)):
        item = rows[i]
        shown = [f"  {_names(item, k)}: ⟦{_short(t)}⟧" for k, t in enumerate(_texts(item))]
        found.samples += [f"row {rows.row(i)}", f"  prompt: {_short(plain(item.context), tail=True)}", *shown]


def _group_lines(group: Group, tokenizer: Tokenizer) -> list[str]:
    """A group as it is trained on: what the mask leaves out, then what it trains, with the ends of text visible."""
    begin = "⟨bos⟩" if tokenizer.bos_id is not None and group.prompt[0] == tokenizer.bos_id else ""
    context = _item(group).context
    whole = not isinstance(context, str) and tuple(tokenizer.context_ids(context)) == group.prompt
    text = tokenizer.render(context) if whole and not isinstance(context, str) else tokenizer.decode(group.prompt)
    lines = [f"row {group.row}", f"  prompt ({len(group.prompt)} tokens, not trained): {begin}{_short(text, tail=True)}"]
    for k, ids in enumerate(group.completions):
        end = "⟨eos⟩" if ids[-1] == tokenizer.eos_id else "" if tokenizer.decode(ids[-1:]) else "⟨end of turn⟩"
        lines.append(f"  {_names(_item(group), k)} ({len(ids)} tokens, trained): ⟦{_short(tokenizer.decode(ids))}{end}⟧")
    return lines


def _spread(count: int) -> list[int]:
    """Up to three places: first, middle, last."""
    return sorted({0, count // 2, count - 1}) if count else []


def _short(text: str, tail: bool = False) -> str:
    shown = text if len(text) <= SHOWN else "…" + text[-SHOWN:] if tail else text[:SHOWN] + "…"
    return shown.replace("\n", "⏎")


def _facts(found: Check) -> list[str]:
    unused = [name for name in found.columns if name not in USED]
    items = "" if found.items == found.rows else f" ({found.items} {found.kind})"
    lines = [f"{found.file}: {found.rows} rows of {found.kind}{items}"]
    lines.append(
        f"columns: {', '.join(found.columns)}"
        + (f"   (kept as meta only: {', '.join(unused)})" if unused and not found.conversions else "")
    )
    lines += [f"{count} × {what}" for what, count in found.conversions.items()]
    head = "   ".join(f"{q:.0%}" for q in QUANTILES)
    lines.append(f"lengths in {found.unit} at {head}")
    return [*lines, *(f"  {name:<12}{'   '.join(map(str, values))}" for name, values in found.lengths.items())]


def _findings(found: Check) -> list[str]:
    named = [f"{what} at {n}" for what, n in zip(("prompts", "completions"), found.limits, strict=True) if n]
    limits = f" (limits: {', '.join(named)} tokens)" if named else ""
    lines = [f"would be cut{limits}: {count} × {what}" for what, count in found.truncated.items()]
    lines += [f"{found.unknown} × {UNKNOWN}"] if found.unknown else []
    lines += _rows_line("exact duplicates", found.duplicates)
    lines += _rows_line("comparisons that contradict an earlier row", found.contradictions)
    if found.overlap_with:
        lines += _rows_line(f"prompts that {found.overlap_with} asks too (row here, row there)", found.overlap) or [
            "no overlap with " + found.overlap_with
        ]
    if found.repeats:
        lines.append(f"{found.repeats} rows whose completions begin with their whole prompt: the prompt would be trained on twice")
    if found.bad:
        lines += [f"{len(found.bad)} bad rows:", *(f"  {message}" for message in found.bad[:10]), *(["  …"] if len(found.bad) > 10 else [])]
    return lines


def _rows_line(what: str, pairs: list[tuple[int, int]]) -> list[str]:
    some = Counter(pairs).most_common(5)
    shown = ", ".join(f"{a}/{b}" for (a, b), _ in some)
    return [f"{len(pairs)} {what}: rows {shown}{', …' if len(pairs) > 5 else ''}"] if pairs else []
