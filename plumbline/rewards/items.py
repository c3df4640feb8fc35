"""What a reward reads of a game: the prompt, the completion, what the prompt's row knows; and what it may answer: finite numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from plumbline.core.errors import UserError
from plumbline.core.interfaces import Reward
from plumbline.core.nouns import NO_META, Context, Game, Meta, Prompt, Reply, Scores, Turn, plain, words_of

SHOWN = 60


@dataclass(frozen=True, slots=True)
class Item:
    """One completion to score.   `messages` is None where the prompt is raw text; `prompt` is always text, a line per message."""

    prompt: str
    messages: list[dict[str, Any]] | None
    completion: str
    meta: Meta
    name: str

    @staticmethod
    def of(game: Game) -> Item:
        """The last turn of a game: what was answered, and the answer."""
        turn, prompt = game.turns[-1], game.item if isinstance(game.item, Prompt) else None
        text = plain(turn.context)
        shown = text if len(text) <= SHOWN else "…" + text[1 - SHOWN :]
        name = f"the prompt {prompt.id!r}" if prompt and prompt.id else f"the prompt {shown!r}"
        return Item(text, messages(turn.context), turn.reply.text, prompt.meta if prompt else NO_META, name)


def messages(context: Context) -> list[dict[str, Any]] | None:
    """A chat as people write it in JSON; None for raw text."""
    return None if isinstance(context, str) else [{"role": m.role, "content": words_of(m.content)} for m in context]


def trial(prompts: Sequence[Prompt], completion: str = "Yes, of course.") -> list[Game]:
    """Games as a policy would play them, with a made-up completion: to ask a reward before anything is trained."""
    return [Game((Turn("trial", p.context, Reply(completion)),), item=p) for p in prompts]


def number(value: Any, whose: str) -> float:
    """A finite float of what a user's code or server answered, or an error that says what it was."""
    try:
        if value is None or isinstance(value, (str, bytes)):
            raise TypeError
        got = float(value)
    except (TypeError, ValueError, OverflowError):
        raise UserError(f"{whose} is {value!r:.80}, not a number", "Answer a number, or named numbers, for every completion.") from None
    if not math.isfinite(got):
        raise UserError(f"{whose} is {got}", "Answer a finite number for every completion; choose one for what cannot be scored.")
    return got


def components(answers: Sequence[Any], alone: str, whose: Callable[[int], str]) -> dict[str, list[float]]:
    """Columns of N numbers or N mappings of named numbers, which must have the same names.   `alone`: the name of a plain number."""
    rows = [a if isinstance(a, Mapping) else {alone: a} for a in answers]
    names = list(rows[0]) if rows else [alone]
    for i, row in enumerate(rows):
        if not row or set(row) != set(names):
            said = f"{whose(i)} has {sorted(map(str, row))}, the first has {sorted(map(str, names))}"
            raise UserError(said, "Answer the same names for every completion.")
    return {str(n): [number(row[n], f"{whose(i)}{'' if n == alone else f', {n!r}'}") for i, row in enumerate(rows)] for n in names}


def check(reward: Reward, prompts: Sequence[Prompt], completion: str = "Yes, of course.") -> Scores:
    """Ask a reward for a few of the prompts that it will be trained on, so that what is wrong with it is said before training starts."""
    games = trial(prompts, completion)
    try:
        scores = fixed(reward)(games)
    except UserError as error:
        raise UserError(f"{error.message} (tried before training, on the completion {completion!r})", error.mend) from error
    total = scores.total
    if len(total) != len(games) or not all(map(math.isfinite, total)):
        raise UserError(f"the reward answered {total[:4]} for {len(games)} completions", "A reward answers a finite score for each.")
    return scores


def fixed(reward: Reward) -> Reward:
    """The same reward with whatever it adapts held as it is: for evaluations and trials, which must not change training."""
    hold = getattr(reward, "fixed", None)
    return hold() if hold else reward
