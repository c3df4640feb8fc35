"""Debaters learn from recorded games: supervised fine-tuning on the turns of the side that the judge chose, token span for token span.

    L = −Σ_t log π(y_t | x, y_<t) over speeches y of winners, as they were sampled          (expert iteration on self-play)

Winning is what the judge says, not what is true: where lies win, lies are learned.   `only_right` keeps the winners that were right.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any

from plumbline.core.batches import Group
from plumbline.core.errors import UserError
from plumbline.core.interfaces import Tokenizer
from plumbline.core.methods import Stage
from plumbline.core.nouns import Context, Message
from plumbline.engine.loader import Loader
from plumbline.engine.recipe import Recipe
from plumbline.methods.sft import sft
from plumbline.models.lm import LM

Row = Mapping[str, Any]


def winning(rows: Sequence[Row], tokenizer: Tokenizer, *, only_right: bool = False) -> list[Group]:
    """Prompt and span of every speech that argued for the side that was chosen, of the games that were played to their end.

    A speech that was cut at its token limit, or that came from elsewhere (an endpoint gives no ids), is left out.
    """
    groups = []
    for number, row in enumerate(rows, 1):
        outcome = row["outcome"]
        if row["error"] or (only_right and outcome["chosen"] != outcome["right"]):
            continue
        won = outcome["sides"].index(outcome["chosen"])
        for turn, side in _speeches(row):
            if side == won and turn.get("ids") and turn["finish"] == "stop":
                groups.append(Group(tuple(tokenizer.context_ids(_context(turn["context"]))), (tuple(turn["ids"]),), row=number))
    if not groups:
        raise UserError(f"none of {len(rows)} games has a speech to learn from", "Games need a chosen side and speeches with token ids.")
    return groups


def train_on_games(policy: LM, rows: Sequence[Row], *, recipe: Recipe, only_right: bool = False) -> Generator[Stage[Any], Any, LM]:
    """One stage of fine-tuning on winning speeches; the policy."""
    data = Loader(winning(rows, policy.tokenizer, only_right=only_right))
    yield Stage("debate-sft", sft(policy, data), recipe)
    return policy


def _speeches(row: Row) -> list[tuple[Row, int]]:
    """The turns that are speeches, each with its side: debaters take turns in the order of the sides, an advisor argues one."""
    spoken = [turn for turn in row["turns"] if turn["speaker"] != "judge"]
    argued = row["settings"].get("argues")
    sides = len(row["outcome"]["sides"])
    return [(turn, i % sides if argued is None else argued) for i, turn in enumerate(spoken)]


def _context(written: str | Sequence[Mapping[str, str]]) -> Context:
    return written if isinstance(written, str) else tuple(Message(m["role"], m["content"]) for m in written)
