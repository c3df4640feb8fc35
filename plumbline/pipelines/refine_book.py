"""What a refinement has written down, so that a round that was killed goes on where it stood.

    OUT/rounds/1/replies.jsonl   a line per prompt: the replies that were drawn           written as they are drawn, 64 prompts at a time
    OUT/rounds/1/labels.jsonl    a line per annotation, as `train --data` reads it        written when the round is labelled
    OUT/rounds/1/eval.jsonl      a line per held-aside prompt: reply, score, log π/base   written when the policy after it is measured
    OUT/asked.jsonl              whatever an oracle answered, at once
    OUT/ledger.jsonl             a line per round, when its verdict has fallen

Round 0 has the measure of the model as it began alone.   What is there already is read, and not made again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, final

import numpy as np

from plumbline.core.errors import UserError
from plumbline.core.nouns import Comparison, Prompt, Reply, plain
from plumbline.engine.checkpoints import write_atomically
from plumbline.evals.stats import Figure
from plumbline.feedback.oracles import append, read_lines
from plumbline.pipelines.refine import Entry, Labelled, Measured
from plumbline.rewards.items import messages

CHUNK = 64
FIGURES = ("gain", "score", "kl")
Drawn = list[list[Reply]]


@final
class Book:
    """The files of one run."""

    def __init__(self, out: Path) -> None:
        self.out, self.began = out, time.monotonic()

    def folder(self, t: int) -> Path:
        """Where the files of a round are."""
        path = self.out / "rounds" / str(t)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def drawn(self, t: int, prompts: Sequence[Prompt], draw: Callable[[Sequence[Prompt]], Drawn]) -> Drawn:
        """The replies to a round's prompts, drawn a chunk at a time; a chunk that is not whole on disk is drawn again."""
        file = self.folder(t) / "replies.jsonl"
        rows = read_lines(file, mend=True)
        if [row["prompt"] for row in rows] != [_words(prompt) for prompt in prompts[: len(rows)]]:
            raise UserError(
                f"{file} was drawn for other prompts than these", "Resume with the settings of config.yaml, or use another --out."
            )
        whole = len(rows) if len(rows) == len(prompts) else len(rows) // CHUNK * CHUNK
        if whole < len(rows):
            _write(file, rows[:whole])
        for at in range(whole, len(prompts), CHUNK):
            some = prompts[at : at + CHUNK]
            for prompt, replies in zip(some, draw(some), strict=True):
                append(file, {"prompt": _words(prompt), "replies": [{"text": r.text, "finish": r.finish} for r in replies]})
        return [[Reply(r["text"], finish=r["finish"]) for r in row["replies"]] for row in read_lines(file)]

    def labelled(self, t: int, prompts: Sequence[Prompt], make: Callable[[], Labelled]) -> Labelled:
        """The answers about a round's replies, ties too."""
        file = self.folder(t) / "labels.jsonl"
        if not file.is_file():
            places = {prompt.context: n for n, prompt in reversed(list(enumerate(prompts)))}
            _write(file, [_label(row, places[row.context]) for row in make().rows if isinstance(row, Comparison)])
        rows = [_read(row, prompts[row["n"]]) for row in read_lines(file)]
        return Labelled(rows, len(rows))

    def measured(self, t: int, prompts: Sequence[Prompt], make: Callable[[], Measured]) -> Measured:
        """The policy after a round."""
        file = self.folder(t) / "eval.jsonl"
        if not file.is_file():
            found = make()
            score_P = [None] * len(prompts) if found.score_P is None else found.score_P.tolist()
            rows = zip(prompts, found.texts, score_P, found.kl_P.tolist(), strict=True)
            _write(file, [{"prompt": _words(p), "reply": text, "score": s, "log_ratio": kl} for p, text, s, kl in rows])
        rows = read_lines(file)
        scores = [row["score"] for row in rows]
        score_P = None if None in scores else np.array(scores, dtype=np.float64)
        return Measured(tuple(row["reply"] for row in rows), score_P, np.array([row["log_ratio"] for row in rows], dtype=np.float64))

    def settle(self, entry: Entry, more: Mapping[str, Any]) -> Entry:
        """The entry as the ledger has it: what was decided once stays, under other rules too."""
        known = {row["round"]: row for row in self.ledger()}
        if entry.round not in known:
            seconds, self.began = time.monotonic() - self.began, time.monotonic()
            figures = {name: value.json() if value else None for name in FIGURES for value in [getattr(entry, name)]}
            append(self.out / "ledger.jsonl", {**asdict(entry), **figures, **more, "seconds": round(seconds, 1)})
        else:
            self.began = time.monotonic()
        return entry_of_row(known.get(entry.round) or self.ledger()[-1])

    def ledger(self) -> list[dict[str, Any]]:
        """A row per round whose verdict has fallen."""
        return read_lines(self.out / "ledger.jsonl", mend=True)


def entry_of_row(row: Mapping[str, Any]) -> Entry:
    """A ledger's row as an entry."""
    figures: dict[str, Any] = {name: Figure(**row[name]) if row[name] else None for name in FIGURES}
    own: dict[str, Any] = {f.name: row[f.name] for f in fields(Entry)}
    return Entry(**own | figures)


def _label(row: Comparison, n: int) -> dict[str, Any]:
    better, worse = row.completions
    about = {"preference": row.preference, "complete": row.complete, "annotator": row.annotator}
    prompt = row.context if isinstance(row.context, str) else messages(row.context)
    return {"n": n, "prompt": prompt, "chosen": better, "rejected": worse, **about}


def _read(row: Mapping[str, Any], prompt: Prompt) -> Comparison:
    about = {name: row[name] for name in ("preference", "complete", "annotator")}
    return Comparison(prompt.context, (row["chosen"], row["rejected"]), **about, meta={**prompt.meta, "prompt_id": prompt.id})


def _words(prompt: Prompt) -> str:
    return plain(prompt.context)


def _write(file: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    write_atomically(file, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())
