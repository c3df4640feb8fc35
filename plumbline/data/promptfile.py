"""A prompt file: the principles and the examples that stand before every question, as YAML that people can read and edit.

    principles:
    - say that you do not know rather than guess
    examples:
    - user: where does mira live?                 a chat of one turn, and its reply
      assistant: in the mill.
    - messages: [{role: system, content: …}, …]   any other chat; its last message is the reply
    - prompt: "Q: 2 + 2\\nA:"                       raw text, as everywhere: no template
      completion: " 4"
    between: "\\n\\n"                               what stands between raw texts (two line breaks, if nothing is said)
    found: {…}                                    how it was found; nothing reads it

Order is meaning: the last example stands next to the question.   Nothing in a prompt file is ever run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from plumbline.core.errors import RowError, UserError
from plumbline.core.nouns import NO_META, Chat, Demo, Message, Meta
from plumbline.data.problem import WHOLE, FieldError

FIELDS = ("principles", "examples", "between", "found")
FORMS: tuple[frozenset[str], ...] = tuple(map(frozenset, (("user", "assistant"), ("messages",), ("prompt", "completion"))))
HOW = "Write user + assistant, or messages, or prompt + completion."


@dataclass(frozen=True)
class PromptFile:
    """What stands before every question.   `between`: what stands between raw texts.   `found`: how it was found, for people."""

    principles: tuple[str, ...] = ()
    examples: tuple[Demo, ...] = ()
    between: str = "\n\n"
    found: Meta = field(default_factory=lambda: NO_META)

    def text(self) -> str:
        """The file."""
        said: dict[str, Any] = {"principles": list(self.principles), "examples": [written(e) for e in self.examples]}
        said |= {"between": self.between} if self.between != "\n\n" else {}
        said |= {"found": dict(self.found)} if self.found else {}
        return yaml.safe_dump(said, sort_keys=False, allow_unicode=True, width=120)


def written(example: Demo) -> dict[str, Any]:
    """An example as it stands in the file."""
    if isinstance(example.context, str):
        return {"prompt": example.context, "completion": example.completion}
    if any(not isinstance(m.content, str) for m in example.context):
        raise UserError("an example holds a picture or a tool's call", "Prompt files hold text alone: leave such demonstrations out.")
    if [m.role for m in example.context] == ["user"]:
        return {"user": example.context[0].content, "assistant": example.completion}
    said = (*example.context, Message("assistant", example.completion))
    return {"messages": [{"role": m.role, "content": m.content} for m in said]}


def read(path: str | Path) -> PromptFile:
    """The file, or an error that names file, row (of its examples or principles), field and mend."""
    file = Path(path)
    try:
        said = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise UserError(f"--prompt {file} cannot be read: {reason}", "Give a prompt file as `plumbline icl` writes it.") from None
    except yaml.YAMLError as error:
        raise UserError(f"{file} is no YAML: {_short(error)}", "Mend the line, or quote the text that YAML misreads.") from None
    return parsed({} if said is None else said, str(file))


def parsed(said: Any, file: str) -> PromptFile:
    """What YAML read, checked."""
    if not isinstance(said, Mapping):
        raise UserError(f"{file} is no prompt file: it holds {_kind(said)}", f"It has the fields {', '.join(FIELDS)}.")
    unknown = [str(name) for name in said if name not in FIELDS]
    if unknown:
        raise UserError(f'{file}: there is no field "{unknown[0]}"', f"The fields are {', '.join(FIELDS)}.")
    principles = [_row(file, i, _principle, x) for i, x in enumerate(_list(said, "principles", file), 1)]
    examples = [_row(file, i, _example, x) for i, x in enumerate(_list(said, "examples", file), 1)]
    between, found = said.get("between", "\n\n"), said.get("found") or NO_META
    if not isinstance(between, str):
        raise UserError(f'{file}: "between" is {between!r}, not text', 'Write it in quotes, as "\\n\\n".')
    if not isinstance(found, Mapping):
        raise UserError(f'{file}: "found" is {_kind(found)}', "Write names and values, or leave it out.")
    return PromptFile(tuple(principles), tuple(examples), between, found)


def read_principles(path: str | Path) -> tuple[str, ...]:
    """A text file with a principle a line; blank lines and # are left out, and so is a list's mark before one.   Or a prompt file's."""
    file = Path(path)
    if file.suffix in (".yaml", ".yml"):
        return read(file).principles
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise UserError(f"--principles {file} cannot be read: {reason}", "Give a text file with one principle a line.") from None
    found = tuple(line.removeprefix("- ").removeprefix("* ").strip() for line in lines if line and not line.startswith("#"))
    if not found:
        raise UserError(f"{file} holds no principles", "Write one a line.")
    return found


def _list(said: Mapping[Any, Any], name: str, file: str) -> list[Any]:
    value = said.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise UserError(f'{file}: "{name}" is {_kind(value)}', "Write a list: each entry begins with a dash.")
    return value


def _row(file: str, row: int, parse: Any, value: Any) -> Any:
    try:
        return parse(value)
    except FieldError as problem:
        raise RowError(file, row, problem.field, problem.problem, problem.mend) from None


def _principle(value: Any) -> str:
    return _text(value, "principles")


def _example(value: Any) -> Demo:
    if not isinstance(value, Mapping):
        raise FieldError("examples", f"is {_kind(value)}", HOW)
    names = frozenset(map(str, value))
    if names not in FORMS:
        raise FieldError(WHOLE, f"has the fields {', '.join(sorted(names)) or '(none)'}", HOW)
    if "messages" in names:
        *context, reply = _messages(value["messages"])
        return Demo(tuple(context), str(reply.content))
    if "user" in names:
        return Demo((Message("user", _text(value["user"], "user")),), _text(value["assistant"], "assistant"))
    return Demo(_text(value["prompt"], "prompt"), _text(value["completion"], "completion"))


def _messages(value: Any) -> Chat:
    if not isinstance(value, list) or len(value) < 2:
        raise FieldError("messages", "holds no question and reply", "Write at least two messages, the last of them the assistant's.")
    found = []
    for message in value:
        if not isinstance(message, Mapping) or set(message) != {"role", "content"}:
            raise FieldError("messages", f"holds {_kind(message)} that is no message", "Write role and content of each.")
        found.append(Message(_text(message["role"], "role"), _text(message["content"], "content")))
    if found[-1].role != "assistant":
        raise FieldError("messages", f"ends with a {found[-1].role} message", "The last message is the assistant's reply.")
    return tuple(found)


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise FieldError(name, f"is {value!r}, not text", 'Put it in quotes: YAML reads yes, no, 3 and "a: b" as something else.')
    if not value.strip():
        raise FieldError(name, "is empty", "Write the text, or remove the entry.")
    return value


def _kind(value: Any) -> str:
    return {dict: "names and values", list: "a list", str: "a text", type(None): "nothing"}.get(type(value), f"{value!r:.40}")


def _short(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    return f"line {mark.line + 1}: {getattr(error, 'problem', '')}" if mark is not None else str(error).splitlines()[0]
