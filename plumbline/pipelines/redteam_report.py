"""What a red team found, per attacker: counts, the rate and the rate without the judge's errors, diversity, the worst replies."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from plumbline.attacks.verdicts import Attack, Count
from plumbline.core.errors import UserError
from plumbline.evals import stats
from plumbline.evals.diversity import Diversity, diversity
from plumbline.evals.misjudged import Confusion, corrected
from plumbline.evals.stats import Figure

WORST = 10
LABELLED = 100  # attacks of each attacker whose gold is looked at to appraise the judge, as people would label a sample
ENOUGH = 30  # labels that appraise a judge; of fewer those of all attackers are taken together
Labels = Mapping[tuple[str, str], bool]


@dataclass(frozen=True)
class Findings:
    """Of one attacker.   `truth`: the rate in truth, over all that were scored, where gold knows it."""

    who: str
    count: Count
    rate: Figure
    judge: Confusion | None
    corrected: Figure | None
    truth: Figure | None
    diversity: Diversity | None
    worst: tuple[Attack, ...]

    def json(self) -> dict[str, Any]:
        """For --json."""
        found: dict[str, Any] = {"hits": self.count.hits, "scored": self.count.scored, "total": self.count.total, "rate": self.rate.json()}
        if self.judge is not None:
            found["judge"] = {"precision": self.judge.precision, "recall": self.judge.recall, "labelled": self.judge.n}
            found["corrected"] = self.corrected.json() if self.corrected else None
        found |= {"truth": self.truth.json()} if self.truth else {}
        if self.diversity:
            d = self.diversity
            found["self_bleu"] = {**d.self_bleu.json(), "n": d.n, "references": d.references}
            found |= {"distinct": d.distinct, "questions": d.texts}
        return {**found, "worst": [a.row() for a in self.worst]}

    def lines(self) -> list[str]:
        """For people."""
        found = [f"{self.who}: {self.count}", f"  rate {_said(self.rate)} of what was scored"]
        if self.judge is not None:
            fixed = _said(self.corrected) if self.corrected else "not known: the labels do not tell the judge from a coin"
            found.append(f"  corrected {fixed}; judge: {self.judge}")
        found += [f"  in truth {_said(self.truth)}, by gold or labels of {self.truth.n}"] if self.truth else []
        found += [f"  {self.diversity}"] if self.diversity else []
        shown = [f"    {a.score:+.2f} {_short(a.question)}  →  {_short(a.reply)}" for a in self.worst if a.verdict == "bad"]
        return [*found, *([f"  the {len(shown)} worst:", *shown] if shown else ["  nothing bad was found"])]


def _said(figure: Figure) -> str:
    return f"{figure.mean:.3f} [{figure.lo:.3f}, {figure.hi:.3f}]"


def findings(rows: Mapping[str, Sequence[Attack]], *, labels: Labels | None = None, is_gold: bool = False) -> list[Findings]:
    """Of each attacker.   `labels`: what people say; without them gold says it of a sample.   `is_gold`: the judge is the truth."""
    pairs = {who: [] if is_gold else labelled(attacks, labels) for who, attacks in rows.items()}
    together = [pair for found in pairs.values() for pair in found]
    return [_findings(who, attacks, pairs[who] if len(pairs[who]) >= ENOUGH else together, is_gold) for who, attacks in rows.items()]


def labelled(attacks: Sequence[Attack], labels: Labels | None) -> list[tuple[bool, bool]]:
    """(the judge says bad, it is bad) of attacks that somebody labelled."""
    seen = [a for a in attacks if a.score is not None]
    if labels is not None:
        return [(a.verdict == "bad", labels[a.question, a.reply]) for a in seen if (a.question, a.reply) in labels]
    known = [a for a in seen if a.truth is not None]
    return [(a.verdict == "bad", bool(a.truth)) for a in known[:: max(1, len(known) // LABELLED)]]


def _findings(who: str, attacks: Sequence[Attack], pairs: Sequence[tuple[bool, bool]], is_gold: bool) -> Findings:
    seen = [a for a in attacks if a.score is not None]
    count, judge = Count.of(attacks), Confusion.of(pairs) if pairs else None
    known = [float(a.truth) for a in seen if a.truth is not None]
    return Findings(
        who,
        count,
        stats.mean([float(a.verdict == "bad") for a in seen]),
        judge,
        corrected(count.hits, count.scored, judge) if judge else None,
        stats.mean(np.array(known)) if known and not is_gold else None,
        diversity([a.question for a in attacks if a.question]),
        worst(seen),
    )


def worst(attacks: Sequence[Attack], n: int = WORST) -> tuple[Attack, ...]:
    """The lowest-judged replies, each question once."""
    first: dict[str, Attack] = {}
    for attack in sorted(attacks, key=lambda a: -(a.score or 0.0)):
        first.setdefault(attack.question, attack)
    return tuple(list(first.values())[:n])


def _short(text: str, most: int = 80) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def read_labels(file: str) -> Labels:
    """Rows of attacks.jsonl to which somebody added "bad": true or false."""
    path = Path(file)
    if not path.is_file():
        raise UserError(f"{file} does not exist", "Check the path (relative to the current folder).")
    found: dict[tuple[str, str], bool] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            question, reply, bad = row["question"], row["reply"], row.get("bad")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            mend = 'Copy rows of attacks.jsonl and add "bad": true or false.'
            raise UserError(f"{file}, row {number} is no labelled attack: {error}", mend) from error
        if not isinstance(bad, bool | None):
            raise UserError(f'{file}, row {number}: "bad" is {bad!r}', "Write true or false; leave it out where nobody has looked.")
        if bad is not None:
            found[question, reply] = bad
    if not found:
        raise UserError(f"{file} labels nothing", 'Add "bad": true or false to some rows of attacks.jsonl.')
    return found


def relabelled(rows: Mapping[str, Sequence[Attack]], labels: Labels | None) -> dict[str, list[Attack]]:
    """The attacks with what people said as the truth, where they said something."""
    given = labels or {}
    return {who: [replace(a, truth=given.get((a.question, a.reply), a.truth)) for a in attacks] for who, attacks in rows.items()}
