"""The town: a closed world with exact ground truth.   No torch here; it can be used alone.

prompts(split, n, seed, families=None)      list[Prompt]; splits: train, validation, heldout, shifted
gold(prompt, text) -> Utility               helpful, honest, harmless, total in [0, 1], with reasons; U* = 1
oracle(prompt, variant=0) -> str            a reply worth U*
mistakes(prompt) -> [(kind, reply)]         plausible bad replies
demos · comparisons · rankings · ratings · labels (n, seed, …)     feedback as core nouns
load("town:comparisons?n=1000&seed=1&noise=0.1")                   the same by a spec; `parse_spec` checks one
corpus.rows(i0, i1, seed) · corpus.dialogues(i0, i1, seed) · corpus.induction_rows(i0, i1, seed)     pre-training
VOCAB · words(text) · join(words)           the language
questions(split, n, seed) -> list[Question] debates: a passage, a question, two sides
turns.judge/rate/critique/revise/quote/argue/split/ask             turn types that protocols use
"""

from plumbline.world.annotators import POOL, Annotator
from plumbline.world.families import FAMILIES
from plumbline.world.knowledge import TOWN, Town, make_town
from plumbline.world.language import join, words
from plumbline.world.sources import comparisons, demos, labels, load, parse_spec, rankings, ratings
from plumbline.world.splits import SPLITS, prompts, questions
from plumbline.world.utility import BEST, gold, mistakes, oracle
from plumbline.world.vocab import VOCAB

__all__ = [
    "BEST", "FAMILIES", "POOL", "SPLITS", "TOWN", "VOCAB", "Annotator", "Town", "comparisons", "demos", "gold", "join", "labels", "load",
    "make_town", "mistakes", "oracle", "parse_spec", "prompts", "questions", "rankings", "ratings", "words",
]  # fmt: skip
