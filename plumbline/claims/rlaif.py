"""RLAIF: a feedback model that is right as often as people are serves as well as they do.

The same pairs of replies are labelled twice, each pair rightly with probability .9: by people, who say which is better, and by a scripted
feedback model that is played as any other (protocols/ai_feedback.py): both orders, averaged to a soft label.   It is as sure as it is right
(log-odds ± log 9) and prefers what stands first by .5 in log-odds.   DPO learns from either.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from plumbline.claims.common import Lab, shuffled_labels
from plumbline.claims.dpo import by_dpo
from plumbline.core.claims import Found, claim, noninferior, superior
from plumbline.core.nouns import Ask, Comparison, Prompt, Reply
from plumbline.core.play import Playing
from plumbline.core.protocols import Rules
from plumbline.models.scripted import ScriptedModel
from plumbline.pipelines.cai import comparisons_of
from plumbline.pipelines.play import play_all
from plumbline.pipelines.town_cai import TOWN_PHRASING
from plumbline.protocols.ai_feedback import compared
from plumbline.protocols.constitution import open_constitution
from plumbline.world.annotators import ADA
from plumbline.world.draw import rng

ACCURACY, POSITION = 0.9, 0.5


@claim(
    "rlaif",
    says="a feedback model that is right in 90 % of pairs serves as well as people who are right as often",
    source="Bai et al. 2022, arXiv 2212.08073, §4; Lee et al. 2023, arXiv 2309.00267, table 1",
    test={"gold: AI over people": noninferior(0.02), "gold: AI over SFT": superior(0.01)},
    seeds=3,
    control=shuffled_labels,
    control_seeds=1,
    equal="model, SFT, pairs of replies to 4,000 prompts, the accuracy of the labels, DPO with quickstart's settings",
)
def rlaif(lab: Lab) -> Found:
    """In the control a coin decides the feedback model's labels; the people's stay as they are."""
    pairs = lab.once("rlaif pairs", lambda: [(p, row) for p, row in told_apart(lab, lab.count(4000, 16))])
    people = lab.once("rlaif people", lambda: by_dpo(lab, by_people(lab, pairs))[0])
    labels = by_model(lab, pairs)
    model, _ = by_dpo(lab, lab.labelled(labels))
    first = lab.once("sft point", lambda: lab.measured(lab.start))
    better = {(row.context, row.completions[0]) for _, row in pairs}
    return Found(
        pairs={"gold: AI over people": (model.gold, people.gold), "gold: AI over SFT": (model.gold, first.gold)},
        figures={
            "gold, SFT": first.gold,
            "gold, AI": model.gold,
            "gold, people": people.gold,
            "KL of AI, nats": model.kl,
            "KL of people, nats": people.kl,
            "accuracy, AI": [float((r.context, r.completions[0]) in better) for r in labels],
            "preference, AI": [r.preference for r in labels],
            "pairs": [len(pairs)],
        },
    )


Pairs = Sequence[tuple[Prompt, Comparison]]


def told_apart(lab: Lab, n: int) -> Pairs:
    """A pair of the SFT model's replies to each prompt that gold tells apart, the better one first."""
    found = []
    for prompt, several in lab.replies(n):
        texts = list(dict.fromkeys(r.text for r in several))
        order = ADA.rank(prompt, texts, rng("rlaif order", lab.seed))
        if len(order) > 1:
            found.append((prompt, Comparison(prompt.context, (order[0], order[-1]), annotator="gold")))
    return found


def right(lab: Lab, who: str, prompt: Prompt) -> bool:
    """Whether somebody gets a pair right: independent of who else does."""
    return rng("rlaif", who, lab.seed, prompt.id).random() < ACCURACY


def by_people(lab: Lab, pairs: Pairs) -> list[Comparison]:
    """Who says which is better, and not how surely."""
    return [row if right(lab, "people", p) else replace(row, completions=row.completions[::-1]) for p, row in pairs]


def by_model(lab: Lab, pairs: Pairs) -> list[Comparison]:
    """The scripted feedback model, played in both orders."""
    constitution, by_id = open_constitution("town"), dict(enumerate(pairs))
    items = [Prompt(prompt.context, {**prompt.meta, "pair": i}, f"{i}") for i, (prompt, _) in by_id.items()]

    def one(item: Prompt) -> Playing:
        pair = by_id[item.meta["pair"]][1].completions
        return (yield from compared(item, (pair[0], pair[1]), constitution, TOWN_PHRASING, draw=lab.seed))

    likes = {}
    for prompt, row in pairs:
        gap = math.log(ACCURACY / (1 - ACCURACY)) * (1 if right(lab, "model", prompt) else -1)
        for first, second, z in ((*row.completions, gap), (*row.completions[::-1], -gap)):
            likes[TOWN_PHRASING.compare(prompt.context, first, second, constitution.judges[0]).context] = z + POSITION

    def answer(ask: Ask) -> Reply:
        p = 1 / (1 + math.exp(-likes[ask.context]))
        return Reply(ask.choices[p < 0.5], finish="choice", choice_probs=(p, 1 - p))

    rows = play_all(Rules(one, Prompt, "", ("feedback",)), items, {"feedback": ScriptedModel(answer)}, seed=lab.seed)
    return comparisons_of(items, rows)
