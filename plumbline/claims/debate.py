"""Debate before a judge that knows less: it is right more often than after one advisor's plea, and than alone; stronger debaters help.

Questions of the family `passage` about strangers, of whom only the passage knows; both orders of the sides.   The judge is town-s, the
debaters and the advisor are the larger model l; a stronger debater is the same with the best of four speeches as the judge likes them, a
weaker one is the judge's own size.   The answers to the questions are the gold here: known to the world, to nobody who plays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from plumbline.claims.common import FAMILIES, SHIPPED, Lab
from plumbline.core.claims import Control, Found, claim, superior
from plumbline.core.interfaces import Model
from plumbline.core.nouns import Question
from plumbline.core.protocols import Rules
from plumbline.evals.debate import Judged, judged
from plumbline.models.lm import LM
from plumbline.pipelines.play import play_all
from plumbline.pipelines.town_debate import TOWN_WORDING, stated
from plumbline.protocols.best_of import BestOf, persuades
from plumbline.protocols.consultancy import consultancy
from plumbline.protocols.debate import debate
from plumbline.protocols.direct import direct
from plumbline.world.splits import questions

STRENGTH = 4
DRAW = 7
HOW = {"rounds": 1, "words": 40, "wording": TOWN_WORDING}
other_passages = Control(
    "other passages",
    "debaters and advisor read the passage of another question, so that they know no more than the judge",
    lambda lab: replace(lab, shuffled=True),
)


@claim(
    "debate",
    says="a judge that knows less is right more often after debate than after consultancy, and than alone; stronger debaters help",
    source="Irving et al. 2018, arXiv 1805.00899, §2–3; Khan et al. 2024, arXiv 2402.06782, fig. 1 and 3",
    test={
        "accuracy: debate over consultancy": superior(0.0),
        "accuracy: consultancy over the judge alone": superior(0.0),
        "accuracy: debate, best of 4 over 1": superior(0.0),
        "accuracy: debate, town-l over town-s, best of 1": superior(0.0),
    },
    seeds=3,
    control=other_passages,
    control_seeds=1,
    equal="judge town-s, 130 held-out questions in both orders, one round of 40 words, temperature 1; who speaks is town-l, best of 4 "
    "where it is not said otherwise",
)
def debate_helps(lab: Lab) -> Found:
    """In the control every passage is another question's."""
    asked = questions_of(lab)
    judge = lab.base
    strong = lab.once("town-l", lambda: LM.load(SHIPPED.parent / "l", name="debater"))
    best: Model = BestOf(strong, STRENGTH, persuades(judge))
    arms = {
        "alone": played(direct(wording=TOWN_WORDING), asked, lab, judge=judge),
        "consultancy": played(consultancy(**HOW), asked, lab, judge=judge, advisor=best),
        "debate": played(debate(**HOW), asked, lab, judge=judge, debater=best),
        "debate, best of 1": played(debate(**HOW), asked, lab, judge=judge, debater=strong),
        "debate, town-s, best of 1": played(debate(**HOW), asked, lab, judge=judge, debater=judge),
    }
    # a question that was dropped counts one half, as a judge that says nothing would
    right = {name: [found.right.get(q.id, 0.5) for q in asked] for name, found in arms.items()}
    return Found(
        pairs={
            "accuracy: debate over consultancy": (right["debate"], right["consultancy"]),
            "accuracy: consultancy over the judge alone": (right["consultancy"], right["alone"]),
            "accuracy: debate, best of 4 over 1": (right["debate"], right["debate, best of 1"]),
            "accuracy: debate, town-l over town-s, best of 1": (right["debate, best of 1"], right["debate, town-s, best of 1"]),
        },
        figures={
            **{f"accuracy by gold, {name}": numbers for name, numbers in right.items()},
            **{f"quotations verified, {name}": [found.verified / max(1, found.quotes)] for name, found in arms.items()},
            "questions dropped": [len(found.dropped) for found in arms.values()],
        },
    )


def questions_of(lab: Lab) -> list[Question]:
    """The same questions for every seed, which varies the speeches; other ones than those on which the town's wording was tried."""
    asked = stated(questions(lab.split, lab.count(130, FAMILIES), seed=DRAW))
    if not lab.shuffled:
        return asked
    return [replace(q, passage=other.passage) for q, other in zip(asked, [*asked[1:], asked[0]], strict=True)]


def played(rules: Rules, asked: Sequence[Question], lab: Lab, **models: Model) -> Judged:
    """All games of a protocol, judged."""
    return judged(play_all(rules, asked, models, seed=lab.seed))
