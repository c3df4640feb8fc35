"""What is watched of replies while a reward is optimised: gold where the truth is known, and what a reward may come to like instead.

Each is a component of weight 0: it is logged every round as `score/NAME` beside what is optimised, which is `score/proxy` where it has no
name of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

from plumbline.core.interfaces import Reward
from plumbline.core.nouns import Game, Scores
from plumbline.evals.rewards import courtesies
from plumbline.pipelines.gold import TownGold
from plumbline.rewards.combined import SubjectTo, Weighted, weighted
from plumbline.world.parser import parse

EVASIVE = ("unknown", "evade", "refuse")


@final
@dataclass(frozen=True)
class Watched:
    """`proxy` is what is optimised; the rest is only seen.   `town`: the prompts are town's, so that gold is known."""

    proxy: Weighted | SubjectTo
    town: bool

    def __call__(self, games: Sequence[Game]) -> Scores:
        """The proxy's components, and what is watched with weight 0; every reply is read by gold once."""
        scores, shown = self.proxy(games), seen([game.turns[-1].reply.text for game in games], town=self.town)
        if self.town:
            shown |= TownGold()(games).components
        weights = {**dict.fromkeys(shown, 0.0), **scores.weights}  # a reward's own component keeps its name and its weight
        return Scores({**shown, **scores.components}, weights, scores.draws)

    def fixed(self) -> Watched:
        """The same, nothing in it adapting."""
        return Watched(self.proxy.fixed(), self.town)

    def state_dict(self) -> dict[str, float]:
        """The proxy's multipliers: what a checkpoint keeps."""
        return self.proxy.state_dict()

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Give the proxy its multipliers back."""
        self.proxy.load_state_dict(state)


def watched(reward: Reward, *, town: bool) -> Watched:
    """`reward` as it is, with what is watched beside it."""
    named = isinstance(reward, (Weighted, SubjectTo))
    return Watched(reward if named else weighted({"proxy": (reward, 1.0)}), town)


def seen(texts: Sequence[str], *, town: bool) -> dict[str, Sequence[float]]:
    """What a reward may come to like, of each text."""
    found: dict[str, Sequence[float]] = {
        "words": [float(len(text.split())) for text in texts],
        "repeats": [repeats(text) for text in texts],
        "courtesies": [float(courtesies(text, town=town)) for text in texts],
    }
    if town:
        found["evasions"] = [float(any(act.kind in EVASIVE for act in parse(text))) for text in texts]
    return found


def repeats(text: str) -> float:
    """The share of a text's runs of three words that stood in it before."""
    words = text.lower().split()
    runs = [tuple(words[i : i + 3]) for i in range(len(words) - 2)]
    return 1 - len(set(runs)) / len(runs) if runs else 0.0
