"""In-context alignment: principles and examples stand before every question, and no weight changes.

    π_P(y | x) = π(y | P ⊕ x),      P = principles ⊕ (x₁, y₁) ⊕ … ⊕ (x_k, y_k)          Lin et al. 2023 (URIAL), arXiv 2312.01552

A chat gets the principles as its system message (before its own, if it has one) and the examples as turns; the template is applied
once, to all of it.   Raw text gets all as text.   With no principles and no examples this is the model itself, bit by bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol, cast, final

from plumbline.core.errors import UserError
from plumbline.core.interfaces import Model, Tokenizer
from plumbline.core.nouns import Ask, Chat, Context, Demo, Message, Prompt, Reply, Sampling, words_of

PLAIN = Sampling()


class Preface(Protocol):
    """What stands before a question: a prompt file (`data/promptfile.py`), or anything like one."""

    @property
    def principles(self) -> Sequence[str]: ...
    @property
    def examples(self) -> Sequence[Demo]: ...
    @property
    def between(self) -> str: ...


class PromptTooLongError(UserError):
    """The prompt and a question are longer than the model's context.   `fits`: how many of the examples (the last ones) would fit."""

    def __init__(self, message: str, mend: str, fits: int) -> None:
        super().__init__(message, mend)
        self.fits = fits


def before(preface: Preface, context: Context, *, last: int | None = None) -> Context:
    """The context with everything before it; `last`: with only so many of the examples, those next to the question."""
    if is_empty(preface):
        return context
    examples = preface.examples if last is None else preface.examples[len(preface.examples) - last :]
    odd = [i for i, e in enumerate(examples, 1) if isinstance(e.context, str) != isinstance(context, str)]
    if odd:
        kinds = ("raw text", "a chat") if isinstance(context, str) else ("a chat", "raw text")
        raise UserError(
            f"the question is {kinds[0]}, but example {odd[0]} of the prompt is {kinds[1]}",
            "Write examples as prompt + completion for raw text, as user + assistant for chats.",
        )
    return _text(preface, examples, context) if isinstance(context, str) else _chat(preface.principles, examples, context)


def _text(preface: Preface, examples: Sequence[Demo], context: str) -> str:
    rules = ["\n".join(preface.principles)] if preface.principles else []
    return preface.between.join([*rules, *(f"{e.context}{e.completion}" for e in examples), context])


def _chat(principles: Sequence[str], examples: Sequence[Demo], context: Chat) -> Chat:
    """One system message at the beginning, since most templates know no other: the principles, then the question's own.

    System messages of examples stay where they are.
    """
    own = context[:1] if context[:1] and context[0].role == "system" else ()
    rules = [*principles, *(words_of(m.content) for m in own)]
    turns: list[Message] = [Message("system", "\n".join(rules))] if rules else []
    for example in examples:
        turns += [*cast(Chat, example.context), Message("assistant", example.completion)]
    return (*turns, *context[len(own) :])


def is_empty(preface: Preface) -> bool:
    """Whether nothing would stand before a question."""
    return not preface.principles and not preface.examples


@final
class PromptedTokenizer:
    """A tokenizer that puts a prompt before every context.   `limit`: positions that the model knows."""

    def __init__(self, inner: Tokenizer, preface: Preface, limit: int) -> None:
        self.inner, self.preface, self.limit = inner, preface, limit
        self.bos_id, self.eos_id, self.pad_id, self.unk_id = inner.bos_id, inner.eos_id, inner.pad_id, inner.unk_id
        self.vocab_size, self.has_template = inner.vocab_size, inner.has_template

    @property
    def end_ids(self) -> frozenset[int]:
        """Every id that ends a reply."""
        return frozenset(getattr(self.inner, "end_ids", ()))

    def context_ids(self, context: Context) -> list[int]:
        """The ids of prompt and context together."""
        return fitting(self.inner, self.preface, context, self.limit, 1)

    def completion_ids(self, context: Context, completion: str, *, complete: bool = True) -> list[int]:
        """The ids that follow them."""
        return self.inner.completion_ids(before(self.preface, context), completion, complete=complete)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids."""
        return self.inner.decode(ids)

    def render(self, chat: Chat) -> str:
        """The chat with everything before it, as the template writes it."""
        return self.inner.render(cast(Chat, before(self.preface, chat)))


def fitting(tokenizer: Tokenizer, preface: Preface, context: Context, limit: int, room: int) -> list[int]:
    """The ids of prompt and context, which leave room for a reply of `room` tokens; or an error that says how many examples do."""
    ids = tokenizer.context_ids(before(preface, context))
    if is_empty(preface) or len(ids) + room <= limit:
        return ids
    k, fits = len(preface.examples), 0
    while fits < k and len(tokenizer.context_ids(before(preface, context, last=fits + 1))) + room <= limit:
        fits += 1
    has = f"{k} example{'s' * (k != 1)} and a question of {len(tokenizer.context_ids(context))} tokens take {len(ids)}"
    how = f"Keep at most {fits} of the examples" if k and fits else "Take shorter examples or principles"
    message = (
        f"the prompt is too long: {has}, a reply takes up to {room} more, and the model's context is {limit} tokens: {fits} of {k} fit"
    )
    raise PromptTooLongError(message, f"{how}, lower the number of tokens of a reply, or take a model with a longer context.", fits)


@final
class Prompted:
    """A `Model` with a prompt before everything that it is asked: local, an endpoint or a script.

    A model whose context is known refuses what does not fit; an endpoint refuses for itself.
    """

    def __init__(self, model: Model, preface: Preface) -> None:
        self.model, self.preface = model, preface
        self.name = model.name if is_empty(preface) else f"{model.name} + prompt"

    def answer(self, asks: Sequence[Ask]) -> list[Reply]:
        """One reply per ask, in order."""
        for ask in asks:
            self._check(ask.context, ask.sampling.max_tokens)
        return self.model.answer([replace(ask, context=before(self.preface, ask.context)) for ask in asks])

    def sample(self, prompts: Sequence[Context | Prompt], n: int = 1, sampling: Sampling = PLAIN) -> list[list[Reply]]:
        """`n` replies to each prompt."""
        contexts = [p.context if isinstance(p, Prompt) else p for p in prompts]
        for context in contexts:
            self._check(context, sampling.max_tokens)
        draw: Callable[..., list[list[Reply]]] = cast(Any, self.model).sample  # all that samples answers, and not the other way round
        return draw([before(self.preface, c) for c in contexts], n, sampling)

    def _check(self, context: Context, room: int) -> None:
        limit = known_limit(self.model)
        if limit and not is_empty(self.preface):
            fitting(cast(Any, self.model).tokenizer, self.preface, context, limit, room)

    def scored(self) -> Any:
        """The same as a model whose log-probabilities are asked: an `LM` that shares the weights, with a `PromptedTokenizer`."""
        from plumbline.models.lm import LM

        if not isinstance(self.model, LM):
            raise UserError(f"{self.model.name} gives no log-probabilities of given text", "Take a local model.")
        lm, tokenizer = self.model, PromptedTokenizer(self.model.tokenizer, self.preface, known_limit(self.model) or 1 << 30)
        return LM(lm.model, cast(Any, tokenizer), peft=lm.peft, adapter=lm.adapter, name=self.name, attn=lm.attn, trainable=False)


def known_limit(model: Any) -> int:
    """Positions that a local model knows; 0 where that cannot be known."""
    inner = getattr(model, "model", None)
    if not hasattr(inner, "config"):
        return 0
    from plumbline.models.decode import context_limit

    return context_limit(inner)
