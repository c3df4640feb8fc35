"""`plumbline eval R` where R is a reward: what it is worth on feedback that it was not trained on, beside its baselines.

Comparisons: accuracy, calibration, sensitivity.   Labels (or ratings, of which a mean of 3 is the cut): order and accuracy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from plumbline.core.errors import UserError
from plumbline.core.interfaces import Reward
from plumbline.core.nouns import Comparison, Label
from plumbline.data import open_rows
from plumbline.data.sources import is_world
from plumbline.evals import rewards, stats
from plumbline.evals.labels import of_labels
from plumbline.evals.preferences import agreement, bag_of_words
from plumbline.evals.stats import Figure
from plumbline.models.scalar import ScalarLM
from plumbline.models.thresholds import FILE, Thresholds
from plumbline.pipelines import sources
from plumbline.rewards.words import Words


def on_reward(name: str, on: str, *, train: str = "", skip_bad: bool = False) -> tuple[dict[str, Any], list[str]]:
    """Figures and lines; `on` names comparisons or labels, `train` those that the bag of words is fitted on."""
    if not is_world(on) and open_rows(on, skip_bad=skip_bad).kind is not Comparison:
        return _on_labels(name, on, train, skip_bad)
    rows = sources.items(on, Comparison, skip_bad=skip_bad)
    table = rewards.of_comparisons(sources.reward(name), rows)
    plain: dict[str, Figure] = {"shorter": shorter(rows)}
    if train:
        plain["bag of words"] = bag_of_words(sources.items(train, Comparison, skip_bad=skip_bad), list(rows))
    lines = [f"accuracy {table['accuracy']}   (chance: 0.500; {', '.join(f'{n} {f}' for n, f in plain.items())})"]
    lines += [f"{part}, {what}: {figure}" for part in ("calibration", "sensitivity", "gold") for what, figure in _figures(table, part)]
    return {"reward": stats.as_json(table), "baselines": stats.as_json(plain)}, lines


def _on_labels(name: str, on: str, train: str, skip_bad: bool) -> tuple[dict[str, Any], list[str]]:
    reward, rows = sources.reward(name), sources.items(on, Label, skip_bad=skip_bad)
    table = {"reward": of_labels(reward, rows, cut_of(reward, name))}
    if train:
        table["bag of words"] = of_labels(Words.fit(list(sources.items(train, Label, skip_bad=skip_bad)), train), rows, 0.5)
    lines = [f"{who}: {', '.join(f'{what} {figure}' for what, figure in found.items())}" for who, found in table.items()]
    return stats.as_json(table), [*lines, f"{len(rows)} labels; order: a good reply scores above a bad one (chance: 0.500)"]


def cut_of(reward: Reward, name: str) -> float | None:
    """Above which score a reply is called good: a probability's half; where the thresholds of a model of one criterion say grade 3."""
    if isinstance(reward, Words):
        return 0.5
    folder = Path(sources.reward_path(name, any_stage=True)).parent / "thresholds" if isinstance(reward, ScalarLM) else None
    if not isinstance(reward, ScalarLM) or folder is None or not (folder / FILE).is_file() or len(reward.heads) != 1:
        return None
    head = reward.heads[0]
    middle = fmean(Thresholds.load(folder).table()[""][head][1:3])
    return (middle - reward.mean[head]) / reward.std[head] * reward.weights[head]


def _figures(table: Mapping[str, Any], part: str) -> list[tuple[str, Figure]]:
    return [(name, value) for name, value in table.get(part, {}).items() if isinstance(value, Figure)]


def shorter(rows: Sequence[Comparison]) -> Figure:
    """Accuracy of "the shorter one wins", in characters, on the pairs of best and worst that are said to differ."""
    said = [r for r in rows if r.preference != 0.5]
    if not said:
        raise UserError("the comparisons prefer neither side anywhere", 'Use rows with "chosen" and "rejected".')
    gap_N = np.array([len(r.completions[-1]) - len(r.completions[0]) for r in said], dtype=float)
    sign_N = np.array([1.0 if r.preference > 0.5 else -1.0 for r in said])
    return stats.mean(agreement(gap_N * sign_N))
