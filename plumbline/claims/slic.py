"""SLiC-HF reaches the gold of PPO, from the same rankings.

Both begin at the same SFT model.   SLiC learns from the best and the worst of each ranking; PPO is that of the row `dpo`.
"""

from __future__ import annotations

from plumbline.claims.common import Lab, Point, shuffled_labels
from plumbline.claims.dpo import by_ppo
from plumbline.core.claims import Found, claim, noninferior
from plumbline.core.nouns import Comparison
from plumbline.data import Plan
from plumbline.engine.loader import Loader
from plumbline.methods import slic as slic_file
from plumbline.pipelines.rankings import extremes
from plumbline.pipelines.recipes import TwoRoads
from plumbline.world.annotators import annotators


@claim(
    "slic",
    says="SLiC-HF reaches the gold of PPO",
    source="Zhao et al. 2023, arXiv 2305.10425, §3.3 and tab. 2",
    test={"gold: SLiC over PPO": noninferior(0.02)},
    seeds=3,
    control=shuffled_labels,
    control_seeds=1,
    equal="model, SFT, the rankings of three people of replies to 4,000 prompts; one pass of SLiC, PPO for 32 rounds of 128",
)
def slic(lab: Lab) -> Found:
    """In the control SLiC's labels are shuffled; PPO stays as it is."""
    rows = lab.rankings(lab.count(4000, 16), annotators("ada+ben+cleo"))
    direct, seconds = by_slic(lab, lab.labelled(rows))
    online, online_seconds = lab.once("ppo", lambda: by_ppo(lab, rows))
    first = lab.once("sft point", lambda: lab.measured(lab.start))
    return Found(
        pairs={"gold: SLiC over PPO": (direct.gold, online.gold)},
        figures={
            "gold, SFT": first.gold,
            "gold, SLiC": direct.gold,
            "gold, PPO": online.gold,
            "KL of SLiC, nats": direct.kl,
            "KL of PPO, nats": online.kl,
            "seconds of SLiC": [seconds],
            "seconds of reward and PPO": [online_seconds],
            "rankings": [len(rows)],
        },
    )


def by_slic(lab: Lab, rows: list[Comparison]) -> tuple[Point, float]:
    """SLiC at DPO's recipe, with the weight of the likelihood that was best on validation prompts."""
    policy = lab.start.copy()
    steps = slic_file.slic(policy, Loader(Plan(extremes(rows), policy.tokenizer)), nll=1.0)
    seconds = lab.drive("slic", steps, TwoRoads().dpo)
    return lab.measured(policy), seconds
