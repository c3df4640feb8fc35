"""Reinforcement learning from human feedback:   base → SFT → reward model → PPO (or GRPO, RLOO).

    π_sft  = SFT(π, demonstrations)
    r      = reward(heads on π_sft, comparisons or ratings)
    π_rl   = PPO(π_sft, reference = π_sft, r, critic that begins as r, prompts, beside them what people showed or preferred)

Ouyang et al. 2022, arXiv 2203.02155; the critic begins as the reward model as there (app. C.4), and there it is pretraining text that
joins the updates.   Each part is left out where what it makes is given: no demonstrations, a reward that is there already.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

from plumbline.core.errors import UserError
from plumbline.core.interfaces import Reward
from plumbline.core.methods import Method, Stage
from plumbline.core.nouns import Comparison, Demo, Prompt, Rating
from plumbline.core.registry import load_method
from plumbline.data import Plan, Prompts
from plumbline.data.endorsed import Endorsed
from plumbline.engine.loader import Loader
from plumbline.methods.ratings import ratings
from plumbline.methods.reward import reward
from plumbline.methods.sft import sft
from plumbline.models.lm import LM
from plumbline.models.scalar import ScalarLM
from plumbline.models.thresholds import Thresholds
from plumbline.pipelines.feed import Feed
from plumbline.pipelines.recipes import Recipes
from plumbline.pipelines.roles import Hands, fill, heads_of, thresholds_of
from plumbline.pipelines.watched import watched
from plumbline.rewards.items import check

FEED, RECIPES = Feed(), Recipes()
Judgements = Sequence[Comparison] | Sequence[Rating]
Collect = Callable[[LM], Judgements]
Appraise = Callable[[Reward, Thresholds | None], None]


def rlhf(
    policy: LM,
    demos: Sequence[Demo],
    feedback: Judgements | Collect,
    prompts: Sequence[Prompt],
    recipes: Recipes = RECIPES,
    *,
    judge: Reward | None = None,
    learner: Method | None = None,
    shows_gold: bool = False,
    feed: Feed = FEED,
    appraise: Appraise | None = None,
) -> Generator[Stage[Any], Any, tuple[LM, Reward]]:
    """The stages; returns the policy and the reward that it was trained on.   `feedback` may be asked of the model after SFT.

    `shows_gold`: the prompts are town's, and gold is logged beside what is optimised, as score/gold with weight 0.   `appraise` is
    called with the reward before anything is optimised against it.   Rows that do not fit, and a reward that does not answer, are said
    before the first stage.
    """
    if judge is None and not callable(feedback) and not feedback:
        raise UserError("rlhf has no feedback and no reward", "Give --comparisons, --ratings or --reward.")
    rows = groups(feed, demos, policy) if demos else None
    asked = feed.plan(prompts, Prompt, policy)
    judged = feedback if callable(feedback) else groups(feed, feedback, policy) if judge is None else None
    if judge is not None:
        check(judge, prompts[:2])
    return _stages(policy, rows, judged, asked, recipes, judge, learner or load_method("ppo"), shows_gold, feed, appraise)


def _stages(
    policy: LM,
    demos: Plan | None,
    feedback: Plan | Collect | None,
    prompts: Plan | Prompts,
    recipes: Recipes,
    judge: Reward | None,
    learner: Method,
    shows_gold: bool,
    feed: Feed,
    appraise: Appraise | None,
) -> Generator[Stage[Any], Any, tuple[LM, Reward]]:
    if demos is not None:
        yield Stage("sft", sft(policy, Loader(demos)), recipes.sft)
    tuned, thresholds, given = policy.frozen("sft"), None, None
    if judge is None:
        given = groups(feed, feedback(tuned), policy) if callable(feedback) else feedback
        assert given is not None
        model, thresholds, steps = rewarding(tuned, given, seed=recipes.reward.seed)
        yield Stage("reward", steps, recipes.reward)
        judge = model.frozen("reward")
    if appraise:
        appraise(judge, thresholds)
    optimised = watched(judge, town=shows_gold)
    roles = fill(learner, Hands(policy, prompts, tuned, optimised, recipes.learn.seed, demos=Endorsed(demos, given)))
    if "value" in roles and isinstance(judge, ScalarLM) and judge.tokenizer is policy.tokenizer:
        roles["value"] = judge.copy("value")
    yield Stage(learner.name, learner(*roles.values()), recipes.learn)
    return policy, judge


def rewarding(base: LM, given: Plan, *, seed: int) -> tuple[ScalarLM, Thresholds | None, Any]:
    """Fresh heads on `base`, and the steps that fit them: Bradley–Terry to comparisons, cumulative logits to ratings with thresholds."""
    model = ScalarLM.on(base, heads_of(given), seed=seed)
    if isinstance(given.rows[0], Rating):
        thresholds = thresholds_of(given, model)
        return model, thresholds, ratings(model, thresholds, Loader(given))
    return model, None, reward(model, Loader(given))


def groups(feed: Feed, feedback: Sequence[Any], policy: LM) -> Plan:
    """Feedback as groups of token ids."""
    given = feed.plan(feedback, type(feedback[0]), policy)
    assert isinstance(given, Plan)
    return given
