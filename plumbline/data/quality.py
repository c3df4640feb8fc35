"""How good a row's answers look, by signals that anyone can check: each from 0 to 1, and 1 says nothing against it.

    quality = product of the signals (each the mean over the row's answers)

Of a comparison the better answer is judged.   What looks bad may be right for what you train: `ignore` leaves signals out (`refusal` for
safety data, `copying` for extraction).   None of them knows whether an answer is true.

Repeated runs of words as a filter: Rae et al. 2021, arXiv 2112.11446, §A.1.   Length as a signal: Zhao et al. 2024, arXiv 2402.04833.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from plumbline.core.nouns import Message, completions_of, words_of
from plumbline.data.ngrams import words

LONG = 32  # words from which on length says nothing against an answer
_NOTHING = {"n/a", "na", "none", "null", "nan", "noinput", "<noinput>", "no input", "nooutput", "<nooutput>", "no output", "todo", "tbd"}
_ENDS = re.compile(r"""[.!?…。！？۔।:;%}\])>»”"'`*_~|]\s*$|[\U0001F300-\U0001FAFF]\s*$""")
_SENTENCE = re.compile(r"[.!?…。！？]\s+\S")
_LIST = re.compile(r"(?:[-*•]|\d+[.)])\s")
_REFUSAL = re.compile(
    r"\bas an? (?:ai|artificial|large)\b|\b(?:i'm|i am|we are) (?:sorry|afraid|unable|not able)\b|\bsorry, (?:but )?i\b|\bi apologi[sz]e\b"
    r"|\bi (?:can't|cannot|can not|could not|couldn't|won't) (?:help|assist|answer|provide|access|browse|fulfil|comply|do that)\b",
    re.IGNORECASE,
)
_BOILERPLATE = re.compile(
    r"lorem ipsum|all rights reserved|click (?:here|below)|terms of (?:use|service)|subscribe (?:to|now)|enable javascript|©"
    r"|\[(?:insert|your|name|company|date)[^\]]{0,30}\]|<your [^>]{0,30}>|\bopenai\b|\bchatgpt\b|knowledge cutoff|\bXXX+\b",
    re.IGNORECASE,
)
_GARBAGE = re.compile(
    r"\ufffd|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]|[\ue000-\uf8ff]|\u00e2\u20ac.|\u00c3[\u0080-\u00bf]|\u00c2[\u00a0-\u00bf]"
    r"|&(?:nbsp|amp|lt|gt|quot|#\d+);|</?(?:br|p|div|span|td|tr)\b[^>]*>"
)
_COMMON = frozenset(
    """a about am an and any are as at be been but by can could did do does for from had has have he her his how i if in into is it its
    just like me might more most my no not of on one or our out please say she should so some tell than that the their them then there
    these they this to up us use was we were what when where which who why will with would you your""".split()  # noqa: SIM905
)


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer and what was asked last."""

    asked: str
    said: str
    complete: bool
    words: list[str]


def _length(a: Answer) -> float:
    return 0.6 + 0.4 * min(1.0, math.log1p(len(a.words)) / math.log1p(LONG))


def _empty(a: Answer) -> float:
    return 0.0 if a.said.strip().strip(".").lower() in _NOTHING or not any(c.isalnum() for c in a.said) else 1.0


def _ending(a: Answer) -> float:
    """An answer of sentences or of many words ends one; a list, code in fences or a bare value need not."""
    text = a.said.strip()
    if not a.complete or text.count("```") % 2 or text.endswith((",", "-", "…", "...")):
        return 0.5
    prose = len(a.words) > 12 or _SENTENCE.search(text) is not None
    bare = _LIST.match(text.rsplit("\n", 1)[-1].strip()) is not None or not prose
    return 1.0 if bare or _ENDS.search(text) else 0.5


def _repetition(a: Answer) -> float:
    """A fifth of the runs of three words may stand there again; from there to all of them it falls to 0."""
    runs = list(zip(a.words, a.words[1:], a.words[2:], strict=False))
    again = 1.0 - len(set(runs)) / len(runs) if runs else 0.0
    return 1.0 - max(0.0, again - 0.2) / 0.8


def _refusal(a: Answer) -> float:
    return 0.3 if _REFUSAL.search(a.said[:300]) else 1.0


def _boilerplate(a: Answer) -> float:
    return 0.3 if _BOILERPLATE.search(a.said) else 1.0


def _copying(a: Answer) -> float:
    """The share of the answer's runs of three words that stand in the question: half may, all of them gives .3."""
    if len(a.words) < 8:
        return 1.0
    asked = words(a.asked)
    there = set(zip(asked, asked[1:], asked[2:], strict=False))
    runs = list(zip(a.words, a.words[1:], a.words[2:], strict=False))
    return 1.0 - 0.7 * max(0.0, sum(run in there for run in runs) / len(runs) - 0.5) / 0.5


def _off_topic(a: Answer) -> float:
    """.7 for an answer of four words or more that takes up no word of the question (very common words aside)."""
    said, asked = set(a.words) - _COMMON, set(words(a.asked)) - _COMMON
    return 0.7 if len(a.words) >= 4 and asked and not said & asked else 1.0


def _garbage(a: Answer) -> float:
    """Each 1 % of characters that are broken encoding or markup takes a fifth."""
    broken = sum(len(m[0]) for m in _GARBAGE.finditer(a.said))
    return max(0.0, 1.0 - 20.0 * broken / len(a.said)) if broken else 1.0


SIGNALS: Mapping[str, tuple[Callable[[Answer], float], str]] = {
    "empty": (_empty, "is empty, or says that nothing is there"),
    "length": (_length, "is short"),
    "ending": (_ending, "does not come to an end"),
    "repetition": (_repetition, "repeats itself"),
    "refusal": (_refusal, "refuses or apologises"),
    "boilerplate": (_boilerplate, "holds boilerplate"),
    "copying": (_copying, "copies the question"),
    "off_topic": (_off_topic, "takes up no word of the question"),
    "garbage": (_garbage, "holds broken characters or markup"),
}


def _asked(context: str | tuple[Message, ...]) -> str:
    return context if isinstance(context, str) else words_of(context[-1].content)


def better(item: Any) -> str:
    """The answer of an item that is judged: of a comparison the better one."""
    said = list(completions_of(item))
    return said[-1] if len(said) > 1 and item.preference < 0.5 else said[0]


def signals(items: Sequence[Any], ignore: Sequence[str] = ()) -> dict[str, float]:
    """Each signal of a row: the mean over its items."""
    answers = [Answer(_asked(item.context), better(item), item.complete, words(better(item))) for item in items]
    names = [name for name in SIGNALS if name not in ignore]
    return {name: sum(map(SIGNALS[name][0], answers)) / len(answers) for name in names}


def against(found: Mapping[str, float]) -> list[str]:
    """What the signals below .95 say, worst first; those that are not ours are named."""
    low = sorted((mark, name) for name, mark in found.items() if mark < 0.95)
    return [f"{SIGNALS[name][1] if name in SIGNALS else name} ({mark:.2f})" for mark, name in low]
