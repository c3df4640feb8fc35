"""Critique and revision: a model says what a principle finds wrong with its reply, and writes it again.   arXiv 2212.08073, §3.1

    y₀ ~ π(x);   for t = 1 … n:   p_t ~ constitution,   c_t ~ π(critique | x, y_{t−1}, p_t),   y_t ~ π(revision | x, y_{t−1}, c_t, p_t)

The revisions are what `cai` trains on.   The record keeps the principle of every step.   Without critiques (its §3.5) the reply is written
again straight away, as the principle asks.
"""

from __future__ import annotations

from dataclasses import dataclass

from plumbline.core.errors import ProtocolError, UserError
from plumbline.core.nouns import Ask, Prompt, Reply, Sampling
from plumbline.core.play import Playing
from plumbline.core.protocols import protocol
from plumbline.protocols.constitution import Constitution, drawn_by, open_constitution
from plumbline.protocols.principled import ENGLISH, Phrasing, Words


@dataclass(frozen=True, slots=True)
class Step:
    """One round: by which principle, what was found wrong ("" if that was not asked), and the reply after it; the same if nothing was."""

    principle: str
    critique: str
    revision: str
    revised: bool
    complete: bool


@dataclass(frozen=True, slots=True)
class Revised:
    """A reply and what became of it."""

    reply: str
    steps: tuple[Step, ...]

    @property
    def last(self) -> str:
        """The reply after all rounds."""
        return self.steps[-1].revision


@protocol(data=Prompt, asks=("model", "critic"), paper="Bai et al. 2022, arXiv 2212.08073")
def critique(
    prompt: Prompt,
    *,
    rounds: int = 1,
    critiques: bool = True,
    max_tokens: int = 128,
    principles: Constitution | None = None,
    phrasing: Phrasing = ENGLISH,
    draw: int = 0,
) -> Playing:
    """One prompt.   `rounds`: of critique and revision.   `critiques`: ask what is wrong before asking for a better reply.

    `max_tokens`: of each answer.   `draw`: the seed of the principles.

    `model` replies first; `critic` criticises and revises, and may be the same model.
    """
    if rounds < 1 or max_tokens < 1:
        raise UserError(f"critique: {rounds} rounds of {max_tokens} tokens", "Give at least 1 of each.")
    critics = (principles or open_constitution("default")).critics
    if not critics:
        raise UserError("the constitution has no principle with critique and revision", "Write one, or take another --constitution.")
    sampling = Sampling(max_tokens=max_tokens)
    answer = said((yield Ask("model", prompt.context, sampling)), "first reply")
    reply, complete, steps = answer.text, answer.finish == "stop", []
    for number in range(rounds):
        principle = drawn_by(critics, draw, prompt, number)
        found = ""
        if critiques:
            found = said((yield _ask(phrasing.critique(prompt.context, reply, principle), max_tokens)), "critique").text
        revised = not critiques or phrasing.finds_fault(found)
        if revised:
            better = said((yield _ask(phrasing.revision(prompt.context, reply, principle, found), max_tokens)), "revision")
            reply, complete = better.text, better.finish == "stop"
        steps.append(Step(principle.id, found, reply, revised, complete))
    return Revised(answer.text, tuple(steps))


def _ask(words: Words, max_tokens: int) -> Ask:
    return Ask("critic", words.context, Sampling(max_tokens=max_tokens, stop=words.stop), words.choices)


def said(reply: Reply, what: str) -> Reply:
    """A reply that says something; the game ends here if it does not."""
    if reply.finish == "error" or not reply.text.strip():
        raise ProtocolError(f"the {what} is empty")
    return reply
