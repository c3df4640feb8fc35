"""Rows of other tools → our columns.   Each conversion has a name, which is counted and printed.

conversations, {from, value} turns (ShareGPT, LLaMA-Factory) → messages, or the prompt of a comparison
chosen_messages, rejected_messages (LLaMA-Factory v1)         → chosen, rejected
instruction, input|context, output|response (Alpaca, Dolly)   → prompt (a chat), completion | chosen, rejected
instruction, output_1, output_2, preference (AlpacaEval)      → prompt (a chat), chosen, rejected, preference
instruction, instances (Self-Instruct)                        → one prompt and completion per instance
system, question, chosen, rejected (Orca pairs)               → prompt (a chat), chosen, rejected
question|prompt, answer|response                              → prompt, completion
"Q: … A: … True:", " yes" | " no" (TruthfulQA: labels, ratings) → prompt, completion, label
text                                                          → completion of an empty prompt
text, label (SST-2 and other classified texts)                → completion of an empty prompt, label
"""

from __future__ import annotations

import re
from typing import Any

from plumbline.core.nouns import Label, Rating
from plumbline.data.problem import FieldError
from plumbline.data.strict import kind_of

Row = dict[str, Any]
_TRUTH = re.compile(r"(Q: .*\nA:)(.*)\n(?:True|Helpful):", re.DOTALL)


def ours(row: Row, kind: type | None) -> tuple[list[Row], str]:
    """The row in our columns (several rows for Self-Instruct) and the name of the conversion, "" if it was ours."""
    if "conversations" in row and "messages" not in row:
        return [_renamed(row, conversations="messages")], "conversations read as messages"
    if {"chosen_messages", "rejected_messages"} <= row.keys():
        return [_renamed(row, chosen_messages="chosen", rejected_messages="rejected")], "chosen_messages, rejected_messages read as chats"
    if "instruction" in row and "prompt" not in row:
        return _instruction(row)
    if "question" in row and "prompt" not in row:
        return _question(row)
    if {"prompt", "response"} <= row.keys() and not {"completion", "chosen"} & row.keys():
        return [_renamed(row, response="completion")], "response read as completion"
    if kind in (Label, Rating) and {"prompt", "completion"} <= row.keys() and not row.keys() & {"label", "scores"}:
        return _truth(row)
    if "text" in row and not row.keys() & {"messages", "prompt", "completion", "chosen", "rejected"}:
        said = "text, label read as labels of a completion of nothing" if "label" in row else "text read as a completion of nothing"
        return [_renamed(row, text="completion") | {"prompt": ""}], said
    return [row], ""


def _renamed(row: Row, **names: str) -> Row:
    return {names.get(key, key): value for key, value in row.items()}


def _text(row: Row, field: str) -> str:
    value = row[field]
    if not isinstance(value, str):
        raise FieldError(field, f"is {kind_of(value)}, not text", "Mend the row.")
    return value


def _asked(row: Row, instruction: str, given: str) -> list[Row]:
    """A chat that asks `instruction`, with what is given below it, after system message and history if the row has them."""
    turns: list[Row] = []
    if row.get("system"):
        turns.append({"role": "system", "content": row["system"]})
    history = row.get("history") or []
    if not isinstance(history, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in history):
        raise FieldError("history", "is not a list of [question, answer] pairs", "Mend the row.")
    for asked, answered in history:
        turns += [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
    return [*turns, {"role": "user", "content": f"{instruction}\n\n{given}" if given.strip() else instruction}]


def _rest(row: Row, *used: str) -> Row:
    return {key: value for key, value in row.items() if key not in {*used, "system", "history"}}


def _instruction(row: Row) -> tuple[list[Row], str]:
    instruction = _text(row, "instruction")
    given = next((name for name in ("input", "context") if row.get(name) is not None), "")
    prompt = _asked(row, instruction, _text(row, given) if given else "")
    rest = _rest(row, "instruction", given)
    if {"output_1", "output_2"} <= row.keys():
        return [_judged(row, prompt)], "AlpacaEval pairs read as comparisons of chats"
    if "instances" in row:
        return _instances(row, instruction), "Self-Instruct instances read as chats"
    answer = next((name for name in ("output", "response") if name in row), "")
    if answer:
        rest.pop(answer)
        return [rest | {"prompt": prompt, "completion": row[answer]}], "Alpaca or Dolly columns read as chats"
    return [rest | {"prompt": prompt}], "Alpaca or Dolly columns read as chats"


def _instances(row: Row, instruction: str) -> list[Row]:
    found = row["instances"]
    if not isinstance(found, list) or not found:
        raise FieldError("instances", "is not a list with something in it", "Mend the row.")
    rest, rows = _rest(row, "instruction", "instances"), []
    for i, one in enumerate(found):
        if not isinstance(one, dict) or not isinstance(one.get("input", ""), str) or "output" not in one:
            raise FieldError(f"instances[{i}]", "is not an object with input and output", "Mend the row.")
        rows.append(rest | {"prompt": _asked(row, instruction, one.get("input", "")), "completion": one["output"]})
    return rows


def _judged(row: Row, prompt: list[Row]) -> Row:
    """AlpacaEval: preference 1 = output_1, 2 = output_2, in between = undecided; 1.5 and 0 are ties."""
    said = row.get("preference")
    said = 1.5 if said == 0 and not isinstance(said, bool) else said
    if isinstance(said, bool) or not isinstance(said, int | float) or not 1 <= said <= 2:
        raise FieldError("preference", f"is {said!r:.40}, not a number from 1 (output_1) to 2 (output_2)", "Mend the row.")
    best, other = ("output_1", "output_2") if said <= 1.5 else ("output_2", "output_1")
    rest = _rest(row, "instruction", "output_1", "output_2", "preference")
    sure = 2.0 - said if said <= 1.5 else said - 1.0
    return rest | {"prompt": prompt, "chosen": row[best], "rejected": row[other], "preference": sure}


def _question(row: Row) -> tuple[list[Row], str]:
    if {"chosen", "rejected"} <= row.keys():
        return [_rest(row, "question") | {"prompt": _asked(row, _text(row, "question"), "")}], "question read as a chat"
    if "answer" in row:
        prompt = _asked(row, _text(row, "question"), "")
        return [_rest(row, "question", "answer") | {"prompt": prompt, "completion": row["answer"]}], "question, answer read as chats"
    return [row], ""


def _truth(row: Row) -> tuple[list[Row], str]:
    asked = _TRUTH.fullmatch(row["prompt"]) if isinstance(row["prompt"], str) else None
    said = row["completion"].strip() if isinstance(row["completion"], str) else ""
    if not asked or said not in {"yes", "no"}:
        return [row], ""
    return [row | {"prompt": asked[1], "completion": asked[2], "label": said == "yes"}], "TruthfulQA verdicts read as labels"
