"""Sample-efficient alignment: ask people about the duels that teach most, as a contextual duelling bandit.

    propose    y_1 … y_M ~ π(·|x)                                      policy-guided search: the arms are what π would say
    choose     a, b by Thompson sampling over heads r_1 … r_E          `duels.explore`, `duels.best_arm`, or another strategy
    label      the oracle prefers one;                                 mixed preference learning: of at most a share `own` of the duels
               or a head, drawn for the prompt, says best and worst    the model's belief stands for the oracle
    learn      π by a comparison loss on these duels,                  r by Bradley and Terry's on a replay of what the oracle said

Liu et al. 2024, arXiv 2411.01493, alg. 1 and §4.2.   The strategies that it is compared with run in the same loop (methods/duels.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import get_args

from torch import Tensor

from plumbline.core.errors import UserError
from plumbline.core.interfaces import Oracle, Sampler
from plumbline.core.methods import Step, Steps, method
from plumbline.core.nouns import Prompt, Reply
from plumbline.core.oracles import Recorded
from plumbline.core.rollouts import DRAW, Draw, Round, Rounds
from plumbline.methods.arms import Arms, Duel, against, arms_of, draw, features_of, recorded
from plumbline.methods.duels import BY_BELIEF, SPEAKS_FOR_ITSELF, Strategy, apl, believed
from plumbline.methods.learners import FIT, LEARN, Fit, Learn, optimism
from plumbline.models.epistemic import Epistemic


@method(data=Prompt, paper="Liu et al. 2024, arXiv 2411.01493")
def sea(
    policy: Sampler,
    reference: Sampler,
    epistemic: Epistemic,
    oracle: Oracle,
    prompts: Rounds,
    *,
    strategy: Strategy = "best-arm",
    proposals: int = 20,
    own: float = 0.3,
    burn_in: int = 128,
    learn: Learn = LEARN,
    fit: Fit = FIT,
    sampling: Draw = DRAW,
) -> Steps:
    """Align `policy` with few questions: of several replies to a prompt the oracle compares the two that teach most.

    `strategy`: says which two.   `proposals`: replies to a prompt that it chooses from.   `own`: at most this share of a round's duels is
    labelled by the model itself.   `burn_in`: so many labels of the oracle come first.
    """
    if strategy not in get_args(Strategy) or proposals < 2 or not 0 <= own <= 1 or burn_in < 0:
        known = ", ".join(get_args(Strategy))
        raise UserError("sea: a setting is out of range", f"strategy is one of {known}; proposals at least 2, own from 0 to 1.")
    for asked in prompts:
        run, chance = asked.running, Random(f"{asked.running.seed} sea")
        arms = arms_of(asked, policy, proposed(asked, policy, reference, oracle, strategy, proposals, sampling))
        gains = arms.gains(policy, reference) if strategy == "apl" else []
        with run.quiet():
            features = arms.features(epistemic) if strategy in BY_BELIEF else []
            chosen = chosen_by(strategy, arms, gains, features, epistemic, own if epistemic.labels >= burn_in else 0.0, chance)
        duels = run.gather(arms.ask(oracle, chosen) if run.rank == 0 else None)[0]
        labelled = [d for d in duels if not d.own]
        yield Step(None, update=policy, metrics={"labels": len(labelled), "own": len(duels) - len(labelled)})
        pairs = arms.pairs(policy, duels)
        for batch in pairs.batches(passes=learn.passes, minibatches=learn.minibatches) if duels else ():
            yield from learn.steps(policy, reference, batch)
            if strategy == "xpo":
                yield from optimism(policy, batch, learn.xpo)
        if features and labelled:
            epistemic.remember(features_of(features, labelled), [d.preference for d in labelled])
        for _ in range(fit.updates if epistemic.labels and strategy in BY_BELIEF else 0):
            loss, margin_EB = epistemic.loss(epistemic.draw(fit.duels, chance), pull=fit.pull)
            metrics = {"heads_loss": loss, "heads_margin": margin_EB.mean(), "heads_apart": margin_EB.std(0).mean()}
            yield Step(loss if run.rank == 0 else None, update=epistemic, metrics=metrics)
            run.update()


def proposed(
    asked: Round, policy: Sampler, reference: Sampler, oracle: Oracle, strategy: Strategy, n: int, sampling: Draw
) -> list[list[Reply]]:
    """What each strategy chooses from: draws of the policy, unless the oracle has its own or one of the two is the reference's."""
    if isinstance(oracle, Recorded):
        if strategy in ("apl", "xpo"):
            raise UserError(f"sea: {strategy} asks about draws of its own, which a file of comparisons has not", "Take another strategy.")
        return recorded(asked, policy, oracle)
    if strategy == "xpo":
        return against(asked, policy, reference, sampling.plain)
    return draw(asked, policy, 2 if strategy == "passive" else n, sampling.plain)


def chosen_by(
    strategy: Strategy, arms: Arms, gains: list[list[float]], features: Sequence[Tensor], heads: Epistemic, own: float, chance: Random
) -> list[Duel]:
    """The duels of a round; those that the model may label itself are labelled."""
    if strategy == "apl":
        return [Duel(g, *pair) for g, pair in apl(arms.entropy, gains)]
    if strategy not in BY_BELIEF:
        return [Duel(g, 0, 1) for g in range(len(arms.entropy))]
    rewards = [heads(x_KH) for x_KH in features]
    share = own if strategy in SPEAKS_FOR_ITSELF else 0.0
    mine = set(chance.sample(range(len(rewards)), int(share * len(rewards))))
    return [
        Duel(g, *believed(r_EK, chance), own=True) if g in mine else Duel(g, *BY_BELIEF[strategy](r_EK, chance))
        for g, r_EK in enumerate(rewards)
    ]
