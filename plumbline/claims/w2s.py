"""Weak-to-strong: a large model that learns from a small one's labels is right more often than the small one, and than it was before.

The question is which of two replies follows from a passage; both say the same, with another fact (world/truths.py).   Replies are scored by
their likelihood, so the strong model is good before it learns anything: that its student beats the supervisor does not show that the labels
taught it something, and an experiment with labels of other rows would pass for one.   Hence the second test.
town-s learns the truth of half the rows and labels the other half; town-l learns those labels, plainly (naive), with the confidence loss,
or by way of town-m; and the truth itself, which is the ceiling.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

from plumbline.claims.common import FAMILIES, SHIPPED, Lab, shuffled_labels
from plumbline.core.claims import Control, Found, claim, noninferior, superior
from plumbline.engine.recipe import Recipe
from plumbline.evals.pgr import compared
from plumbline.evals.stats import Figure
from plumbline.models.likely import Likely
from plumbline.models.lm import LM
from plumbline.pipelines.w2s import STUDENTS, Halves, Judged, Learner, Study, labels, learned, right
from plumbline.world.draw import rng
from plumbline.world.truths import truths

ASKED = ("passage",)
ROWS = 120  # of each half
HOW = Study(Recipe(epochs=1, batch=8, lr=1e-4, warmup=0.1), alpha=0.5, reads="likelihood")
mixed_up = Control("labels of other rows", "the students learn weak labels of other rows, in either direction", shuffled_labels.changed)


def gaps(founds: Sequence[Found]) -> Mapping[str, Figure]:
    """The performance gap that each student recovered, where there is a gap."""
    scores = {n: [list(found.figures[f"gold accuracy, {n}"]) for found in founds] for n in ("weak", "ceiling", *STUDENTS)}
    found = {name: one.share for name, one in compared(scores, STUDENTS).items()}
    return {f"performance gap recovered, {name}": share for name, share in found.items() if share}


@claim(
    "w2s",
    says="a strong model that learns a weak one's labels is right more often than the weak one, and than untrained; confidence no worse",
    source="Burns et al. 2023, arXiv 2312.09390, fig. 2 and 3, §4.3",
    test={
        "accuracy: naive student over its weak supervisor": superior(0.0),
        "accuracy: naive student over the strong model untrained": superior(0.0),
        "accuracy: confidence loss over naive": noninferior(0.02),
    },
    seeds=5,
    control=mixed_up,
    control_seeds=1,
    equal="120 questions for the supervisor and 120 for every student and the ceiling, one pass in batches of 8 at one learning rate, α .5",
    also=gaps,
)
def weak_to_strong(lab: Lab) -> Found:
    """In the control the students learn the weak labels of other rows; supervisor and ceiling stay as they are."""
    given = lab.once("w2s given", lambda: prepared(lab))
    arms = {**given.right, **students(lab, given)}
    return Found(
        pairs={
            "accuracy: naive student over its weak supervisor": (arms["naive"], arms["weak"]),
            "accuracy: naive student over the strong model untrained": (arms["naive"], arms["untrained"]),
            "accuracy: confidence loss over naive": (arms["confident"], arms["naive"]),
        },
        figures={
            **{f"gold accuracy, {name}": numbers for name, numbers in arms.items()},
            **{f"supervisor's errors put right, {name}": [put_right(arms["weak"], arms[name])] for name in STUDENTS},
            "weak labels that are right": [given.sure],
        },
    )


@dataclass(frozen=True)
class Prepared:
    """What the students and their control share.   `sure`: how often the weak labels are right; `right`: who was, on the test."""

    rows: Halves
    labels: Mapping[int, float]
    sure: float
    right: Mapping[str, list[float]]


def prepared(lab: Lab) -> Prepared:
    """Supervisor and ceiling learn the truth."""
    n = lab.count(ROWS, 16)
    pairs = truths(2 * n, seed=rng("claims w2s", lab.seed).randrange(1 << 30), families=ASKED)
    rows = Halves(pairs[:n], pairs[n:], truths(lab.count(520, FAMILIES), seed=0, split=lab.split, families=ASKED))
    weak, ceiling = taught(lab, "weak", lab.base, rows.supervisor), taught(lab, "ceiling", model(lab, "l"), rows.student)
    plan = HOW.plan(rows.student, weak)
    known = list(right(weak, plan).values())
    arms = {"weak": weak, "ceiling": ceiling, "untrained": Likely(model(lab, "l"))}
    return Prepared(rows, labels(weak, plan), sum(known) / len(known), {name: judged(arm, rows) for name, arm in arms.items()})


def students(lab: Lab, given: Prepared) -> dict[str, list[float]]:
    """Who was right on the test: the strong student, plainly, with the confidence loss, and by way of the middle one."""
    rows, said = given.rows, given.labels
    if lab.shuffled:
        said = mixed(said, rng("claims w2s mixed up", lab.seed))
    made = {name: taught(lab, name, model(lab, "l"), rows.student, said) for name in ("naive", "confident")}
    middle = taught(lab, "via-1", model(lab, "m"), rows.student, said)
    passed = labels(middle, HOW.plan(rows.student, middle))
    made["bootstrapped"] = taught(lab, "bootstrapped", model(lab, "l"), rows.student, passed)
    return {"middle student": judged(middle, rows), **{name: judged(student, rows) for name, student in made.items()}}


def mixed(said: Mapping[int, float], chance: Random) -> dict[int, float]:
    """Every row with another's label, in either direction: as the true reply stands first in every row, a label must not keep its side."""
    values = [p if chance.random() < 0.5 else 1 - p for p in said.values()]
    chance.shuffle(values)
    return dict(zip(said, values, strict=True))


def taught(lab: Lab, name: str, base: LM, rows: Judged, said: Mapping[int, float] | None = None) -> Learner:
    """A model that has learned labels, or the truth where there are none."""
    how = replace(HOW, recipe=replace(HOW.recipe, seed=lab.seed))
    student, steps = learned(base, rows, said, how, name)
    lab.drive(name, steps, how.recipe)
    return student


def judged(student: Learner, rows: Halves) -> list[float]:
    """1 for every pair of the test of which a model takes the true reply."""
    return list(right(student, HOW.plan(rows.test, student)).values())


def model(lab: Lab, size: str) -> LM:
    """A larger model of the town."""
    return lab.once(f"town-{size}", lambda: LM.load(SHIPPED.parent / size, name=f"town-{size}"))


def put_right(weak: Sequence[float], student: Sequence[float]) -> float:
    """Of the pairs on which the supervisor is wrong, the share on which the student is right."""
    found = [y for x, y in zip(weak, student, strict=True) if x < 0.5]
    return sum(found) / len(found) if found else 0.0
