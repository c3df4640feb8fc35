"""The part of a run's report that is about optimising a reward: did it stop paying, when and why; the frontier; what the reward is worth.

Everything is read from metrics.jsonl, samples.jsonl and reward.json.   How over-optimisation is decided: evals/overoptimisation.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from plumbline.core.nouns import Reply, Utility
from plumbline.evals import overoptimisation as over
from plumbline.evals import report, svg
from plumbline.evals.overoptimisation import Finding
from plumbline.pipelines.rl_verdict import PARTS, WATCHED, Course, Row, advice, nearest, verdict

SHOWN = 6


def sections(rows: Sequence[Row], card: Mapping[str, Any], samples: Sequence[Row]) -> list[tuple[str, str]]:
    """Titles and HTML of what is particular to an online stage."""
    course = Course.of(rows)
    words = [f"<p>{escape(sentence)}</p>" for sentence in verdict(course, card)]
    pieces = [*words, report.note(GLOSSARY), report.beside(frontier(course), over_time(course))]
    if course.found is not None:
        pieces.append(stations(course, course.found))
    pieces.append(report.note(_decided(course)))
    found = [("Was the reward over-optimised?", "\n".join(pieces))]
    if course.found is not None and course.found.verdict != "unseen":
        found.append(("What to do about it", report.note(" ".join(advice(course)))))
    shown = replies(course, samples)
    return [*found, ("The same prompts on the way", shown)] if shown else found


def frontier(course: Course) -> str:
    """The score, and gold where known, against the KL that was spent."""
    if not any("kl" in row for row in course.rows):
        return report.figure(NO_KL, svg.curves({"score": _points(course.rows, "step", "score")}, x="round", y="score"))
    caption = "Reward–KL frontier: what was bought for how many nats of distance from the reference. " + DRAWN
    return report.figure(caption, _against(course, "kl", "KL, nats per sequence"))


def over_time(course: Course) -> str:
    """The score, and gold where known, round by round."""
    caption = "Score against gold over training: they part where over-optimisation begins. " + DRAWN
    return report.figure(caption, _against(course, "step", "round"))


def _against(course: Course, x: str, name: str) -> str:
    scores = _series("score (optimised)", _points(course.rows, x, "score"))
    gold = [(float(row[x]), g) for row, g in course.gold if x in row]
    if not gold or course.is_gold:
        return svg.curves({"score": scores.line}, x=name, y="score")
    marks = {}
    if course.found is not None and course.found.verdict != "unseen":
        place = course.found.peak if x == "step" else getattr(course.moved(x), "before", math.nan)
        marks = {"gold's peak": place} if math.isfinite(place) else {}
    return svg.twin(scores, _series("gold (truth)", gold), x=name, marks=marks)


def _series(name: str, points: Sequence[tuple[float, float]]) -> svg.Series:
    """Points, and their means over neighbours in time."""
    if len(points) < over.LEAST:
        return svg.Series(name, points, points)
    w = over.window_of(len(points))
    xs, ys = (over.smoothed([p[i] for p in points], w).tolist() for i in (0, 1))
    return svg.Series(name, list(zip(xs, ys, strict=True)), points)


def _points(rows: Sequence[Row], x: str, y: str) -> list[tuple[float, float]]:
    return [(float(row[x]), float(row[y])) for row in rows if x in row and y in row]


def stations(course: Course, found: Finding) -> str:
    """The run at its beginning, at gold's peak and at its end."""
    w, rows = found.window, []
    for name, words in {"kl": "KL, nats per sequence", "score": "score", "score/gold": "gold", **PARTS, **WATCHED}.items():
        x = [g for _, g in course.gold] if name == "score/gold" else course.column(name)
        moved = course.moved(name) if name != "score/gold" else found.gold
        if moved is not None:
            rows.append((words, f"{sum(x[:w]) / w:.3f}", f"{moved.before:.3f}", f"{moved.after:.3f}", "yes" if moved.surely else "no"))
    peak, end = (f"{name}, round {nearest(at)}" for name, at in (("gold's peak", found.peak), ("end", found.end)))
    head = ("mean over rounds", "start", peak, end, "moved since peak")
    return report.table(head, rows)


def replies(course: Course, samples: Sequence[Row]) -> str:
    """Prompts that were evaluated more than once, with the reply at the first, the evaluation nearest gold's peak, and the last."""
    times = list(dict.fromkeys((row.get("stage", ""), row["step"]) for row in samples))
    if len(times) < 2:
        return ""
    own = [t for t in times[1:-1] if t[0] == times[-1][0]]
    found = course.found
    middle = min(own, key=lambda t: abs(t[1] - found.peak)) if own and found is not None else None
    chosen = [times[0], *([middle] if middle else []), times[-1]]
    by_prompt: dict[str, dict[tuple[str, int], Row]] = {}
    for row in samples:
        by_prompt.setdefault(row["prompt"], {})[row.get("stage", ""), row["step"]] = row
    blocks = []
    for prompt, at in by_prompt.items():
        told = {f"{stage + ': ' if stage else ''}after {step}": _reply(at[stage, step]) for stage, step in chosen if (stage, step) in at}
        if len(told) > 1 and len(blocks) < SHOWN:
            blocks.append(report.sample(prompt, told))
    return "".join(blocks)


def _reply(row: Row) -> tuple[Reply, Utility | None]:
    worth = row.get("gold")
    return Reply(row["reply"]), Utility(**{**worth, "reasons": tuple(worth["reasons"])}) if worth else None


def _decided(course: Course) -> str:
    if course.found is None:
        return NO_RULE
    return HOW.format(window=course.found.window, chance=course.found.chance)


HOW = (
    "How this is decided. Rounds are averaged over windows of {window}. The peak is the window with the highest gold. Over-optimisation "
    "is said to have begun there if gold ended lower than noise explains (by more than {chance:.3f}, which a gold that stays level would "
    "exceed in one run of twenty, the choice of the peak included; the noise is estimated from the differences of neighbouring rounds), "
    "and if the score rose meanwhile by more than twice its standard error. Of the other figures, those are named that moved by more "
    "than three of their standard errors."
)
GLOSSARY = (
    "score: the reward's own number of a reply, which was optimised. gold: the truth about it, from 0 to 1; it is known in the town only, "
    "and nothing was optimised for it. KL: how far the model has moved from where it stood before this stage, in nats per sequence, "
    "estimated from the round's own samples. round: a batch of prompts, answered and learned from."
)
NO_RULE = (
    "How this is decided: gold must be known in at least eight rounds. On town it is; elsewhere truth has to come from reading replies."
)
NO_KL = "KL is not measured by grpo with --grpo.kl 0 (the reference is not read): the score by rounds instead"
DRAWN = "Dots are single rounds, lines means over neighbours. Each colour has an axis of its own: where the lines cross means nothing."
