"""The laboratory of one seed: the shipped model after SFT, people who judge its replies, and what the rows do with both.

A seed varies the demonstrations, the prompts that are trained on, the people's noise, new heads, and all sampling.   The held-out prompts
are the same for all seeds, so that seeds and prompts are crossed.   Everything that two arms share is made once (`once`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from plumbline.core.claims import Control
from plumbline.core.errors import UserError
from plumbline.core.interfaces import Reward
from plumbline.core.methods import Method, State, Steps
from plumbline.core.nouns import Comparison, Game, Label, Prompt, Rating, Reply, Sampling, Turn
from plumbline.data import Plan, Prompts
from plumbline.data.endorsed import Endorsed
from plumbline.engine.drive import Evaluate, drive
from plumbline.engine.guard import DivergedError
from plumbline.engine.loader import Loader
from plumbline.engine.progress import Progress
from plumbline.engine.recipe import Recipe
from plumbline.engine.rounds import PromptRounds
from plumbline.evals.logps import sequence_kl
from plumbline.evals.town import MAX_TOKENS, play_town
from plumbline.methods.ratings import ratings
from plumbline.methods.reward import reward
from plumbline.methods.sft import sft
from plumbline.models.lm import LM
from plumbline.models.scalar import ScalarLM
from plumbline.models.thresholds import Thresholds
from plumbline.pipelines.rankings import in_order
from plumbline.pipelines.recipes import Recipes
from plumbline.world import sources as world
from plumbline.world.annotators import ADA, CRITERIA, Annotator
from plumbline.world.draw import rng
from plumbline.world.splits import prompts as town_prompts

T = TypeVar("T")
SHIPPED = Path(__file__).parents[1] / "world" / "models" / "s"
FAMILIES = 13
USUAL = Recipes()
SFT = replace(USUAL.sft, epochs=2, batch=32)  # the start that the rows' settings were found for; it leaves something to prefer
CROWD = (replace(ADA, name="gus", noise=0.1, length=0.2, politeness=0.06),)
"""Somebody whose taste is off: noise .1, .01 of utility for every word and .06 for every courtesy."""


@dataclass(frozen=True)
class Point:
    """A policy on the held-out prompts: gold, KL from the SFT model in nats per sequence, the learned reward, and words per reply.

    `validation`: mean gold on other prompts, by which a best point is chosen without looking at those.
    """

    step: int
    gold: NDArray[np.float64]
    kl: NDArray[np.float64]
    proxy: NDArray[np.float64]
    words: NDArray[np.float64]
    validation: float


@dataclass(frozen=True)
class Lab:
    """`size`: 1 as the rows declare, less for a trial.   `shuffled`: labels say nothing (a control).   `alike`: arms are (a control).

    `split`: what is measured on; a pilot, which finds a row's settings, takes "validation" (and seeds that the board does not).
    """

    seed: int
    base: LM
    size: float = 1.0
    split: str = "heldout"
    shuffled: bool = False
    alike: bool = False
    label: str = ""
    progress: Progress = field(default_factory=lambda: Progress(quiet=True))
    shelf: dict[str, Any] = field(default_factory=dict)

    @staticmethod
    def begin(seed: int, *, size: float = 1.0, split: str = "heldout") -> Lab:
        """With the shipped model s."""
        if not SHIPPED.is_dir():
            raise UserError("the model town-s is not in this installation", "`plumbline world build --size s` makes it.")
        return Lab(seed, LM.load(SHIPPED, name="policy"), size, split)

    def count(self, n: int, least: int = 1) -> int:
        """`n` of something, fewer in a trial."""
        return max(least, round(n * self.size))

    def once(self, key: str, make: Callable[[], T]) -> T:
        """What is made the first time and shared later, by the control too."""
        if key not in self.shelf:
            self.shelf[key] = make()
        return self.shelf[key]

    def drive(self, name: str, steps: Steps, recipe: Recipe, evaluate: Evaluate | None = None) -> float:
        """Carry out a method; the seconds that it took, evaluations included."""
        self.progress.label = f"{self.label}: {name}"
        return drive(steps, recipe=replace(recipe, seed=self.seed), evaluate=evaluate, progress=self.progress).seconds

    # -- the start, and prompts

    @property
    def start(self) -> LM:
        """The model after SFT on 600 demonstrations; copies of it are trained further."""

        def make() -> LM:
            policy = self.base.copy()
            demos = world.demos(self.count(600, 8), seed=self.seed)
            self.drive("sft", sft(policy, Loader(Plan(demos, policy.tokenizer))), SFT)
            return policy

        return self.once("start", make)

    @property
    def reference(self) -> LM:
        """The same, for good."""
        return self.once("reference", lambda: self.start.frozen("reference"))

    def prompts(self, n: int, draw: str = "judged") -> list[Prompt]:
        """Training prompts; more of a draw begin with fewer of it."""
        return town_prompts("train", n, seed=rng("claims", self.seed, draw).randrange(1 << 30))

    # -- people

    def replies(self, n: int, k: int = 4) -> list[tuple[Prompt, list[Reply]]]:
        """`k` replies of the SFT model to each of `n` prompts, complete ones only."""

        def make() -> list[tuple[Prompt, list[Reply]]]:
            asked = self.prompts(n)
            drawn = self.start.sample(asked, k, Sampling(max_tokens=MAX_TOKENS, seed=self.seed))
            return [(p, [r for r in several if r.text and r.finish == "stop"]) for p, several in zip(asked, drawn, strict=True)]

        return self.once(f"replies {n} {k}", make)

    def rankings(self, n: int, people: Sequence[Annotator]) -> list[Comparison]:
        """The replies to each of `n` prompts in a person's order, as far as they can be told apart; prompts without any order left out."""
        prompts, drawn = zip(*self.replies(n), strict=True)
        return in_order(prompts, drawn, people, lambda i: rng("claims ranked", self.seed, i))

    def comparisons(self, n: int, people: Sequence[Annotator], *, ties: bool = False) -> list[Comparison]:
        """Of the replies to each of `n` prompts up to two pairs as a person compares them, no reply in both.

        With `ties` the first replies that differ, without them the first that the person can tell apart.
        """
        found = []
        for i, (prompt, several) in enumerate(self.replies(n)):
            chance, person = rng("claims compared", self.seed, i), people[i % len(people)]
            used: set[str] = set()
            for pair in combinations(dict.fromkeys(r.text for r in several), 2):
                preference = 0.5 if used & set(pair) else person.choose(prompt, pair, chance)
                if not used & set(pair) and (ties or preference != 0.5):
                    better = pair if preference != 0.0 else pair[::-1]
                    found.append(Comparison(prompt.context, better, max(preference, 1 - preference), annotator=person.name))
                    used |= set(pair)
        return found

    def rated(self, n: int, people: Sequence[Annotator], k: int = 4) -> list[Rating]:
        """All replies to `n` prompts, rated."""
        return [
            Rating(prompt.context, text, person.rate(prompt, text, chance), annotator=person.name)
            for prompt, text, person, chance in self.one_by_one("claims rated", n, people, k)
        ]

    def thumbs(self, n: int, people: Sequence[Annotator], k: int = 4) -> list[Label]:
        """All replies to `n` prompts, thumbs up or down, in the order of `rated`."""
        return [
            Label(prompt.context, text, person.thumb(prompt, text, chance), annotator=person.name)
            for prompt, text, person, chance in self.one_by_one("claims thumbs", n, people, k)
        ]

    def one_by_one(self, draw: str, n: int, people: Sequence[Annotator], k: int) -> Iterator[tuple[Prompt, str, Annotator, Random]]:
        """First replies to all of `n` prompts, then second ones, and so on: prompt, reply, who judges it, and that judgement's noise."""
        for j in range(k):
            for i, (prompt, several) in enumerate(self.replies(n, k)):
                if j < len(several):
                    yield prompt, several[j].text, people[i % len(people)], rng(draw, self.seed, i, j)

    def labelled(self, rows: Sequence[T]) -> list[T]:
        """The rows as they are, or, in the control, with labels that say nothing."""
        return shuffled(rows, self.seed) if self.shuffled else list(rows)

    def learned(self, name: str, rows: Sequence[Comparison] | Sequence[Rating]) -> tuple[ScalarLM, float]:
        """A reward from comparisons or ratings on the weights of the SFT model, and the seconds of its training."""
        heads = CRITERIA if isinstance(rows[0], Rating) else ("reward",)
        model, data = ScalarLM.on(self.start, heads, seed=self.seed), Loader(Plan(rows, self.start.tokenizer))
        rated = [row for row in rows if isinstance(row, Rating)]
        steps = ratings(model, Thresholds.of(rated, heads), data) if rated else reward(model, data)
        seconds = self.drive(name, steps, USUAL.reward)
        return model.frozen(name), seconds

    # -- optimising and measuring

    def optimised(
        self,
        name: str,
        judge: Reward,
        learner: Method,
        *,
        rounds: int,
        lr: str = str(USUAL.learn.lr),
        every: int = 0,
        draw: str = "judged",
        preferred: Sequence[Comparison] = (),
    ) -> tuple[list[Point], float]:
        """`learner` (PPO with its settings) for `rounds` of 128 prompts from the SFT model; its points and its seconds.

        Points are measured at the end, and with `every` also before and every so many rounds; where the loss diverges, as the policy
        then stands.   The critic begins as the reward where that is a model.   The prompts are those whose replies were judged, and
        more where these are not enough; another `draw` takes others.   The best replies of `preferred` join PPO's updates, as in `rlhf`.
        """
        rounds, batch, every = self.count(rounds, 2), self.count(USUAL.learn.batch, 4), self.count(every, 1) if every else 0
        policy, points = self.start.copy(), [self.measured(self.start, judge)] if every else []
        value = judge.copy("value") if isinstance(judge, ScalarLM) else ScalarLM.on(self.start, ("value",), seed=self.seed)
        beside = Endorsed(None, Plan(preferred, policy.tokenizer)) if preferred else ()
        asked = PromptRounds(Prompts(self.prompts(rounds * batch, draw), policy.tokenizer), demos=beside)
        recipe = replace(USUAL.learn, steps=rounds, batch=batch, lr=lr, eval_every=every)

        def look() -> dict[str, Any]:
            points.append(self.measured(policy, judge, min(rounds, len(points) * every) if every else rounds))
            return {"gold": points[-1].validation}

        began = time.monotonic()
        try:
            seconds = self.drive(name, learner(policy, self.reference, judge, value, State(), asked), recipe, look)
        except DivergedError as error:  # an arm may be there to show it
            self.progress.note(f"{self.label}: {name} ended early: {error.message}")
            seconds, last = time.monotonic() - began, self.measured(policy, judge, error.step - 1)
            expected = 1 + math.ceil(rounds / every) if every else 1
            points += [last] * (expected - len(points))
        return points, seconds

    def measured(self, policy: LM, judge: Reward | None = None, step: int = 0) -> Point:
        """A policy on the held-out prompts, one reply each at temperature 1, and on validation prompts."""
        sampling = Sampling(max_tokens=MAX_TOKENS, seed=self.seed)
        held_out, others = (
            play_town(policy, town_prompts(split, self.count(n, FAMILIES), seed), sampling)
            for split, n, seed in ((self.split, 520, 0), ("validation", 208, 1))
        )
        kl_P = sequence_kl(held_out.prompts, held_out.replies, self.reference, policy.tokenizer)
        games = [Game((Turn("policy", p.context, r),), item=p) for p, r in zip(held_out.prompts, held_out.replies, strict=True)]
        proxy_P = np.array(judge(games).total if judge else np.zeros(len(games)))
        words_P = np.array([float(len(r.text.split())) for r in held_out.replies])
        return Point(step, held_out.scores(), kl_P, proxy_P, words_P, float(others.scores().mean()))


def peak(points: Sequence[Point]) -> Point:
    """The point that is best on validation prompts."""
    return max(points, key=lambda point: point.validation)


def shuffled(rows: Sequence[T], seed: int) -> list[T]:
    """Comparisons whose order a coin decides, ratings whose scores and thumbs that were given to other replies."""
    chance = rng("claims shuffled", seed)
    scores = [row.scores for row in rows if isinstance(row, Rating)]
    chance.shuffle(scores)
    thumbs = [row.desirable for row in rows if isinstance(row, Label)]
    chance.shuffle(thumbs)
    found: list[Any] = []
    for row in rows:
        if isinstance(row, Comparison):
            found.append(replace(row, completions=row.completions[::-1]) if chance.random() < 0.5 else row)
        elif isinstance(row, Rating):
            found.append(replace(row, scores=scores.pop()))
        elif isinstance(row, Label):
            found.append(replace(row, desirable=thumbs.pop()))
        else:
            raise TypeError(f"the labels of {type(row).__name__} cannot be shuffled")
    return found


shuffled_labels = Control("shuffled labels", "the same feedback with labels that say nothing", lambda lab: replace(lab, shuffled=True))
same_arms = Control("same arms", "both arms have the same settings and differ in their draws alone", lambda lab: replace(lab, alike=True))
