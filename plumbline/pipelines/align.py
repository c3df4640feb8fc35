"""Demonstrations, then rankings of the model's own replies, learned from in two ways:   base → SFT → DPO, and base → SFT → reward → PPO.

    π_sft  = SFT(base, demonstrations)
    R      = an annotator's rankings of four replies of π_sft to each prompt
    π_dpo  = DPO(π_sft, reference = π_sft, the best and the worst of each ranking)
    r      = a reward with the likelihood of R            π_ppo = PPO(π_sft, reference = π_sft, r)

Both have the likelihood of the best replies beside their loss, with the same weight per token.   Ouyang et al. 2022 (2203.02155) for the
second road, DPO (2305.18290) in place of its last two steps for the first; best against worst as in Tunstall et al. 2023 (2310.16944),
whose rejected reply is a random one of the rest.   Both roads learn from the same annotations.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

from plumbline.core.methods import Stage
from plumbline.core.nouns import Comparison, Demo, Prompt
from plumbline.data import Plan
from plumbline.engine.loader import Loader
from plumbline.methods.dpo import dpo
from plumbline.methods.sft import sft
from plumbline.models.lm import LM
from plumbline.pipelines import rlhf
from plumbline.pipelines.rankings import extremes
from plumbline.pipelines.recipes import TwoRoads

Collect = Callable[[LM], Sequence[Comparison]]


def align(
    policy: LM, direct: LM, demos: Sequence[Demo], prompts: Sequence[Prompt], collect: Collect, recipes: TwoRoads
) -> Generator[Stage[Any], Any, tuple[LM, LM, LM]]:
    """The stages; returns the models after SFT, DPO and PPO.   `direct`, which goes the way of DPO, begins as `policy` after SFT."""
    yield Stage("sft", sft(policy, batches(demos, policy)), recipes.rlhf.sft)
    tuned = policy.frozen("sft")
    direct.load_state_dict(policy.state_dict())
    ranked = collect(tuned)
    yield Stage("dpo", dpo(direct, tuned, batches(extremes(ranked), policy), beta=recipes.beta, nll=recipes.nll), recipes.dpo)
    yield from rlhf.rlhf(policy, [], ranked, prompts, recipes.rlhf, shows_gold=True)
    return tuned, direct, policy


def batches(rows: Sequence[Any], policy: LM) -> Loader:
    """Feedback as the batches that a method iterates."""
    return Loader(Plan(rows, policy.tokenizer))
