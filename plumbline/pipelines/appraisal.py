"""What the reward of an rlhf run is worth on feedback that it was not trained on, in reward.json of the run folder.

Held out is what `--eval_feedback` names; else, of town's feedback (and for a reward that was given, on town's prompts) the validation
split; else, of a file, a tenth: the rows whose prompt's checksum ends in 0 of ten, so that no prompt is on both sides.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from plumbline.core.errors import UserError
from plumbline.core.interfaces import Reward
from plumbline.core.nouns import Comparison, Rating, plain
from plumbline.data.sources import is_world
from plumbline.engine.checkpoints import write_atomically
from plumbline.evals import rewards, stats
from plumbline.models.scalar import ScalarLM
from plumbline.models.thresholds import Thresholds
from plumbline.pipelines import sources
from plumbline.rewards.items import fixed
from plumbline.world import sources as world

FILE = "reward.json"
MOST = 256  # rows of town
FEW = 100  # rows of a file of which a tenth says nothing: all are trained on


@dataclass(frozen=True)
class Held:
    """Feedback that is not trained on, and in words what it is.   `comparisons`: for what only pairs can show."""

    rows: Sequence[Comparison] | Sequence[Rating]
    comparisons: Sequence[Comparison]
    words: str


NOTHING = Held((), (), "")


def split(spec: str, feedback: Sequence[Any], kind: type, named: str, prompts: str) -> tuple[Sequence[Any], Held]:
    """The feedback that is trained on, and what is held out.   `named`: --eval_feedback.   `prompts`: the spec of the prompts."""
    if named:
        rows = sources.items(named, kind)
        return feedback, Held(rows, _pairs(rows, prompts), f"{len(rows)} rows of {named}")
    if is_world(spec) or (not spec and is_world(prompts)):
        rows = _validation(spec or "town:comparisons")
        return feedback, Held(rows, _pairs(rows, prompts), f"{len(rows)} rows of town's validation split")
    out = {i for i, row in enumerate(feedback) if zlib.crc32(plain(row.context).encode()) % 10 == 0}
    if len(feedback) < FEW or not out:
        return feedback, NOTHING
    rows = [feedback[i] for i in sorted(out)]
    kept = [feedback[i] for i in range(len(feedback)) if i not in out]
    return kept, Held(rows, _pairs(rows, prompts), f"{len(rows)} of {len(feedback)} rows of {spec}, by their prompts; none was trained on")


def _validation(spec: str) -> list[Any]:
    """The same feedback, of the validation split."""
    parsed = world.parse_spec(spec)
    count = parsed.settings["n"]
    settings = {**parsed.settings, "n": min(count, MOST) if isinstance(count, int) else MOST, "split": "validation"}
    return list(replace(parsed, settings=settings).load())


def _pairs(rows: Sequence[Any], prompts: str) -> Sequence[Comparison]:
    """Comparisons among the rows; beside ratings, town's own where the prompts are town's."""
    if rows and isinstance(rows[0], Comparison):
        return rows
    return _validation(f"town:comparisons?ties=false&n={MOST}") if is_world(prompts) else ()


def write(reward: Reward, thresholds: Thresholds | None, held: Held, folder: Path) -> None:
    """Measure the reward and write reward.json; nothing where nothing was held out."""
    if not held.rows:
        return
    found: dict[str, Any] = {"held_out": held.words}
    if held.comparisons:
        found["pairs"] = len(held.comparisons)
        found["spread"] = float(rewards.judge(fixed(reward), held.comparisons).flat.std())
        found["comparisons"] = stats.as_json(rewards.of_comparisons(fixed(reward), held.comparisons))
    if thresholds is not None and isinstance(reward, ScalarLM):
        ratings = [row for row in held.rows if isinstance(row, Rating)]
        found["ratings"] = stats.as_json(rewards.of_ratings(reward, thresholds, ratings))
    write_atomically(folder / FILE, json.dumps(found, indent=1, allow_nan=False).encode())


def read(folder: Path) -> dict[str, Any]:
    """What `write` wrote, or nothing."""
    file = folder / FILE
    try:
        return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    except ValueError as error:
        raise UserError(f"{file} cannot be read: {error}", "Remove it: the report is then written without it.") from error
