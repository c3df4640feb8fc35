"""What the parts expect of one another: anything with these methods will do.   No torch here, so tensors are `Any`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from plumbline.core.batches import Part
from plumbline.core.nouns import Ask, Chat, Comparison, Context, Game, Prompt, Reply, Sampling, Scores


@runtime_checkable
class Tokenizer(Protocol):
    """Text to ids and back.   `context_ids` and `completion_ids` are the only two ways in which training text becomes tokens.

    `unk_id`: what stands for text that the tokenizer has no tokens for; None where there is no such text.
    """

    bos_id: int | None
    eos_id: int
    pad_id: int
    unk_id: int | None
    vocab_size: int
    has_template: bool

    def context_ids(self, context: Context) -> list[int]:
        """Raw text: BOS (if the model has one) + text.   A chat: its template with the generation prompt, applied once."""
        ...

    def completion_ids(self, context: Context, completion: str, *, complete: bool = True) -> list[int]:
        """The ids that follow `context_ids(context)`, with exactly one EOS if `complete`."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids, special tokens left out."""
        ...

    def render(self, chat: Chat) -> str:
        """The chat as the template writes it, with the generation prompt."""
        ...


@runtime_checkable
class Model(Protocol):
    """Anything that answers: a local model, an endpoint, a script."""

    name: str

    def answer(self, asks: Sequence[Ask]) -> list[Reply]:
        """One reply per ask, in order.   Equal contexts are next to each other so that a decoder can share them."""
        ...


class Reward(Protocol):
    """Any callable from games to scores."""

    def __call__(self, games: Sequence[Game], /) -> Scores: ...


class Judge(Protocol):
    """Says how likely the first reply is better than the second, for each of N contexts."""

    def __call__(self, contexts: Sequence[Context], first: Sequence[str], second: Sequence[str]) -> Sequence[float]: ...


class Oracle(Protocol):
    """Someone who compares on request: a simulated annotator, a file, a queue for people."""

    def compare(self, context: Context, completions: Sequence[str]) -> Comparison: ...


class Updatable(Protocol):
    """Something that a `Step` may update: it has named parameters and a place in a checkpoint."""

    def parameters(self) -> Any: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any], /) -> Any: ...


class Scorer(Protocol):
    """Scores completions: what a method asks of a reference (a frozen model, a cache of one)."""

    def token_logps(self, part: Part, /, *, temperature: float = 1.0) -> Any:
        """(N, T) nats of each token of the part's N completions in order; padding on the right is never read."""
        ...


class Policy(Scorer, Updatable, Protocol):
    """A scorer that can be trained: what a method asks of the model that it aligns."""


@runtime_checkable
class Droppable(Policy, Protocol):
    """A policy that can be trained with dropout."""

    def dropping(self, share: float, /) -> Scorer:
        """The same policy, dropping a share of its activations while gradients are recorded, and only then."""
        ...


class Sampler(Policy, Protocol):
    """A policy that draws its own completions: what an online method asks of the model that it aligns."""

    name: str
    tokenizer: Any

    def sample(self, prompts: Sequence[Prompt], n: int, sampling: Sampling, /) -> list[list[Reply]]: ...


class Value(Updatable, Protocol):
    """Foresees the return of unfinished completions: what PPO asks of its critic."""

    def values(self, part: Part, /) -> Any:
        """(N, T) value of the state before each token of the part's N completions."""
        ...
