"""Message lists → chats.   `{role, content}` and `{from, value}` turns; content is text or a list of text parts."""

from __future__ import annotations

from typing import Any

from plumbline.core.nouns import Chat, Message
from plumbline.data.problem import FieldError
from plumbline.data.strict import kind_of

ROLES = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "tool": "tool",
}
_SHAPE = 'Write each message as {"role": "user", "content": "text"}.'


def is_turn(value: Any) -> bool:
    """Whether a value is a single message."""
    return isinstance(value, dict) and ({"role", "content"} <= value.keys() or {"from", "value"} <= value.keys())


def chat(value: Any, field: str) -> Chat:
    """A non-empty list of messages."""
    if not isinstance(value, list):
        raise FieldError(field, f"is {kind_of(value)}, not a list of messages", _SHAPE)
    if not value:
        raise FieldError(field, "is an empty list", "A chat needs at least one message.")
    return tuple(message(turn, f"{field}[{i}]") for i, turn in enumerate(value))


def message(turn: Any, field: str) -> Message:
    """One message; what a text model cannot be trained on (images, tool calls) is refused here."""
    if not is_turn(turn):
        raise FieldError(field, f"is {kind_of(turn)} without role and content", _SHAPE)
    named, said = ("role", "content") if {"role", "content"} <= turn.keys() else ("from", "value")
    role = turn[named]
    if not isinstance(role, str) or role not in ROLES:
        raise FieldError(f"{field}.{named}", f"is {role!r:.40}, an unknown role", f"Roles are {', '.join(ROLES)}.")
    if turn.get("tool_calls") or turn.get("function_call"):
        raise FieldError(f"{field}.tool_calls", "holds a tool call, which a text method cannot train on", "Remove the row.")
    content = _text(turn[said], f"{field}.{said}")
    if not content.strip() and ROLES[role] != "system":
        raise FieldError(f"{field}.{said}", "is empty", "Fill it or remove the row.")
    return Message(ROLES[role], content)


def _text(value: Any, field: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value:
        return "".join(_part(part, f"{field}[{i}]") for i, part in enumerate(value))
    raise FieldError(field, f"is {kind_of(value)}, not text", _SHAPE)


def _part(part: Any, field: str) -> str:
    if isinstance(part, dict) and part.get("type") == "text":
        said = part.get("text", part.get("value"))
        if isinstance(said, str):
            return said
    named = part.get("type") if isinstance(part, dict) else kind_of(part)
    raise FieldError(field, f"is {named!r:.40}, not a text part", 'Only {"type": "text", "text": …} parts can be trained on.')


def is_trained(turn: Any) -> bool:
    """False where a row says that this assistant turn is only context: `weight` or `loss_weight` 0."""
    return all(turn.get(key, 1) != 0 for key in ("weight", "loss_weight"))
