"""What each logged figure should look like, what is a bad sign, and whether a run shows it: a table per method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from plumbline.evals.overoptimisation import moved

Sign = Callable[[Sequence[float]], bool]


@dataclass(frozen=True)
class Reading:
    """`is_`: what the figure is.   `good`, `bad`: how it should and should not look.   `shows`: whether values look bad."""

    is_: str
    good: str = ""
    bad: str = ""
    shows: Sign | None = None

    def words(self, name: str, values: Sequence[float]) -> str:
        """The caption of its picture."""
        healthy = f" Should: {self.good}." if self.good else ""
        seen = " HERE IT IS." if self.shows is not None and len(values) > 3 and self.shows(values) else ""
        return f"{name}: {self.is_}.{healthy}" + (f" Bad sign: {self.bad}.{seen}" if self.bad else "")


def late(values: Sequence[float]) -> float:
    """The mean of the last quarter."""
    return fmean(values[-max(1, len(values) // 4) :])


def early(values: Sequence[float]) -> float:
    """The mean of the first quarter."""
    return fmean(values[: max(1, len(values) // 4)])


def surely(values: Sequence[float]) -> bool:
    """Whether the last quarter differs from the first by more than the noise of neighbouring values explains."""
    return moved(values, 0, max(1, len(values) // 4)).surely


def wanders(values: Sequence[float]) -> bool:
    """Of a ratio: away from 1 in the end, or far from it at any time."""
    return abs(late(values) - 1) > 0.02 or any(abs(x - 1) > 0.1 for x in values)


def doubles(values: Sequence[float]) -> bool:
    """Of a share or a count: from little to much."""
    return surely(values) and late(values) > 2 * early(values) + 0.1


def sinks(values: Sequence[float]) -> bool:
    """Of a share: by a tenth or more."""
    return surely(values) and late(values) < early(values) - 0.1


def grows(values: Sequence[float]) -> bool:
    """Of a length: by half."""
    return surely(values) and late(values) > 1.5 * early(values)


COMMON = {
    "loss": Reading("what training minimises, its mean over each optimiser batch"),
    "grad_norm": Reading(
        "gradient norm before clipping", "settle", "a jump, which precedes trouble", lambda v: max(v) > 20 * median(v) > 0
    ),
    "lr": Reading("learning rate"),
}
SFT = {"nll": Reading("−log p of the demonstrated tokens, nats a token", "fall, then level off")}
DPO = {
    "margin": Reading("β-scaled gap between chosen and rejected", "start at 0 and grow", "growth without accuracy: noise is learned"),
    "accuracy": Reading("share of training comparisons (no ties) that the implicit reward orders as the annotator did", "rise above 0.5"),
    "chosen_reward": Reading("implicit reward of what was chosen", "stay near 0", "a deep fall: add --nll", lambda v: late(v) < -5),
    "rejected_reward": Reading("implicit reward of what was rejected", "fall below chosen_reward"),
}
PAIRS = {
    "margin": Reading("log π of the preferred reply less that of the other, nats (ipo: each over the reference's)", "grow, then level off"),
    "accuracy": Reading("share of training comparisons (no ties) whose margin is above 0", "rise above 0.5", "1.0: it learns by heart"),
}
KTO = {
    "kl": Reading("z, the point from which a reply is felt: KL from the reference over mismatched prompts, nats", "grow slowly from 0"),
    "value": Reading("what the replies are worth as felt from z", "rise"),
    "desirable_gain": Reading(
        "log π/ref of what got a thumb up, nats", "stay above the other", "falling with the other: the rate is too large"
    ),
    "undesirable_gain": Reading("log π/ref of what got a thumb down, nats", "fall below the other"),
    "accuracy": Reading("share of thumbs on whose side of z the gain is", "rise above 0.5", "1.0: it learns by heart"),
}
SEA = {
    "labels": Reading("duels of a round that the oracle labelled", "stay", "falling with own: replies have become the same"),
    "own": Reading("duels of a round that the model labelled itself", "stay at --own of a round, or below"),
    "heads_loss": Reading(
        "the heads' Bradley–Terry loss on the replay, with the pull", "fall", "above 0.69 to the end: their rate is too small",
        lambda v: late(v) > 0.69,
    ),
    "heads_margin": Reading("the heads' mean margin for the reply that was preferred", "grow from 0"),
    "heads_apart": Reading("spread of the heads' margins", "stay above 0", "0: nothing is left to explore", lambda v: late(v) < 1e-3),
    **DPO,
}  # fmt: skip
WEAK_TO_STRONG = {
    "agrees": Reading(
        "share of rows on whose weak label's side the student is", "rise above 0.5, stay below 1", "1.0: mistakes are learned too"
    ),
    "sure": Reading("mean probability of the side that it takes", "rise", "1.0 at once: lower --alpha", lambda v: early(v) > 0.98),
    "hardened": Reading("share of rows hardened to 1", "stay about 0.5 (of thumbs: the share of the class)"),
    "alpha": Reading("α, the weight of its own predictions", "rise to --alpha"),
}
REWARD = {
    "nll": Reading("−log p of the annotators' choices, nats", "fall from about log 2 = 0.693", "above 0.693: surer than it is right"),
    "accuracy": Reading("share of the batch's comparisons (no ties) that it orders alike", "rise above 0.5", "1.0: it learns by heart"),
    "margin": Reading("score of the better reply less the worse", "grow from 0"),
    "reward": Reading("mean raw score", "stay near 0, where --centre holds it"),
}
RATINGS = {
    "nll": Reading("−log p of the grades, nats, summed over criteria", "fall"),
    "exact": Reading("how often the likeliest grade for that annotator is the one given", "rise"),
    "within_one": Reading("how often it is at most one off", "rise"),
}
ONLINE = {
    "score": Reading(
        "what is optimised: the reward's own number of each reply",
        "rise, then level off",
        "rising on and on while gold, or what you read, falls",
    ),
    "reward": Reading(
        "score less a missing end and, if placed there, the KL",
        "rise with the score",
        "falling while the score rises: the KL weighs too much",
        lambda v: len(v) > 7 and late(v) < early(v),
    ),
    "kl": Reading(
        "Σ log π/ref of the samples, nats per sequence: distance from the model as it stood before",
        "grow slowly from 0",
        "dozens of nats: lower the learning rate or hold closer",
        lambda v: max(v) > 24,
    ),
    "entropy": Reading(
        "mean −log π of the sampled tokens, nats", "fall gently", "near 0: every prompt gets one answer", lambda v: late(v) < 0.1 * early(v)
    ),
    "ratio": Reading(
        "mean π/π_sampled of a token during the updates",
        "stay at 1.00 ± 0.02",
        "away from 1",
        wanders,
    ),
    "clip_fraction": Reading(
        "share of tokens whose gradient the clip removed",
        "stay below about 0.2",
        "above: steps too large or passes too many",
        lambda v: late(v) > 0.2,
    ),
    "length": Reading("tokens per reply", "stay steady", "climbing with the score: the reward likes length", grows),
    "complete": Reading(
        "share of replies that ended by themselves",
        "stay high",
        "falling: raise sampling.max_tokens or missing_end",
        sinks,
    ),
}
PPO = {
    "kl_k3": Reading(
        "another estimate of the KL: never below 0, less noise", "be about as kl", "far above kl: few tokens on which they differ wildly"
    ),
    "explained_variance": Reading(
        "share of the returns' variance that the critic foresaw",
        "climb from 0 or below towards 1",
        "0 or below to the end: the critic learns nothing, raise its rate",
        lambda v: late(v) <= 0,
    ),
    "kl_coef": Reading("β, the weight of the KL", "stay, or follow --kl.target", "growing all the time: the target is not reached"),
    "ptx_nll": Reading("loss per token on what people showed or preferred, which joins the updates", "fall or stay", "it grows", grows),
    "policy_loss": Reading("the clipped surrogate", "hover about 0: it says little"),
    "value_loss": Reading(
        "squared error of the critic", "fall", "growing on: the critic is left behind", lambda v: len(v) > 7 and late(v) > 2 * early(v)
    ),
}
WATCHED = {
    "proxy": Reading("what is optimised, before anything is added"),
    "gold": Reading("the truth, 0 to 1; nothing is optimised for it", "rise with the score", "falling while the score rises", sinks),
    "helpful": Reading("part of gold"),
    "honest": Reading("part of gold", "stay near 1", "falling: the reward pays for lies", sinks),
    "harmless": Reading("part of gold", "stay near 1", "falling: the reward pays for harm", sinks),
    "words": Reading("words per reply", "stay steady", "climbing with the score", grows),
    "repeats": Reading("share of a reply's runs of three words that it had before", "stay near 0", "climbing", lambda v: late(v) > 0.1),
    "courtesies": Reading("courtesies per reply", "stay steady", "climbing with the score", doubles),
    "evasions": Reading(
        "share of replies that do not know, evade or refuse",
        "stay, or follow what is right",
        "climbing: saying nothing pays",
        doubles,
    ),
}
BY_METHOD = {
    "sft": SFT,
    "dpo": DPO,
    "ipo": PAIRS,
    "slic": PAIRS,
    "kto": KTO,
    "sea": SEA,
    "weak_to_strong": WEAK_TO_STRONG,
    "reward": RATINGS | REWARD,
    "ratings": RATINGS,
    "ppo": ONLINE | PPO,
    "grpo": ONLINE,
    "rloo": ONLINE,
}


def of(method: str, name: str) -> Reading | None:
    """What is known of a figure of a method; of `grad_norm/policy` what is known of `grad_norm`."""
    known = COMMON | BY_METHOD.get(method, {})
    first, _, rest = name.partition("/")
    return WATCHED.get(rest) if first == "score" and rest else known.get(name) or known.get(first)
