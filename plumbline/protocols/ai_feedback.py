"""AI feedback: a model says which of two replies a principle prefers, in both orders, as a soft label.   arXiv 2212.08073, §4.1

    a = P("A" | y₁ as A, y₂ as B)      b = P("A" | y₂ as A, y₁ as B)      label = P(y₁ over y₂) = (a + 1 − b)/2

Swapping y₁ and y₂ swaps a and b, so the label becomes 1 − label.   A position bias that adds the same to both *probabilities* of "A"
cancels: with a = q + ε, b = 1 − q + ε the label is q.   One that adds to the *log-odds* does not cancel, but the label stays on the side of
½ where it would be without (σ(z + ε) + σ(z − ε) > 1 just if z > 0), only nearer to ½.   Equal replies get ½.
"""

from __future__ import annotations

from dataclasses import dataclass

from plumbline.core.errors import ProtocolError, UserError
from plumbline.core.nouns import Ask, Prompt, Reply, Sampling
from plumbline.core.play import Playing
from plumbline.core.protocols import protocol
from plumbline.protocols.constitution import Constitution, drawn_by, open_constitution
from plumbline.protocols.critique import said
from plumbline.protocols.principled import ENGLISH, Phrasing

DIGITS = 6  # of a label: what lies below depends on which games were computed together


@dataclass(frozen=True, slots=True)
class Feedback:
    """Two replies, the probability that the first is better by a principle, and what "A" got on average: ½ without position bias."""

    replies: tuple[str, str]
    principle: str
    label: float
    first: float
    complete: bool = True


@protocol(data=Prompt, asks=("model", "feedback"), paper="Bai et al. 2022, arXiv 2212.08073")
def ai_feedback(
    prompt: Prompt,
    *,
    max_tokens: int = 128,
    principles: Constitution | None = None,
    phrasing: Phrasing = ENGLISH,
    draw: int = 0,
) -> Playing:
    """`model` replies twice, `feedback` compares.   `max_tokens`: of each reply.   `draw`: the seed of the principles."""
    if max_tokens < 1:
        raise UserError(f"ai_feedback: replies of {max_tokens} tokens", "Give at least 1.")
    constitution = principles or open_constitution("default")
    check(constitution)
    replies = yield [Ask("model", prompt.context, Sampling(max_tokens=max_tokens))] * 2
    one, two = (said(reply, "reply") for reply in replies)
    complete = one.finish == "stop" and two.finish == "stop"
    return (yield from compared(prompt, (one.text, two.text), constitution, phrasing, draw=draw, complete=complete))


def check(principles: Constitution) -> None:
    """Refuse a constitution that compares nothing."""
    if not principles.judges:
        raise UserError("the constitution has no principle that compares", "Write `compare:` in one, or take another --constitution.")


def compared(
    prompt: Prompt, pair: tuple[str, str], principles: Constitution, phrasing: Phrasing = ENGLISH, *, draw: int = 0, complete: bool = True
) -> Playing:
    """Have two given replies compared."""
    principle = drawn_by(principles.judges, draw, prompt, 0)
    one, two = pair
    orders = [phrasing.compare(prompt.context, a, b, principle) for a, b in ((one, two), (two, one))]
    verdicts = yield [Ask("feedback", words.context, choices=words.choices) for words in orders]
    a, b = map(_first, verdicts)
    return Feedback(pair, principle.id, round(averaged(a, b), DIGITS), round((a + b) / 2, DIGITS), complete)


def averaged(a: float, b: float) -> float:
    """P(y₁ over y₂) from the probability of the first place with y₁ there, and with y₂ there."""
    return (a + 1 - b) / 2


def _first(verdict: Reply) -> float:
    p = verdict.choice_probs
    if len(p) != 2 or not all(0 <= x <= 1 for x in p):
        raise ProtocolError(f"the feedback model gave no probabilities for two answers (it said {verdict.text[:40]!r})")
    return p[0]
