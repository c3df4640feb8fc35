"""A model that says what it is told to: for tests, for judges that are rules, and to play a protocol by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from plumbline.core.errors import UserError
from plumbline.core.nouns import Ask, Context, Prompt, Reply, Sampling

Said = str | Reply
Script = Callable[[Ask], Said] | Sequence[Said]
PLAIN = Sampling()


class ScriptedModel:
    """Answers by a function of the ask, or from a list in order.   `asked` keeps what it was asked."""

    def __init__(self, script: Script, *, name: str = "scripted") -> None:
        self.script, self.name = script, name
        self.asked: list[Ask] = []

    def answer(self, asks: Sequence[Ask]) -> list[Reply]:
        """One reply per ask, in order.   An answer to an ask with choices must be one of them."""
        return [self._one(ask) for ask in asks]

    def sample(self, prompts: Sequence[Context | Prompt], n: int = 1, sampling: Sampling = PLAIN) -> list[list[Reply]]:
        """`n` replies to each prompt, asked one after another."""
        contexts = [p.context if isinstance(p, Prompt) else p for p in prompts]
        return [self.answer([Ask(self.name, c, sampling)] * n) for c in contexts]

    def _one(self, ask: Ask) -> Reply:
        said = self._next(ask)
        self.asked.append(ask)
        if isinstance(said, Reply):
            return said
        if not ask.choices:
            return Reply(said)
        if said not in ask.choices:
            raise UserError(f"the script of {self.name!r} answered {said!r}", f"The stated answers are {list(ask.choices)}.")
        return Reply(said, finish="choice", choice_probs=tuple(float(c == said) for c in ask.choices))

    def _next(self, ask: Ask) -> Said:
        if callable(self.script):
            return self.script(ask)
        if len(self.asked) >= len(self.script):
            raise UserError(f"the script of {self.name!r} has {len(self.script)} replies and was asked for more", "Give it a longer list.")
        return self.script[len(self.asked)]
