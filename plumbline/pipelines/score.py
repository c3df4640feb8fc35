"""`score`: the log-probability of every completion in a file, as training would see it, a line per row in file order.

    {"completions": [{"prompt_ids": […], "ids": […], "logp": −12.3}, …]}

`ids` are the tokens that are scored (the end token where the text is complete), `logp` their sum in nats.   Of a comparison the chosen
completion comes first; a chat with several replies has one completion per reply.   Nothing is cut: a row longer than the model's
context is an error.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import torch

from plumbline.core.batches import Batch, Group
from plumbline.core.errors import RowError, UserError
from plumbline.data import Plan, open_rows, write_skipped
from plumbline.engine.progress import Progress
from plumbline.models.lm import LM
from plumbline.pipelines import sources

CHUNK = 512  # rows held at once


def score(model: LM | str, data: str, out: str, *, micro_tokens: int = 8192, skip_bad: bool = False) -> Path:
    """Write `out`/scores.jsonl; rows left out by `skip_bad` are listed in skipped.jsonl beside it."""
    lm = sources.load(model) if isinstance(model, str) else model
    path = Path(out) / "scores.jsonl"
    if micro_tokens < 1:
        raise UserError(f"--micro_tokens is {micro_tokens}", "Give at least 1.")
    if path.exists():
        raise UserError(f"{path} exists already", "Give another --out.")
    rows = open_rows(data, None, skip_bad=skip_bad)
    path.parent.mkdir(parents=True, exist_ok=True)
    progress, done, unfinished = Progress(), 0, path.with_suffix(".part")
    plan = Plan(rows, lm.tokenizer, skip_bad=skip_bad, keep_alike=True)
    with unfinished.open("w", encoding="utf-8") as file:
        groups = _by_row(plan, rows.file, getattr(lm.config, "max_position_embeddings", None))
        while chunk := list(islice(groups, CHUNK)):
            file.writelines(json.dumps({"completions": line}) + "\n" for line in _scored(lm, chunk, micro_tokens))
            done += len(chunk)
            progress.note(f"{done} rows scored")
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    if skipped := [*rows.skipped, *plan.skipped]:
        write_skipped(path.with_name("skipped.jsonl"), skipped)
    return path


def _by_row(plan: Plan, file: str, longest: int | None) -> Iterator[list[Group]]:
    """The groups of each row; a row that is bad in one place is left out whole."""
    bad = {error.row for error in plan.skipped}
    for number, groups in groupby(plan, key=lambda group: group.row):
        found = list(groups)
        tokens = max(len(group.prompt) + max(map(len, group.completions)) for group in found)
        if longest and tokens > longest:
            problem = f"has {tokens} tokens with its completion, but the model reads at most {longest}"
            raise RowError(file, number, "prompt", problem, "Shorten the row, or take a model with a longer context.")
        if number not in bad:
            yield found


def _scored(lm: LM, rows: Sequence[Sequence[Group]], micro_tokens: int) -> Iterator[list[dict[str, Any]]]:
    """What is written of each row: all its completions with their sums."""
    groups = [group for row in rows for group in row]
    sums: dict[int, list[float]] = {}
    with torch.no_grad():
        for part in Batch(groups, micro_tokens=micro_tokens).parts():
            logp_N = lm.token_logps(part).double().sum(1).tolist()
            for group in part.groups:
                sums[id(group)], logp_N = logp_N[: len(group.completions)], logp_N[len(group.completions) :]
    for row in rows:
        yield [
            {"prompt_ids": list(group.prompt), "ids": list(ids), "logp": logp}
            for group in row
            for ids, logp in zip(group.completions, sums[id(group)], strict=True)
        ]
