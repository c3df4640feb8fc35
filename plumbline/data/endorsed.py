"""Rows that a policy may imitate, among what people gave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from plumbline.core.batches import Group
from plumbline.core.nouns import Rating
from plumbline.data.plan import Plan


class Endorsed(Sequence[Group]):
    """What people showed, and the best replies of their comparisons, ties left out: rows that a policy may imitate."""

    def __init__(self, demos: Plan | None, judged: Plan | None) -> None:
        plans = [plan for plan in (demos, judged) if plan is not None and not isinstance(plan.rows[0], Rating)]
        self.places = [(plan, i) for plan in plans for i, group in enumerate(plan) if group.preference > 0.5]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: Any) -> Any:
        plan, i = self.places[index]
        return replace(plan[i], completions=plan[i].completions[:1])
