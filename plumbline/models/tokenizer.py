"""Text to ids and back, over a fast tokenizer of transformers.

Raw text becomes BOS + text; a chat goes through the model's template, once, with the generation prompt.   The ids of a completion are
those that follow the context's: the context is always a token prefix of context + completion, as it is when the model is sampled.
"""

from __future__ import annotations

import logging
import os
from array import array
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from plumbline.core.errors import UserError
from plumbline.core.nouns import Chat, Content, Context, Message

log = logging.getLogger("plumbline")
CONTEXTS = 4096  # whose ids are kept: a prompt is asked for again in every pass, by every model that shares the tokenizer
FILES = ("tokenizer.json", "vocab.json", "vocab.txt", "tekken.json")  # what a tokenizer can be made of, besides *.model


class HFTokenizer:
    """core `Tokenizer` over a fast tokenizer.   `end_ids`: every id that ends a reply (EOS, and the end of a turn)."""

    def __init__(self, hf: Any, *, template: str | None = None, extra_ends: Sequence[int] = ()) -> None:
        if hf.eos_token_id is None:
            raise UserError(
                f"the tokenizer in {hf.name_or_path or 'memory'} names no end token", 'Set "eos_token" in tokenizer_config.json.'
            )
        self.hf = hf
        if template is not None:
            hf.chat_template = template
        self.bos_id: int | None = hf.bos_token_id
        self.eos_id: int = hf.eos_token_id
        self.pad_id: int = hf.pad_token_id if hf.pad_token_id is not None else hf.eos_token_id
        self.vocab_size: int = len(hf)
        self.has_template = bool(hf.chat_template)
        self.special_ids = frozenset(hf.all_special_ids)
        self.end_ids: frozenset[int] = frozenset({self.eos_id, *extra_ends})
        named = {self.bos_id, self.pad_id, *self.end_ids}  # some name one token as everything, GPT-2 among them
        self.unk_id: int | None = None if hf.unk_token_id in named else hf.unk_token_id
        self._said: set[str] = set()
        self._context = lru_cache(CONTEXTS)(lambda context: array("i", self._context_ids(context)))
        self._before = lru_cache(16)(self._encode)  # what a row's completions have in common, and how replies end
        self._prompting = lru_cache(16)(self.render)

    @classmethod
    def load(cls, path: str | os.PathLike[str], template: str | None = None) -> HFTokenizer:
        """From a model directory (or hub name).   `template`: Jinja text, or a file that holds it."""
        from transformers import AutoTokenizer

        text = _template(template)
        if Path(path).is_dir() and not any(p.name in FILES or p.suffix == ".model" for p in Path(path).iterdir()):
            raise UserError(
                f"{path}: there is no tokenizer in this directory", "Put the tokenizer.json that the model was trained with there."
            )
        try:
            hf = AutoTokenizer.from_pretrained(path, clean_up_tokenization_spaces=False)
        except Exception as error:
            raise UserError(
                f"{path}: no usable tokenizer ({_short(error)})", "The directory needs tokenizer.json (a fast tokenizer)."
            ) from error
        if not getattr(hf, "is_fast", False):
            raise UserError(f"{path}: only a slow tokenizer was found", "Save it as tokenizer.json with transformers' fast tokenizers.")
        return cls(hf, template=text)

    def save(self, directory: str | os.PathLike[str]) -> None:
        """Write tokenizer.json, its config and the template."""
        self.hf.save_pretrained(directory)

    def context_ids(self, context: Context) -> list[int]:
        """Raw text: BOS (if the model has one) + text.   A chat: its template with the generation prompt, applied once."""
        return list(self._context(context)) if _plain(context) else self._context_ids(context)

    def _context_ids(self, context: Context) -> list[int]:
        if not isinstance(context, str):
            return self._encode(self.render(context))
        ids = self._encode(context)
        if self.bos_id is not None and ids[:1] != [self.bos_id]:
            ids = [self.bos_id, *ids]
        if not ids:
            raise UserError("the context is empty, and this model has no BOS token to begin with", "Give every row a prompt.")
        return ids

    def completion_ids(self, context: Context, completion: str, *, complete: bool = True) -> list[int]:
        """The ids that follow `context_ids(context)`, with exactly one end token if `complete`, and none else."""
        if isinstance(context, str):
            return self._ended(self._following(context, completion), self.eos_id if complete else None)
        rendered = self._prompting(context) if _plain(context) else self.render(context)
        body, end = self._reply(context, rendered, completion) if complete else (completion, None)
        return self._ended(self._following(rendered, body), (self.eos_id if end is None else end) if complete else None)

    def _ended(self, ids: list[int], end: int | None) -> list[int]:
        """With exactly one end token at the end, even where the text brought its own; untouched where it is not complete."""
        if end is None:
            return ids
        while ids and ids[-1] in self.end_ids:
            ids = ids[:-1]
        return [*ids, end]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids, special tokens left out."""
        return self.hf.decode(list(ids), skip_special_tokens=True)

    def render(self, chat: Chat, *, reply: str | None = None) -> str:
        """The chat as the template writes it, with the generation prompt (or with `reply` as the assistant's turn)."""
        if not self.has_template:
            raise UserError(
                "the data are chats, but this model has no chat template", "Pass --template FILE, or give raw text (prompt, completion)."
            )
        messages = [_message(m) for m in chat]
        if reply is not None:
            messages.append({"role": "assistant", "content": reply})
        try:
            return self.hf.apply_chat_template(messages, tokenize=False, add_generation_prompt=reply is None)
        except Exception as error:
            roles = " → ".join(m.role for m in chat)
            raise UserError(
                f"the chat template refuses a chat ({roles}): {_short(error)}", "Mend the chat, or pass --template FILE."
            ) from error

    def _encode(self, text: str) -> list[int]:
        return self.hf.encode(text, add_special_tokens=False, verbose=False)  # what is too long is cut, or refused, by name

    def _following(self, before: str, text: str) -> list[int]:
        """Ids of `text` after `before`: the rest of their joint ids if `before`'s are a prefix of them, else of `text` by itself."""
        head, joint = self._before(before), self._encode(before + text)
        if joint[: len(head)] == head:
            return joint[len(head) :]
        mark = self._encode("\n")  # a tokenizer may put a space before the first word of a text; after a line break it cannot
        marked = self._encode("\n" + text)
        return marked[len(mark) :] if marked[: len(mark)] == mark else self._encode(text)

    def _reply(self, context: Chat, rendered: str, completion: str) -> tuple[str, int | None]:
        """What the template writes after the generation prompt for this reply, up to and without the end token, and that token."""
        full = self.render(context, reply=completion)
        if not full.startswith(rendered):
            self._say("the template writes a finished reply otherwise than it prompts for one: replies are trained as plain text + EOS")
            return completion, None
        after = full[len(rendered) :]
        at = after.rfind(completion.strip())
        if at < 0:
            self._say("the template changes replies: they are trained as plain text + EOS")
            return completion, None
        cut = at + len(completion.strip())
        ending = self._before(after[cut:].lstrip())
        if ending and ending[0] in self.special_ids:
            self.end_ids |= {ending[0]}
            return after[:cut], ending[0]
        self._say("the template writes no end token after a reply: EOS is used")
        return after[:cut], None

    def _say(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            log.warning(text)


def _plain(context: Context) -> bool:
    """Text alone: a tool's call or a picture in a message need not be hashable."""
    return isinstance(context, str) or all(isinstance(m.content, str) for m in context)


def _template(template: str | None) -> str | None:
    if template is None or "{" in template:
        return template
    if not Path(template).is_file():
        raise UserError(f"--template {template}: no such file", "Give a file that holds a Jinja chat template, or the template itself.")
    return Path(template).read_text(encoding="utf-8")


def _message(message: Message) -> dict[str, Any]:
    if isinstance(message.content, str):
        return {"role": message.role, "content": message.content}
    calls = [c.value for c in message.content if c.kind == "tool_call"]
    said = {"role": message.role, "content": "".join(_text(c) for c in message.content)}
    return {**said, "tool_calls": calls} if calls else said


def _text(content: Content) -> str:
    if content.kind == "image":
        raise UserError("a message holds an image, but this is a text model", "Leave such rows out with --skip_bad.")
    return "" if content.kind == "tool_call" else str(content.value)


def _short(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
