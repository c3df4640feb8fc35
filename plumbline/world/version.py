"""town-v1: frozen.   A fingerprint of what the town *does* on fixed probes, so that no score is compared across different towns.

It covers the prompts of every split, the oracle's and the bad replies and their utilities with reasons, the annotators' choices and the
corpus; it does not cover how the source is written.   A change of the fingerprint is a new version of the town.
"""

from __future__ import annotations

import hashlib
import json

from plumbline.world import corpus
from plumbline.world.knowledge import TOWN
from plumbline.world.sources import comparisons, demos, labels, rankings, ratings
from plumbline.world.splits import SPLITS, prompts
from plumbline.world.utility import gold, mistakes, oracle, texts_of
from plumbline.world.vocab import VOCAB

NAME = "town-v1"


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _utilities() -> list[object]:
    out: list[object] = []
    for split in SPLITS:
        for p in prompts(split, 52, 11):
            texts = [oracle(p), *(t for _, t in mistakes(p)), "", "i do not know. mira"]
            for text, u in [(t, gold(p, t)) for t in texts]:
                out.append([p.id, text, *(f"{x:.9f}" for x in (u.helpful, u.honest, u.harmless, u.total)), u.reasons])
    return out


def _feedback() -> list[object]:
    choices = [[c.completions, c.preference, c.annotator] for k in (comparisons, rankings) for c in k(39, 5, 0.1, who="pool")]
    scores = [[r.completion, dict(r.scores)] for r in ratings(39, 5, 0.1, who="pool")]
    thumbs = [[x.completion, x.desirable] for x in labels(39, 5, 0.1, who="pool")]
    return [choices, scores, thumbs, [d.completion for d in demos(39, 5, 0.2)]]


def parts() -> dict[str, str]:
    """The fingerprint of each part."""
    asked = [[p.id, texts_of(p.context), dict(p.meta)] for s in SPLITS for p in prompts(s, 104, 7)]
    rows = [texts_of(row) for row in corpus.rows(0, 300, 3)]
    return {
        "knowledge": _digest([[e, a, v] for (e, a), v in sorted(TOWN.facts.items())] + sorted(TOWN.blanks)),
        "splits": _digest(asked),
        "utility": _digest(_utilities()),
        "annotators": _digest(_feedback()),
        "corpus": _digest([rows, corpus.induction_rows(0, 3, 3), VOCAB]),
    }


def fingerprint() -> str:
    """One hash of all parts."""
    return _digest(parts())
