"""Feedback → groups of token ids: what is cut, and how, when a row is longer than it may be.

Prompt too long: see prompts.py.
Completion too long.   It keeps its first `max_completion_tokens` ids, for all completions of a group alike, and so loses its EOS:
the model is never taught to stop where a text was cut.   A completion is never emptied; one without tokens is an error.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, overload

from plumbline.core.batches import Group
from plumbline.core.errors import RowError, UserError
from plumbline.core.interfaces import Tokenizer
from plumbline.core.nouns import Comparison, Feedback, Label, completions_of
from plumbline.data.columns import CUT
from plumbline.data.cut import COMMON, settle
from plumbline.data.problem import WHOLE, FieldError
from plumbline.data.prompts import shortened
from plumbline.data.rows import Rows

COMPLETION = "completions cut (without EOS)"
UNKNOWN = "rows with words that the tokenizer does not know (they become its unknown token)"
EQUAL = "comparisons left out because both completions are alike after the cut"

KEPT = 1 << 20  # tokens of groups that stay in memory: a few dozen megabytes
ENDS = 4  # a completion of so few ids may be nothing but marks that end a turn


class Plan(Sequence[Group]):
    """Groups of the rows.   Building it tokenises everything once: errors come before training.   The first million tokens or so are kept,
    what comes after them is tokenised again when it is asked for.

    `counts`: what was cut how often.   `lengths`: positions of each group.   `skipped`: rows left out with `skip_bad`.
    `keep_alike`: keep comparisons whose completions are the same tokens (they teach nothing, but they can be scored).
    """

    def __init__(
        self,
        rows: Sequence[Feedback],
        tokenizer: Tokenizer,
        *,
        max_prompt_tokens: int | None = None,
        max_completion_tokens: int | None = None,
        skip_bad: bool = False,
        keep_alike: bool = False,
    ) -> None:
        for name, limit in (("max_prompt_tokens", max_prompt_tokens), ("max_completion_tokens", max_completion_tokens)):
            if limit is not None and limit < 1:
                raise UserError(f"--{name} is {limit}", "It must be at least 1.")
        self.rows, self.tokenizer = rows, tokenizer
        self.max_prompt, self.max_completion = max_prompt_tokens, max_completion_tokens
        self.counts: Counter[str] = Counter()
        self.lengths, self._kept = array("Q"), array("Q")
        self._made: list[Group] = []  # of the first rows
        self.skipped: list[RowError] = []
        self._survey(skip_bad, keep_alike)

    def __len__(self) -> int:
        return len(self._kept)

    @overload
    def __getitem__(self, index: int) -> Group: ...
    @overload
    def __getitem__(self, index: slice) -> list[Group]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        at = range(len(self))[index]
        return self._made[at] if at < len(self._made) else self._group(self._kept[at], Counter())

    def summary(self) -> list[str]:
        """What was done to the rows, a line each, for the console and the report."""
        counts = Counter(self.rows.conversions if isinstance(self.rows, Rows) else {}) + self.counts
        skipped = len(self.skipped) + (len(self.rows.skipped) if isinstance(self.rows, Rows) else 0)
        lines = [f"{count} × {what}" for what, count in counts.most_common()]
        return [*lines, *([f"{skipped} rows left out as bad"] if skipped else [])]

    def _survey(self, skip_bad: bool, keep_alike: bool) -> None:
        tokens = 0
        for i, item in enumerate(self.rows):
            if isinstance(item.context, tuple) and not self.tokenizer.has_template:
                raise UserError(
                    f"{self._file}, row {self._row(i)}: a chat, but the model has no chat template",
                    "Pass --template FILE, or give prompts as raw text.",
                )
            try:
                group = self._group(i, self.counts, item)
            except FieldError as problem:
                error = problem.at(self._file, self._row(i))
                if not skip_bad:
                    raise error from None
                self.skipped.append(error)
                continue
            alike = len(group.completions) > 1 and len(set(group.completions)) == 1
            if alike and group.preference != 0.5 and not keep_alike:
                self.counts[EQUAL] += 1
                continue
            self._kept.append(i)
            self.lengths.append(group.tokens)
            tokens += group.tokens
            if tokens <= KEPT:
                self._made.append(group)
        if not self._kept:
            raise UserError(
                f"{self._file}: no row is left to train on", "See the counts above: raise --max_completion_tokens, or mend the rows."
            )

    @property
    def _file(self) -> str:
        return self.rows.file if isinstance(self.rows, Rows) else "the data"

    def _row(self, i: int) -> int:
        return self.rows.row(i) if isinstance(self.rows, Rows) else i + 1

    def _group(self, i: int, counts: Counter[str], item: Feedback | None = None) -> Group:
        item = item or self.rows[i]
        try:
            if item.meta.get(CUT) == COMMON and isinstance(item.context, str):
                item = _settled(item, self.tokenizer)
            return self._tokenised(item, counts, self._row(i))
        except UserError as error:
            raise FieldError(WHOLE, f"cannot be tokenised: {error.message}", error.mend) from None

    def _tokenised(self, item: Feedback, counts: Counter[str], row: int) -> Group:
        texts = completions_of(item)
        context, prompt = shortened(item.context, self.tokenizer, self.max_prompt, counts)
        completions = []
        for k, text in enumerate(texts):
            ids = self.tokenizer.completion_ids(context, text, complete=item.complete)
            if not ids or (len(ids) <= ENDS and not self.tokenizer.decode(ids)):
                raise FieldError(_field(item, k), "is empty after the chat template and the tokenizer", "Remove the row.")
            if self.max_completion is not None and len(ids) > self.max_completion:
                counts[COMPLETION] += 1
                ids = ids[: self.max_completion]
            completions.append(tuple(ids))
        if self.tokenizer.unk_id is not None and any(self.tokenizer.unk_id in ids for ids in (prompt, *completions)):
            counts[UNKNOWN] += 1
        return Group(
            prompt,
            tuple(completions),
            weight=item.weight,
            preference=item.preference if isinstance(item, Comparison) else 1.0,
            desirable=item.desirable if isinstance(item, Label) else True,
            row=row,
            item=item,
        )


def _settled(item: Feedback, tokenizer: Tokenizer) -> Feedback:
    """A row cut at the longest common beginning, moved back to where the tokenisations agree."""
    context, texts = settle(str(item.context), completions_of(item), tokenizer)
    if isinstance(item, Comparison):
        return replace(item, context=context, completions=texts)
    return replace(item, context=context, completion=texts[0])


def _field(item: Feedback, k: int) -> str:
    if isinstance(item, Comparison):
        return ("chosen", "rejected")[k] if len(item.completions) == 2 else f"completions[{k}]"
    return "completion"
