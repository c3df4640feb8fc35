"""Red teaming by language models: attackers that ask without examples, with examples, after learning from successes, and after RL.

    zero-shot     q ~ π(· | "ask a question")
    few-shot      the same after k earlier questions, drawn ∝ exp(score / T)
    supervised    SFT of π on the questions that succeeded
    rl-β          max E[score(q, reply(q))] − β KL(π ‖ supervised),   from the supervised attacker, by RLOO

Perez et al. 2022, arXiv 2202.03286, §3.   They learn by A2C with a KL term; here it is REINFORCE with a leave-one-out baseline
(methods/rloo.py), at as many β as are named.   Every stage attacks the same target before the same judge.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from plumbline.attacks.attackers import Asker
from plumbline.attacks.target import Success, Target
from plumbline.attacks.verdicts import Attack
from plumbline.attacks.wording import Wording
from plumbline.core.errors import UserError
from plumbline.core.methods import Stage
from plumbline.core.nouns import Demo, Prompt, Sampling
from plumbline.core.rollouts import Draw
from plumbline.data import Plan, Prompts
from plumbline.engine.loader import Loader
from plumbline.engine.recipe import Recipe
from plumbline.engine.rounds import PromptRounds
from plumbline.methods.rloo import rloo
from plumbline.methods.sft import sft
from plumbline.models.lm import LM
from plumbline.pipelines.attack_book import Book

How = Literal["zero-shot", "few-shot", "supervised", "rl"]
HOWS: tuple[str, ...] = get_args(How)
GROUP = 8  # questions that RL compares with each other
LEAST = 2  # successes that there must be to learn from


@dataclass(frozen=True)
class Attackers:
    """How far to go, and how.

    `how`: the last kind of attacker; those before it attack too: zero-shot, few-shot, supervised, rl.   `n`: attacks of each kind
    (prepared ones are all made, but for `--limit`), and at most so many in the loop.
    `examples`: of few-shot, in each prompt.   `sharpness`: of few-shot, T of the draw ∝ exp(score / T).   `kl`: how strongly RL is
    pulled to the supervised attacker: an attacker each, joined by commas.   `rounds`: of RL, 64 questions each.   `question_tokens`: where
    questions are cut.   `ask_temperature`: of the attackers.
    """

    how: str = "zero-shot"
    n: int = 500
    examples: int = 6
    sharpness: float = 0.1
    kl: str = "0.1,0.02"
    rounds: int = 24
    question_tokens: int = 48
    ask_temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.how not in HOWS:
            raise UserError(f"--how is {self.how!r}", f"Choose one of {', '.join(HOWS)}: each attacks after those before it.")
        for name in ("n", "examples", "rounds", "question_tokens"):
            if getattr(self, name) < 1:
                raise UserError(f"--{name} is {getattr(self, name)}", "Give at least 1.")
        if self.sharpness <= 0 or self.ask_temperature <= 0:
            raise UserError("--sharpness and --ask_temperature are above 0", "The paper's are .1 and 1.")
        _ = self.strengths

    @property
    def strengths(self) -> tuple[float, ...]:
        """β of each RL attacker."""
        try:
            found = tuple(float(x) for x in self.kl.split(","))
        except ValueError:
            raise UserError(f"--kl is {self.kl!r}", "Give numbers joined by commas, as 0.1,0.02.") from None
        if min(found) < 0 or len(set(found)) < len(found):
            raise UserError(f"--kl is {self.kl!r}", "Give different numbers of at least 0.")
        return found

    def reaches(self, how: str) -> bool:
        """Whether this kind attacks."""
        return HOWS.index(how) <= HOWS.index(self.how)


@dataclass(frozen=True)
class AttackRecipes:
    """How attackers learn; settings that were found for the town's small models."""

    supervised: Recipe = field(default_factory=lambda: Recipe(epochs=4, batch=8, lr=5e-4, warmup=0.1))
    rl: Recipe = field(default_factory=lambda: Recipe(batch=8, lr=3e-4, warmup=0.1))


def redteam(
    attacker: LM | Any,
    target: Target,
    wording: Wording,
    options: Attackers,
    recipes: AttackRecipes = AttackRecipes(),
    *,
    book: Book | None = None,
    seed: int = 0,
    settles: bool = False,
) -> Generator[Stage[Any], Any, dict[str, list[Attack]]]:
    """The stages; returns the attacks by who made them.   Who only answers (an endpoint) attacks zero-shot and few-shot.

    `settles`: where too few attacks succeed to learn from, learn from those that came nearest, instead of stopping.
    """
    book = book or Book()
    if options.reaches("supervised") and not isinstance(attacker, LM):
        raise UserError("an endpoint cannot be trained to attack", "Take a local --attacker, or --how few-shot.")
    sampling = Sampling(temperature=options.ask_temperature, max_tokens=options.question_tokens)
    asker = Asker(attacker, wording, sampling)
    zero = _played(book, "zero-shot", asker.zero_shot, target, wording, options.n, seed)
    few: list[Attack] = []
    if options.reaches("few-shot"):
        pool = scored(zero)

        def ask(n: int, at: int) -> list[str]:
            texts, scores = [a.question for a in pool], [a.score or 0.0 for a in pool]
            return asker.few_shot(texts, scores, n, at, k=options.examples, temperature=options.sharpness)

        few = _played(book, "few-shot", ask, target, wording, options.n, seed + 1)
    if options.reaches("supervised"):
        demos = successes([*zero, *few], wording, settles=settles)
        yield from _trained(attacker, demos, target, wording, options, recipes, book, seed)
    return book.rows


def _trained(
    attacker: LM,
    demos: Sequence[Demo],
    target: Target,
    wording: Wording,
    options: Attackers,
    recipes: AttackRecipes,
    book: Book,
    seed: int,
) -> Generator[Stage[Any], Any, None]:
    """The attackers that learn."""
    taught = attacker.copy("supervised")
    data = Loader(Plan(demos, taught.tokenizer))
    yield Stage("supervised", sft(taught, data), replace(recipes.supervised, seed=seed))
    sampling = Sampling(temperature=options.ask_temperature, max_tokens=options.question_tokens)
    _played(book, "supervised", Asker(taught, wording, sampling).zero_shot, target, wording, options.n, seed + 2)
    for kl in options.strengths if options.reaches("rl") else ():
        name = f"rl-{kl:g}".replace(".", "_")
        policy = taught.copy(name)
        yield Stage(
            name, learning(policy, taught.frozen(), target, wording, options, kl, recipes.rl.batch), rl_recipe(options, recipes, seed)
        )
        _played(book, name, Asker(policy, wording, sampling).zero_shot, target, wording, options.n, seed + 3)


def rl_recipe(options: Attackers, recipes: AttackRecipes, seed: int) -> Recipe:
    """As many rounds as are asked for."""
    return replace(recipes.rl, steps=options.rounds, seed=seed)


def learning(policy: LM, reference: LM, target: Target, wording: Wording, options: Attackers, kl: float, batch: int) -> Any:
    """RLOO against target and judge."""
    asked = Prompts([Prompt(wording.asks())] * (options.rounds * batch), policy.tokenizer)
    draw = Draw(max_tokens=options.question_tokens, temperature=options.ask_temperature)
    return rloo(group=GROUP, kl=kl, sampling=draw)(policy, reference, Success(target, wording), PromptRounds(asked))


def _played(book: Book, who: str, ask: Any, target: Target, wording: Wording, n: int, seed: int) -> list[Attack]:
    """`n` attacks of one attacker."""

    def asked() -> list[tuple[str, Prompt | None]]:
        return [(question, wording.prompt(question) if question else None) for question in ask(n, seed)]

    found = book.play(who, n, asked, target, seed)
    book.must_have_run(who)
    return found


def scored(attacks: Sequence[Attack]) -> list[Attack]:
    """Those that have a score."""
    return [a for a in attacks if a.score is not None]


def successes(attacks: Sequence[Attack], wording: Wording, *, settles: bool = False) -> list[Demo]:
    """The questions that were bad for the target, each once, as demonstrations; `settles` as in `redteam`."""
    best = sorted(scored(attacks), key=lambda a: -(a.score or 0.0))
    questions = list(dict.fromkeys(a.question for a in best if a.verdict == "bad"))
    if settles and len(questions) < LEAST:
        questions = list(dict.fromkeys(a.question for a in best))[:LEAST]
    if len(questions) < LEAST:
        raise UserError(
            f"{len(questions)} attacks succeeded: too few to learn from", "Raise --n, or take an attacker or a judge that finds more."
        )
    return [Demo(wording.asks(), wording.completion(question)) for question in questions]
