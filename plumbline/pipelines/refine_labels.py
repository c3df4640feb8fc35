"""How a round's replies are labelled: by an oracle in pairs, or by a reward that says which is best and which worst.

    pairs      different replies to a prompt, two and two in the order in which they were drawn: n // 2 questions at most
    extremes   the best and the worst by a reward: one pair a prompt, one annotation          Yuan et al. 2024, arXiv 2401.10020

Thumbs are what pairs say: up for the preferred reply, down for the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import final

from plumbline.core.interfaces import Judge, Oracle, Reward
from plumbline.core.nouns import Comparison, Context, Game, Label, Prompt, Reply, Turn
from plumbline.core.oracles import Announced, Question
from plumbline.feedback.oracles import preferring, question_id
from plumbline.pipelines.refine import Labelled

Drawn = Sequence[Sequence[Reply]]


def pairs(prompts: Sequence[Prompt], drawn: Drawn, most: int) -> list[tuple[Prompt, tuple[Reply, Reply]]]:
    """Questions about replies that differ, each reply in one; the first `most` of them."""
    found = []
    for prompt, replies in zip(prompts, drawn, strict=True):
        several = different(replies)
        found += [(prompt, (a, b)) for a, b in zip(several[::2], several[1::2], strict=False)]
    return found[:most]


def different(replies: Sequence[Reply]) -> list[Reply]:
    """One of each text, empty ones left out: nothing can be learned of them."""
    return list({reply.text: reply for reply in replies if reply.text.strip()}.values())


def by_oracle(oracle: Oracle, prompts: Sequence[Prompt], drawn: Drawn, most: int) -> Labelled:
    """What an oracle says of pairs.   An annotation is a question that was answered."""
    asked = pairs(prompts, drawn, most)
    if isinstance(oracle, Announced):
        oracle.announce([(prompt.context, (a.text, b.text)) for prompt, (a, b) in asked])
    rows = []
    for prompt, (a, b) in asked:
        said = oracle.compare(prompt.context, (a.text, b.text))
        rows.append(_row(prompt, said.completions, said.preference, said.annotator, (a, b)))
    return Labelled(rows, len(rows))


def by_reward(reward: Reward, prompts: Sequence[Prompt], drawn: Drawn, most: int, name: str = "reward") -> Labelled:
    """The best and the worst reply to each prompt; a tie where all are worth the same."""
    several = [(p, different(replies)) for p, replies in zip(prompts, drawn, strict=True)]
    several = [(p, replies) for p, replies in several if len(replies) > 1][:most]
    flat = [(p, reply) for p, replies in several for reply in replies]
    total = iter(reward([game(p, reply) for p, reply in flat]).total if flat else [])
    rows = []
    for prompt, replies in several:
        worth = [next(total) for _ in replies]
        best, worst = replies[worth.index(max(worth))], replies[worth.index(min(worth))]
        if best is worst:
            rows.append(_row(prompt, (replies[0].text, replies[1].text), 0.5, name, replies[:2]))
        else:
            rows.append(_row(prompt, (best.text, worst.text), 1.0, name, (best, worst)))
    return Labelled(rows, len(rows))


def thumbs(found: Labelled) -> Labelled:
    """Comparisons as thumbs, ties left out; they cost what they cost."""
    rows: list[Label] = []
    for row in found.rows:
        if isinstance(row, Comparison) and row.preference != 0.5:
            for text, up in zip(row.completions, (True, False), strict=True):
                rows.append(Label(row.context, text, up, complete=row.complete, annotator=row.annotator, meta=row.meta))
    return Labelled(rows, found.asked, len(found.rows) - len(found.told))


def game(prompt: Prompt, reply: Reply) -> Game:
    """One answered prompt, as rewards read it."""
    return Game((Turn("policy", prompt.context, reply),), item=prompt)


def _row(prompt: Prompt, texts: Sequence[str], preference: float, annotator: str, replies: Sequence[Reply]) -> Comparison:
    complete = all(r.finish == "stop" for r in replies)
    meta = {**prompt.meta, "prompt_id": prompt.id}
    return Comparison(prompt.context, (texts[0], texts[1]), preference, complete=complete, annotator=annotator, meta=meta)


@final
@dataclass
class Judged:
    """A judge as an oracle: it is asked about a whole round at once, and remembers what it said."""

    judge: Judge
    name: str = "judge"
    said: dict[str, Comparison] = field(default_factory=dict)

    def announce(self, questions: Sequence[Question]) -> None:
        """Judge what was not judged yet."""
        new = [(context, pair) for context, pair in questions if question_id(context, pair) not in self.said]
        likes = self.judge([c for c, _ in new], [pair[0] for _, pair in new], [pair[1] for _, pair in new]) if new else []
        for (context, pair), p in zip(new, likes, strict=True):
            self.said[question_id(context, pair)] = preferring(context, pair, p, self.name)

    def compare(self, context: Context, completions: Sequence[str]) -> Comparison:
        """The soft preference."""
        self.announce([(context, completions)])
        return self.said[question_id(context, completions)]
