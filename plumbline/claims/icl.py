"""A prompt reaches part of what SFT gains from the same demonstrations, and no weight changes.

The examples are chosen and ordered by gold of the bare model's replies to validation prompts; all arms are measured on held-out ones.
Two declarations of this row were broken by their controls: examples with one another's replies reached as much (compare Min et al. 2022),
and so did examples whose words stand in no order.   So a prompt of the same words in no order is an arm now, and the second test asks
whether what the examples say adds to that; in the control it cannot, as both arms have words in no order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from plumbline.claims.common import FAMILIES, Lab
from plumbline.core.claims import Control, Found, claim, superior
from plumbline.core.nouns import Demo, Message, Sampling, plain, words_of
from plumbline.data.promptfile import PromptFile
from plumbline.evals.town import MAX_TOKENS, Played, play_town
from plumbline.models.prompted import Prompted
from plumbline.pipelines.gold import TownGold
from plumbline.pipelines.icl import Chosen, Replies, choose
from plumbline.pipelines.icl_search import Plan
from plumbline.world import sources as world
from plumbline.world.draw import rng
from plumbline.world.language import join, words
from plumbline.world.splits import prompts as town_prompts

SHARE = 1 / 3
SIZES = (1, 2, 4, 8)
LONGEST = 32  # words of an example, so that eight of them leave room for the longest question and its reply
no_words = Control("no order twice", "the words of the examples are in a random order, in both arms", lambda lab: replace(lab, alike=True))


@claim(
    "icl",
    says="up to 8 chosen examples in the prompt reach a third of SFT's gain on the same data, and more than their words in no order",
    source="Lin et al. 2023 (URIAL), arXiv 2312.01552, §4; Lu et al. 2022, arXiv 2104.08786; Min et al. 2022, arXiv 2202.12837, fig. 3",
    test={
        "gold: a prompt over a third of SFT's gain": superior(0.0),
        "gold: examples over the same words in no order": superior(0.0),
    },
    seeds=3,
    control=no_words,
    control_seeds=1,
    equal="model, 600 demonstrations, held-out prompts, one reply each at temperature 1",
)
def icl(lab: Lab) -> Found:
    """In the control no example of either arm is a sentence; SFT stays as it is."""
    given = [d for d in world.demos(lab.count(600, 24), seed=lab.seed) if size(d) <= LONGEST]
    demos = in_no_order(given, lab.seed + 1000) if lab.alike else given
    chosen, mixed = search(lab, demos), search(lab, in_no_order(given, lab.seed))
    bare = lab.once("bare", lambda: played(lab, PromptFile()).scores())
    trained = lab.once("sft point", lambda: lab.measured(lab.start)).gold
    prompted, by_words = (played(lab, found.prompt).scores() for found in (chosen, mixed))
    curve = {k: seen.order for k, seen in chosen.searched.by_size.items() if k in SIZES}
    by_size = {k: played(lab, PromptFile((), tuple(demos[i] for i in order))).scores() for k, order in curve.items()}
    drawn = {k: rng("claims icl", lab.seed, k).sample(demos, k) for k in curve}
    random = {k: played(lab, PromptFile((), tuple(shown))).scores() for k, shown in drawn.items()}
    return Found(
        pairs={
            "gold: a prompt over a third of SFT's gain": (prompted, bare + SHARE * (trained - bare)),
            "gold: examples over the same words in no order": (prompted, by_words),
        },
        figures={
            "gold, bare": bare,
            "gold, SFT": trained,
            "gold, prompt": prompted,
            "gold, words in no order": by_words,
            **{f"gold, {k} chosen": x for k, x in by_size.items()},
            **{f"gold, {k} random": x for k, x in random.items()},
            "examples": [len(chosen.prompt.examples)],
            "share of SFT's gain": [share(prompted, bare, trained)],
            "share of it by words in no order": [share(by_words, bare, trained)],
        },
    )


def search(lab: Lab, demos: Sequence[Demo]) -> Chosen:
    """By gold on validation prompts."""
    prompts = town_prompts("validation", lab.count(104, FAMILIES), rng("claims icl prompts", lab.seed).randrange(1 << 30))
    judged = Replies(lab.base, prompts, TownGold(), Sampling(max_tokens=MAX_TOKENS, seed=lab.seed))
    plan = Plan(0, lab.count(8, 1), tries=lab.count(16, 2), orders=lab.count(24, 1), seed=lab.seed)
    return choose(demos, judged, plan, progress=lab.progress)


def played(lab: Lab, prompt: PromptFile) -> Played:
    """The bare model after a prompt, on the board's prompts."""
    sampling = Sampling(max_tokens=MAX_TOKENS, seed=lab.seed)
    return play_town(Prompted(lab.base, prompt), town_prompts(lab.split, lab.count(520, FAMILIES), 0), sampling)


def share(prompted: np.ndarray, bare: np.ndarray, trained: np.ndarray) -> float:
    """Of SFT's gain over the bare model, what the prompt gains; 0 where SFT gains nothing."""
    gain = float(trained.mean() - bare.mean())
    return float(prompted.mean() - bare.mean()) / gain if gain > 0 else 0.0


def size(demo: Demo) -> int:
    """Words and marks of a question (and of who asks) and its reply."""
    return len(words(plain(demo.context))) + len(words(demo.completion))


def in_no_order(demos: Sequence[Demo], seed: int) -> list[Demo]:
    """The words and marks of each question and reply shuffled within it."""
    chance = rng("claims icl in no order", seed)

    def mixed(text: str) -> str:
        items = words(text)
        return join(chance.sample(items, len(items)))

    def chat(demo: Demo) -> tuple[Message, ...]:
        return tuple(Message(m.role, mixed(words_of(m.content))) for m in demo.context if isinstance(m, Message))

    return [replace(d, context=chat(d), completion=mixed(d.completion)) for d in demos]
