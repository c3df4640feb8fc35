"""Where the prompt ends, when chosen and rejected are whole dialogues (an *implicit prompt*).

Text: after the last assistant marker if both dialogues agree up to it; else after the last marker that they share; else after
their longest common beginning, which `Plan` shortens until the tokenisations agree there too (`settle`).
Chats: before the last message, up to which both must be the same.
"""

from __future__ import annotations

from plumbline.core.interfaces import Tokenizer
from plumbline.core.nouns import Chat, Message
from plumbline.data.problem import WHOLE, FieldError

MARKERS = ("\n\nAssistant:", "<|im_start|>assistant\n", "<|assistant|>\n", "[/INST]", "### Response:\n", "### Assistant:")
LAST, SHARED, COMMON, CHAT = (
    "prompt cut at the last assistant marker",
    "prompt cut at the last shared assistant marker (the dialogues part before their last turn)",
    "prompt cut at the longest common beginning",
    "prompt cut before the last message",
)
REACH = 400  # characters that `settle` steps back at most


def common_length(a: str, b: str) -> int:
    """Characters that two texts begin with alike."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if a[low:middle] == b[low:middle] else (low, middle - 1)
    return low


def cut_text(chosen: str, rejected: str) -> tuple[str, str, str, str]:
    """(prompt, chosen rest, rejected rest, how it was cut)."""
    shared = common_length(chosen, rejected)
    marker = next((m for m in MARKERS if m in chosen and m in rejected), None)
    if marker:
        ends = {t.rfind(marker) + len(marker) for t in (chosen, rejected)}
        last = max(ends)
        if len(ends) == 1 and last <= shared:
            return chosen[:last], chosen[last:], rejected[last:], LAST
        found = chosen[:shared].rfind(marker)
        if found >= 0:
            at = found + len(marker)
            return chosen[:at], chosen[at:], rejected[at:], SHARED
    at = shared
    while at and not (chosen[at:].strip() and rejected[at:].strip()):
        at -= 1
    if not at:
        raise FieldError("prompt", "is missing, and chosen and rejected have no common beginning", "Add a prompt column.")
    return chosen[:at], chosen[at:], rejected[at:], COMMON


def cut_chats(chosen: Chat, rejected: Chat) -> tuple[Chat, Message, Message]:
    """(common chat, last message of chosen, last message of rejected)."""
    for name, whole in (("chosen", chosen), ("rejected", rejected)):
        if whole[-1].role != "assistant":
            raise FieldError(name, f"ends with a {whole[-1].role} message", "A dialogue to compare ends with the assistant's reply.")
    if len(chosen) != len(rejected) or chosen[:-1] != rejected[:-1]:
        raise FieldError("rejected", "differs from chosen before its last message", "Compare replies to the same conversation.")
    if len(chosen) == 1:
        raise FieldError("prompt", "is missing: chosen and rejected are single replies", "Add a prompt column.")
    return chosen[:-1], chosen[-1], rejected[-1]


def settle(context: str, completions: tuple[str, ...], tokenizer: Tokenizer) -> tuple[str, tuple[str, ...]]:
    """The longest beginning of `context` whose tokens also begin every whole text; the rest goes to the completions."""
    wholes = [tokenizer.context_ids(context + c) for c in completions]
    for back in range(min(REACH, len(context))):
        head = context[: len(context) - back]
        ids = tokenizer.context_ids(head)
        if all(whole[: len(ids)] == ids for whole in wholes):
            return head, tuple(context[len(head) :] + c for c in completions)
    raise FieldError(WHOLE, "has no prompt, and the tokenizer finds no place where both texts begin alike", "Add a prompt column.")
