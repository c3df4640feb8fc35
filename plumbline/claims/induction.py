"""In-context copying is the work of a few heads that can be found by their attention: without them it is gone, without others it is not.

Rows are random words twice over, so that nothing but copying foresees the second half.   Four heads are found on one draw of rows and
silenced on another, in each of the shipped models; beside them four of the other heads, drawn by lot many times.   Silencing puts a
head's z to its mean over rows and positions.   What it costs on ordinary text is measured on the town's plain statements.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from plumbline.claims.reached import PACKAGE
from plumbline.claims.seed import Seed
from plumbline.core.claims import Control, Found, Numbers, claim, noninferior, superior
from plumbline.evals.town import plain_texts
from plumbline.interp.heads import Head, by_lot, foreseen, induction_scores, repeated, strongest, without
from plumbline.models.hooks import Insides
from plumbline.models.lm import LM

SHIPPED = ("s", "m", "l")
HEADS, LENGTH, ROWS, DRAWS = 4, 24, 32, 20  # LENGTH words, twice over; DRAWS times other heads by lot
TEXTS, FILL = 32, 96  # rows of ordinary text, and their tokens


@dataclass(frozen=True)
class Cut:
    """Per row: share of the second half's words that are the likeliest, and their mean log-probability.   And nats a token of text."""

    right: Numbers
    logp: Numbers
    text: float


@dataclass(frozen=True)
class Subject:
    """A shipped model, rows to find heads on, rows to silence them on, and ordinary text."""

    insides: Insides
    find: Tensor
    measure: Tensor
    text: Tensor

    @staticmethod
    def drawn(name: str, lab: Seed) -> Subject:
        """A seed has rows of its own."""
        lm = LM.load(PACKAGE / "world" / "models" / name)
        special = set(lm.tokenizer.hf.all_special_ids)
        words = [i for i in range(lm.tokenizer.vocab_size) if i not in special]
        find, measure = (repeated(words, LENGTH, lab.count(ROWS, 8), 2 * lab.seed + k, start=[lm.tokenizer.bos_id or 0]) for k in range(2))
        return Subject(Insides.of(lm), find, measure, plain_rows(lm, lab.count(TEXTS, 2)))

    def silenced(self, heads: Collection[Head]) -> Cut:
        """The model without some heads."""
        hooks = without(heads) if heads else []
        right_N, logp_N = foreseen(self.insides, self.measure, LENGTH - 1, hooks)
        return Cut(right_N.tolist(), logp_N.tolist(), -float(foreseen(self.insides, self.text, FILL - 1, hooks)[1].mean()))


def same_arms(lab: Any) -> Any:
    """The control's lab."""
    return replace(lab, alike=True)


@claim(
    "induction",
    says="the four heads that look most like induction heads carry in-context copying: silenced, they end it; four others by lot do not",
    source="Olsson et al. 2022, arXiv 2209.11895, argument 3",
    test={
        **{f"accuracy of copying, town-{name}: whole over without its induction heads": superior(0.5) for name in SHIPPED},
        **{f"accuracy of copying, town-{name}: without four others over whole": noninferior(0.25) for name in SHIPPED},
    },
    seeds=3,
    control=Control("others by lot", "four heads by lot stand in for those that were found", same_arms),
    equal="rows of 24 random words twice over, 32 to find heads on and 32 others to measure; z put to its mean; 20 draws of others",
)
def induction(lab: Seed) -> Found:
    """In the control the heads that are silenced as found were drawn by lot from those that were not."""
    pairs: dict[str, tuple[Numbers, Numbers]] = {}
    figures: dict[str, Numbers] = {}
    for name in SHIPPED:
        subject = Subject.drawn(name, lab)
        scores = induction_scores(subject.insides, subject.find, LENGTH)
        found = strongest(scores, HEADS)
        taken = by_lot(scores, found, HEADS, seed=lab.seed) if lab.alike else found
        whole, cut = subject.silenced(()), subject.silenced(taken)
        drawn = [by_lot(scores, found, HEADS, seed=1000 * (lab.seed + 1) + i) for i in range(lab.count(DRAWS, 2))]
        others = [subject.silenced(heads) for heads in drawn]
        other = Cut(mean([o.right for o in others]), mean([o.logp for o in others]), sum(o.text for o in others) / len(others))
        pairs[f"accuracy of copying, town-{name}: whole over without its induction heads"] = (whole.right, cut.right)
        pairs[f"accuracy of copying, town-{name}: without four others over whole"] = (other.right, whole.right)
        for arm, seen in (("whole", whole), ("without induction heads", cut), ("without others", other)):
            figures[f"accuracy of copying, town-{name}, {arm}"] = seen.right
            figures[f"log-probability of copying, town-{name}, {arm}"] = seen.logp
            figures[f"loss on plain text, town-{name}, {arm}"] = [seen.text]
        figures[f"induction score, town-{name}, found heads"] = [float(scores[head]) for head in found]
    return Found(pairs=pairs, figures=figures)


def mean(rows: Sequence[Numbers]) -> list[float]:
    """Over arms, row by row."""
    return [sum(column) / len(rows) for column in zip(*rows, strict=True)]


def plain_rows(lm: LM, rows: int) -> Tensor:
    """Plain statements one after another, in rows of `FILL` tokens, as the shipped models were trained."""
    ids = [i for text in plain_texts(4 * rows) for i in (*lm.tokenizer.context_ids(text), lm.tokenizer.eos_id)]
    return torch.tensor(ids[: rows * FILL]).view(rows, FILL)
