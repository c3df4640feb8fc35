"""DPO reaches the gold of PPO at equal or less KL, from the same rankings.

Both begin at the same SFT model.   DPO learns from the best and the worst of each ranking; PPO from a reward that learned the
same rankings, the best replies beside its rounds.   The seconds of both are beside the result: of PPO the reward's and its rounds'.
"""

from __future__ import annotations

from plumbline.claims.common import Lab, Point, shuffled_labels
from plumbline.core.claims import Found, claim, noninferior
from plumbline.core.nouns import Comparison
from plumbline.data import Plan
from plumbline.engine.loader import Loader
from plumbline.methods import dpo as dpo_file
from plumbline.methods.ppo import ppo
from plumbline.pipelines.rankings import extremes
from plumbline.pipelines.recipes import TwoRoads
from plumbline.world.annotators import annotators


@claim(
    "dpo",
    says="DPO reaches PPO's gold at equal or less KL",
    source="Rafailov et al. 2023, arXiv 2305.18290, §6.1 and fig. 2",
    test={"gold: DPO over PPO": noninferior(0.02), "KL: PPO over DPO": noninferior(0.5)},
    seeds=3,
    control=shuffled_labels,
    control_seeds=1,
    equal="model, SFT, the rankings of three people of replies to 4,000 prompts; plumbline's usual settings, PPO for 32 rounds of 128",
)
def dpo(lab: Lab) -> Found:
    """In the control DPO's labels are shuffled; PPO stays as it is."""
    rows = lab.rankings(lab.count(4000, 16), annotators("ada+ben+cleo"))
    direct, seconds = by_dpo(lab, lab.labelled(rows))
    online, online_seconds = lab.once("ppo", lambda: by_ppo(lab, rows))
    first = lab.once("sft point", lambda: lab.measured(lab.start))
    return Found(
        pairs={"gold: DPO over PPO": (direct.gold, online.gold), "KL: PPO over DPO": (online.kl, direct.kl)},
        figures={
            "gold, SFT": first.gold,
            "gold, DPO": direct.gold,
            "gold, PPO": online.gold,
            "KL of DPO, nats": direct.kl,
            "KL of PPO, nats": online.kl,
            "seconds of DPO": [seconds],
            "seconds of reward and PPO": [online_seconds],
            "rankings": [len(rows)],
        },
    )


def by_dpo(lab: Lab, rows: list[Comparison]) -> tuple[Point, float]:
    """DPO as `quickstart` runs it: the best and the worst of a ranking, β .1, and the likelihood of the best."""
    usual, policy = TwoRoads(), lab.start.copy()
    steps = dpo_file.dpo(policy, lab.reference, Loader(Plan(extremes(rows), policy.tokenizer)), beta=usual.beta, nll=usual.nll)
    seconds = lab.drive("dpo", steps, usual.dpo)
    return lab.measured(policy), seconds


def by_ppo(lab: Lab, rows: list[Comparison]) -> tuple[Point, float]:
    """PPO as `quickstart` runs it: a reward, the default settings, and the likelihood of the best replies beside."""
    judge, learning = lab.learned("reward", rows)
    points, seconds = lab.optimised("ppo", judge, ppo(), rounds=32, preferred=rows)
    return points[-1], learning + seconds
