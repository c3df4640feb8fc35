"""The nouns: what is said, what is answered, and what people say about the answers.   No torch here.

A *context* is what a model continues.  A `str` is raw text (BOS + text, no template);
a `Chat` is rendered by the chat template of the model that answers it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Meta = Mapping[str, Any]
NO_META: Meta = {}


@dataclass(frozen=True, slots=True)
class Content:
    """A piece of a message's content that is not plain text: `kind` says what `value` holds."""

    kind: Literal["text", "image", "tool_call", "tool_result"]
    value: Any


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat: who speaks, and what (text, or parts)."""

    role: str
    content: str | tuple[Content, ...]


Chat = tuple[Message, ...]
Context = str | Chat


def plain(context: Context) -> str:
    """A context as text for people, judges and rules: raw text as it is, of a chat a line `role: words` per message.

    A tool's call or result shows its value (`[tool_call {"name": …}]`), a picture only that it is there (`[image]`).
    """
    return context if isinstance(context, str) else "\n".join(f"{m.role}: {words_of(m.content)}" for m in context)


def words_of(content: str | tuple[Content, ...]) -> str:
    """A message's content as text; see `plain`."""
    return content if isinstance(content, str) else " ".join(map(_part, content))


def _part(part: Content) -> str:
    if part.kind == "text":
        return str(part.value)
    value = part.value if isinstance(part.value, str) else json.dumps(part.value, ensure_ascii=False, default=str)
    return "[image]" if part.kind == "image" else f"[{part.kind} {value}]"


@dataclass(frozen=True, slots=True)
class Prompt:
    """Something to answer.   `meta` carries what a world or a file knows of it (family, split, entity …)."""

    context: Context
    meta: Meta = field(default_factory=dict)
    id: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt with stated answers: `sides`, the passage that settles it and the right side, where known."""

    context: Context
    sides: tuple[str, ...]
    passage: str = ""
    answer: str = ""
    meta: Meta = field(default_factory=dict)
    id: str = ""


Finish = Literal["stop", "length", "choice", "error"]


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as it was sampled.

    `logps` are nats per token of the distribution that the token was drawn from (temperature, top-p, …),
    `raw_logps` of the untempered model; both have one entry per id.   `finish`: "stop" means that the reply
    is complete (EOS or a stop string was reached; the EOS id, when sampled, is the last of `ids`), "length" that it was cut.
    `choice_probs` are the probabilities of the stated answers, where an `Ask` stated some.
    """

    text: str
    ids: tuple[int, ...] = ()
    logps: tuple[float, ...] = ()
    raw_logps: tuple[float, ...] = ()
    finish: Finish = "stop"
    choice_probs: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Demo:
    """A demonstration: this completion is a good answer to this context.   Raw text goes with raw text, a chat with a reply."""

    context: Context
    completion: str
    complete: bool = True  # False: the text was cut, so no EOS is trained on
    annotator: str = ""
    weight: float = 1.0
    meta: Meta = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two or more completions of one context, best first, and how sure the annotator was.

    `preference` is the probability that the first is better than the second: 1 plainly better, 0.5 a tie (said, not flipped).
    With more than two completions the order is the ranking and `preference` stays 1.
    """

    context: Context
    completions: tuple[str, ...]
    preference: float = 1.0
    complete: bool = True
    annotator: str = ""
    weight: float = 1.0
    meta: Meta = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rating:
    """Scores from 1 to 5 on named criteria (helpful, honest, harmless …)."""

    context: Context
    completion: str
    scores: Mapping[str, float]
    complete: bool = True
    annotator: str = ""
    weight: float = 1.0
    meta: Meta = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Label:
    """Thumbs: this completion is desirable, or it is not."""

    context: Context
    completion: str
    desirable: bool
    complete: bool = True
    annotator: str = ""
    weight: float = 1.0
    meta: Meta = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tally:
    """How many of the labels that are trained on are up, and how many down."""

    desirable: int
    undesirable: int

    @staticmethod
    def of(labels: Sequence[Label]) -> Tally:
        """Of these."""
        up = sum(bool(label.desirable) for label in labels)
        return Tally(up, len(labels) - up)


Feedback = Demo | Comparison | Rating | Label


def completions_of(item: Feedback) -> tuple[str, ...]:
    """The completions that a feedback item holds, in the order in which they are scored."""
    return item.completions if isinstance(item, Comparison) else (item.completion,)


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to draw a reply.   `temperature=0` is greedy.   `seed` names the noise: (seed, prompt, sample) fixes every draw."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    max_tokens: int = 64
    stop: tuple[str, ...] = ()
    stop_ids: tuple[int, ...] = ()
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Ask:
    """Says: `model` answers this context, with sampling, or by a choice among stated answers."""

    model: str
    context: Context
    sampling: Sampling = Sampling()
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Turn:
    """One answered ask of a game: who spoke, the context as it was given, the reply with its token span as sampled."""

    speaker: str
    context: Context
    reply: Reply


@dataclass(frozen=True, slots=True)
class Game:
    """The record of one play.   Training reads the token spans in `turns`; nothing is ever rendered again."""

    turns: tuple[Turn, ...]
    outcome: Any = None
    error: str = ""
    item: Any = None


@dataclass(frozen=True, slots=True)
class Scores:
    """N × named components, each a sequence of N floats.   `total` is what an optimiser sees (the sum, unless it is given)."""

    components: Mapping[str, Sequence[float]]
    weights: Mapping[str, float] = field(default_factory=dict)
    draws: Sequence[Sequence[float]] = ()  # posterior draws of the total: draws × N

    @property
    def total(self) -> list[float]:
        """The weighted sum over components (weight 1 where none is stated), one float per game."""
        columns = [[self.weights.get(k, 1.0) * x for x in v] for k, v in self.components.items()]
        return [sum(row) for row in zip(*columns, strict=True)]


@dataclass(frozen=True, slots=True)
class Utility:
    """Gold: helpful, honest, harmless and their total, each in [0, 1], with what each was deducted for."""

    helpful: float
    honest: float
    harmless: float
    total: float
    reasons: tuple[str, ...] = ()
