"""One JSON object per row, read strictly: what other readers let through in silence is said here.

Refused: text that is not UTF-8, repeated keys, NaN and infinities, numbers beyond float64, NUL characters, lone surrogates,
nesting deeper than 64, anything that is not an object.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from plumbline.data.problem import WHOLE, FieldError

DEPTH = 64
DIGITS = 20
_SUSPECT = re.compile(rb"\\u(?:[dD][89a-fA-F]|0000)")


class _Flaw:
    """Stands where a value was that JSON does not know, until the field it stands in is found."""

    def __init__(self, problem: str) -> None:
        self.problem = problem


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        found[key] = _Flaw(f"stands twice (the key {_short(key)})") if key in found else value
    return found


def _float(text: str) -> Any:
    value = float(text)
    return value if math.isfinite(value) else _Flaw(f"is the number {text[:20]}, which is beyond any float")


def _int(text: str) -> Any:
    if len(text) <= DIGITS and abs(value := int(text)) < 2**63:
        return value
    return _Flaw(f"is a whole number of {len(text)} digits, more than 64 bits")


def _constant(text: str) -> Any:
    return _Flaw(f"is {text}, which JSON does not have")


_DECODER = json.JSONDecoder(object_pairs_hook=_pairs, parse_float=_float, parse_int=_int, parse_constant=_constant)


def parse_object(raw: bytes) -> dict[str, Any]:
    """The object in `raw`, or a `FieldError` naming the column that is at fault."""
    value = _decoded(raw)
    if not isinstance(value, dict):
        raise FieldError(
            WHOLE, f"is {kind_of(value)}, not a JSON object", 'Each row must be an object such as {"prompt": …, "completion": …}.'
        )
    suspect = bool(_SUSPECT.search(raw)) or b"\x00" in raw
    for column, inside in value.items():
        flaw = _flaw(inside, suspect, 1) or (_flaw(column, suspect, 1) if suspect else "")
        if flaw:
            raise FieldError(_short(column), flaw, "Mend the row.")
    return value


def _decoded(raw: bytes) -> Any:
    try:
        text = raw.decode("utf-8").strip(" \t\r\n")
    except UnicodeDecodeError as error:
        raise FieldError(WHOLE, f"is not UTF-8 (byte 0x{raw[error.start]:02x} at {error.start + 1})", "Save the file as UTF-8.") from None
    try:
        return _DECODER.decode(text)
    except RecursionError:
        raise FieldError(WHOLE, f"is nested deeper than {DEPTH} levels", "Flatten the row.") from None
    except json.JSONDecodeError as error:
        raise FieldError(WHOLE, f"is not valid JSON: {error.msg} at character {error.pos + 1}", _json_mend(text)) from None


def _json_mend(text: str) -> str:
    if text.startswith("{'"):
        return "It looks like Python's print; write rows with json.dumps."
    if text.endswith("},"):
        return "A line ends with a comma: write one object per line without commas, or one list [ … ] of objects."
    return "Mend the row."


def _flaw(value: Any, suspect: bool, depth: int) -> str:
    """The first thing wrong in a value, or nothing."""
    if depth > DEPTH:
        return f"is nested deeper than {DEPTH} levels"
    if isinstance(value, _Flaw):
        return value.problem
    if isinstance(value, str):
        return text_flaw(value) if suspect else ""
    if isinstance(value, dict):
        inside = [*value.values(), *(value if suspect else ())]
        return next((f for v in inside if (f := _flaw(v, suspect, depth + 1))), "")
    if isinstance(value, list):
        return next((f for v in value if (f := _flaw(v, suspect, depth + 1))), "")
    return ""


def text_flaw(text: str) -> str:
    """Characters that no tokenizer and no file can hold."""
    if "\x00" in text:
        return "holds a NUL character"
    if any("\ud800" <= c <= "\udfff" for c in text):
        return "holds half of a surrogate pair (a broken emoji or the like)"
    return ""


def kind_of(value: Any) -> str:
    """A JSON value's type, in words."""
    if value is None:
        return "null"
    names = {bool: "true/false", str: "text", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return names.get(type(value), type(value).__name__)


def _short(text: str) -> str:
    shown = text.encode("utf-8", "replace").decode("utf-8").replace("\x00", "␀")
    return shown if len(shown) <= 40 else shown[:40] + "…"
