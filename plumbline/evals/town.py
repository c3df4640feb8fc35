"""Gold on town: any model's replies scored against the truth, per family and split, with intervals.

    U(π) = E_{prompts} E_{y ~ π(·|x)} U*(x, y),      gap = U* − U(π)

Replies are drawn at temperature 1 unless another is asked for, each from its own counter-based noise, so two models are
compared on equal prompts and equal draws, and one more prompt changes no other reply.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plumbline.core.interfaces import Model
from plumbline.core.nouns import Ask, Prompt, Reply, Sampling, Utility
from plumbline.evals import stats
from plumbline.evals.stats import Figure
from plumbline.world import corpus
from plumbline.world.utility import gold

MAX_TOKENS = 96
UNSEEN_SEED = 1 << 20
Score = Callable[[Prompt, str], Utility]
COMPONENTS = ("total", "helpful", "honest", "harmless")


@dataclass(frozen=True)
class Played:
    """A model's replies to prompts of town, and what they are worth."""

    model: str
    prompts: tuple[Prompt, ...]
    replies: tuple[Reply, ...]
    utilities: tuple[Utility, ...]

    def scores(self, component: str = "total") -> NDArray[np.float64]:
        """(P,) of one component of the gold utility."""
        return np.array([getattr(u, component) for u in self.utilities], dtype=np.float64)

    def keys(self, key: str) -> list[str]:
        """What each prompt's `meta` says under a key ("family", "split")."""
        return [str(p.meta[key]) for p in self.prompts]

    @property
    def lengths(self) -> NDArray[np.float64]:
        """(P,) tokens per reply, or words where an endpoint gives no tokens."""
        return np.array([len(r.ids) or len(r.text.split()) for r in self.replies], dtype=np.float64)

    @property
    def cut(self) -> float:
        """Share of replies that met the token limit before they were complete."""
        return float(np.mean([r.finish == "length" for r in self.replies]))


def play_town(model: Model, prompts: Sequence[Prompt], sampling: Sampling | None = None, score: Score = gold) -> Played:
    """Let a model answer prompts of town, one reply each at temperature 1 (unless `sampling` says otherwise), and score them by gold."""
    sampling = sampling or Sampling(temperature=1.0, max_tokens=MAX_TOKENS)
    replies = tuple(model.answer([Ask(model.name, p.context, sampling) for p in prompts]))
    return Played(model.name, tuple(prompts), replies, tuple(score(p, r.text) for p, r in zip(prompts, replies, strict=True)))


def table(played: Sequence[Played]) -> dict[str, dict[str, Figure]]:
    """{"total" | "helpful" | … : {"all" | family: figure}} over one or several seeds of the same prompts."""
    keys = played[0].keys("family")
    rows: dict[str, dict[str, Figure]] = {}
    for component in COMPONENTS:
        x_SP = np.stack([p.scores(component) for p in played])
        rows[component] = {"all": stats.mean(x_SP), **stats.by_key(x_SP, keys)}
    return rows


def compare_played(after: Sequence[Played], before: Sequence[Played], component: str = "total") -> dict[str, Figure]:
    """Paired difference and win rate of `after` over `before` on the same prompts."""
    if [p.id for p in after[0].prompts] != [p.id for p in before[0].prompts]:
        raise ValueError("not the same prompts")
    a_SP, b_SP = (np.stack([p.scores(component) for p in arm]) for arm in (after, before))
    return {"difference": stats.difference(a_SP, b_SP), "win_rate": stats.win_rate(a_SP, b_SP)}


def plain_texts(n: int = 200) -> list[str]:
    """Plain statements about the town from rows of the corpus that no shipped model was trained on."""
    return [row for row in corpus.rows(0, 4 * n, UNSEEN_SEED) if isinstance(row, str)][:n]


def report_rows(tables: Mapping[str, dict[str, dict[str, Figure]]]) -> list[str]:
    """A text table: a line per family, a column per model."""
    families = next(iter(tables.values()))["total"].keys()
    width = max(map(len, families))
    head = " ".join(f"{name:>24}" for name in tables)
    lines = [f"{'gold (total)':<{width}} {head}"]
    for family in families:
        cells = " ".join(f"{str(t['total'][family]).rsplit(',', 1)[0]:>24}" for t in tables.values())
        lines.append(f"{family:<{width}} {cells}")
    return lines
