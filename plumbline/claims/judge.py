"""From what the seeds found to a verdict: means, paired differences and their intervals over seeds and prompts (evals/stats.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from plumbline.core.claims import Bar, Claim, Found, Numbers, Verdict, together
from plumbline.evals import stats
from plumbline.evals.stats import Figure


@dataclass(frozen=True)
class Judged:
    """The differences by test, each with its verdict, and that of the whole."""

    differences: Mapping[str, Figure]
    verdicts: Mapping[str, Verdict]

    @property
    def verdict(self) -> Verdict:
        """Of all tests together."""
        return together(self.verdicts.values())


def judged(tests: Mapping[str, Bar], founds: Sequence[Found]) -> Judged:
    """Every test on the pairs of all seeds; the seeds answer the same prompts, in the same order."""
    odd = sorted(set(tests) ^ set(founds[0].pairs))
    if odd:
        raise ValueError(f"{odd[0]!r} is declared as a test or found as a pair, but not both")
    arms = {
        name: (_stacked(name, [f.pairs[name][0] for f in founds]), _stacked(name, [f.pairs[name][1] for f in founds])) for name in tests
    }
    differences = {name: stats.difference(after, before) for name, (after, before) in arms.items()}
    return Judged(differences, {name: bar.verdict(differences[name].lo, differences[name].hi) for name, bar in tests.items()})


def whole(experiment: Verdict, control: Verdict) -> Verdict:
    """Of a row: a control that holds breaks it, whatever the experiment said."""
    return "broken" if control == "holds" else experiment


def figures(claim: Claim, founds: Sequence[Found]) -> dict[str, Figure]:
    """The tests' differences, the means of everything else that was found, and what the row adds."""
    means = {name: stats.mean(_together([f.figures[name] for f in founds])) for name in founds[0].figures}
    return {**judged(claim.tests, founds).differences, **means, **(claim.also(founds) if claim.also else {})}


def row(claim: Claim, founds: Sequence[Found], controls: Sequence[Found]) -> dict[str, Any]:
    """What is recorded of a finished row."""
    experiment, control = judged(claim.tests, founds), judged(claim.tests, controls)
    return {
        "figures": stats.as_json(figures(claim, founds)),
        "tests": {name: {"test": str(bar), "verdict": experiment.verdicts[name]} for name, bar in claim.tests.items()},
        "control": {
            "name": claim.control.name,
            "says": claim.control.says,
            "figures": stats.as_json(control.differences),
            "verdict": control.verdict,
            "seeds": len(controls),
        },
        "verdict": whole(experiment.verdict, control.verdict),
    }


def _together(rows: Sequence[Numbers]) -> np.ndarray:
    """A row of numbers per seed; where seeds gave unequally many (labels of their own, not prompts), the mean of each."""
    if len({len(row) for row in rows}) != 1:
        rows = [[float(np.mean(list(row)))] for row in rows]
    return np.array([list(row) for row in rows], dtype=np.float64)


def _stacked(name: str, rows: Sequence[Numbers]) -> np.ndarray:
    if len({len(row) for row in rows}) != 1:
        raise ValueError(f"{name}: the seeds gave {sorted({len(row) for row in rows})} numbers, not equally many")
    return np.array([list(row) for row in rows], dtype=np.float64)
