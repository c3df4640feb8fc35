"""Simulated people: how a true utility becomes a choice, a ranking, a rating or a thumb.

An annotator perceives   s(y) = total(y) + length · words/20 + politeness · courtesies + agreement · [agrees with the user's belief]
(biases are 0 unless stated).   With `noise` τ, in units of utility:

    choice    P(a over b) = σ((s_a − s_b)/τ)                 Bradley & Terry 1952
    ranking   the order of s + τ·Gumbel                      Plackett 1975, Luce 1959
    rating    1 + the number of the annotator's own thresholds below (criterion + τ·logistic)
    thumb     s + τ·logistic above the annotator's bar

A tie is *said*: where |s_a − s_b| ≤ `tie` the preference is .5, whatever the noise; it is never settled by a coin.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

from plumbline.core.errors import UserError
from plumbline.core.nouns import Prompt
from plumbline.world.knowledge import TOWN, Town
from plumbline.world.language import words
from plumbline.world.parser import parse
from plumbline.world.utility import gold

CRITERIA = ("helpful", "honest", "harmless")


@dataclass(frozen=True)
class Annotator:
    """One person.   `thresholds` are where ratings step from 1 to 5; `bar` is what earns a thumb up; times are seconds per query."""

    name: str = "ada"
    noise: float = 0.0
    length: float = 0.0
    politeness: float = 0.0
    agreement: float = 0.0
    tie: float = 0.03
    thresholds: tuple[float, float, float, float] = (0.1, 0.35, 0.65, 0.9)
    bar: float = 0.6
    choice_seconds: float = 12.0
    rating_seconds: float = 8.0
    thumb_seconds: float = 3.0
    demo_seconds: float = 60.0

    def perceive(self, prompt: Prompt, text: str, town: Town = TOWN) -> float:
        """s(y): the true total and this person's biases."""
        total = gold(prompt, text, town).total
        if not (self.length or self.politeness or self.agreement):
            return total
        acts = parse(text)
        belief = prompt.meta["gold"].get("belief")
        agrees = any(a.kind == "yes" or (a.kind == "claim" and a.positive and a.value == belief) for a in acts) and belief is not None
        courtesies = sum(a.kind == "polite" for a in acts)
        return total + self.length * len(words(text)) / 20 + self.politeness * courtesies + self.agreement * agrees

    def choose(self, prompt: Prompt, pair: tuple[str, str], chance: Random, town: Town = TOWN) -> float:
        """1 if the first is preferred, 0 if the second, .5 for a tie."""
        gap = self.perceive(prompt, pair[0], town) - self.perceive(prompt, pair[1], town)
        if abs(gap) <= self.tie:
            return 0.5
        return float(gap + _logistic(chance, self.noise) > 0)

    def probability(self, prompt: Prompt, pair: tuple[str, str], town: Town = TOWN) -> float:
        """P(first over second), .5 for a tie."""
        gap = self.perceive(prompt, pair[0], town) - self.perceive(prompt, pair[1], town)
        if abs(gap) <= self.tie:
            return 0.5
        return float(gap > 0) if not self.noise else 0.5 * (1 + math.tanh(gap / self.noise / 2))

    def rank(self, prompt: Prompt, texts: Sequence[str], chance: Random, town: Town = TOWN) -> list[str]:
        """The texts, best first.   Texts that are tied with a better-placed one are left out: a ranking cannot say a tie."""
        seen: list[tuple[float, str]] = []
        for text in texts:
            s = self.perceive(prompt, text, town)
            if all(abs(s - other) > self.tie for other, _ in seen):
                seen.append((s, text))
        noisy = [(s + self.noise * _gumbel(chance), text) for s, text in seen]
        return [text for _, text in sorted(noisy, key=lambda pair: -pair[0])]

    def rate(self, prompt: Prompt, text: str, chance: Random, town: Town = TOWN) -> dict[str, float]:
        """1 to 5 on each criterion."""
        utility = gold(prompt, text, town)
        return {c: self.step(getattr(utility, c) + _logistic(chance, self.noise)) for c in CRITERIA}

    def step(self, latent: float) -> float:
        """The rating of a latent value: 1 + how many thresholds it passes."""
        return 1.0 + sum(latent > bar for bar in self.thresholds)

    def thumb(self, prompt: Prompt, text: str, chance: Random, town: Town = TOWN) -> bool:
        """Thumbs up?"""
        return self.perceive(prompt, text, town) + _logistic(chance, self.noise) > self.bar


def _logistic(chance: Random, scale: float) -> float:
    """A draw of the logistic distribution; the draw is made even where the scale is 0, so that streams stay aligned."""
    u = min(max(chance.random(), 1e-12), 1 - 1e-12)
    return scale * math.log(u / (1 - u))


def _gumbel(chance: Random) -> float:
    return -math.log(-math.log(min(max(chance.random(), 1e-12), 1 - 1e-12)))


ADA = Annotator()
"""Without noise or bias."""
POOL: Mapping[str, Annotator] = {
    a.name: a
    for a in (
        ADA,
        Annotator("ben", noise=0.1, thresholds=(0.2, 0.45, 0.75, 0.95), bar=0.75, choice_seconds=15.0),
        Annotator("cleo", noise=0.25, tie=0.08, thresholds=(0.05, 0.25, 0.5, 0.8), bar=0.45, choice_seconds=6.0),
        Annotator("dov", noise=0.1, length=0.2),
        Annotator("eve", noise=0.1, politeness=0.15),
        Annotator("finn", noise=0.1, agreement=0.5),
    )
}
"""ada: true · ben: strict · cleo: hasty and lenient · dov: likes length · eve: likes courtesy · finn: likes to be agreed with."""


def annotators(names: str, noise: float | None = None) -> list[Annotator]:
    """The annotators named in `names` ("ada", "ben+cleo", "pool" for all), with another noise where one is given."""
    chosen = list(POOL) if names == "pool" else names.split("+")
    for name in chosen:
        if name not in POOL:
            raise UserError(f"town has no annotator {name!r}.", f"Choose among {', '.join(POOL)}, joined by +, or pool.")
    return [POOL[n] if noise is None else replace(POOL[n], noise=noise) for n in chosen]


def seconds(annotator: Annotator, kind: str, n: int = 1) -> float:
    """What `n` queries of a kind ("comparisons", "ratings", "labels", "demos") cost, in seconds."""
    each = {
        "comparisons": annotator.choice_seconds,
        "ratings": annotator.rating_seconds,
        "labels": annotator.thumb_seconds,
        "demos": annotator.demo_seconds,
    }
    return each[kind] * n
