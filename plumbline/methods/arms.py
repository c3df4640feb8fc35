"""Proposals of a round, and asking about them: what `sea` chooses from, and what comes of its choice.

Replies to a prompt with the same text are one arm; a prompt with one arm has no duel.   The preferred stands first in a labelled duel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from plumbline.core.batches import Batch
from plumbline.core.errors import UserError
from plumbline.core.interfaces import Oracle, Sampler, Scorer
from plumbline.core.nouns import Reply, Sampling
from plumbline.core.oracles import Announced, Question, Recorded
from plumbline.core.rollouts import Rollout, Round, rollout_of
from plumbline.models.epistemic import Epistemic


@final
@dataclass(frozen=True)
class Duel:
    """Two replies to the g-th prompt.   `preference`: that the first is better, from ½ on.   `own`: said by the model, not the oracle."""

    g: int
    first: int
    second: int
    preference: float = 1.0
    own: bool = False


@final
@dataclass(frozen=True)
class Arms:
    """Different replies to each prompt that has two at least.   `entropy`: −mean log π of all that was drawn, nats, per prompt."""

    replies: Rollout
    entropy: list[float]

    def reply(self, g: int, k: int) -> Reply:
        """The k-th reply to the g-th prompt."""
        return self.replies.games[sum(self.replies.sizes[:g]) + k].turns[-1].reply

    def gains(self, policy: Scorer, reference: Scorer) -> list[list[float]]:
        """log π/ref of every reply, a list per prompt."""
        self.replies.measure("policy", policy.token_logps)
        self.replies.measure("reference", reference.token_logps)
        spans = self.replies.spans
        rows = iter([sum(a) - sum(b) for a, b in zip(spans["policy"], spans["reference"], strict=True)])
        return [[next(rows) for _ in range(size)] for size in self.replies.sizes]

    def features(self, epistemic: Epistemic) -> list[Tensor]:
        """(K, H) of the replies to each prompt."""
        run, found = self.replies.running, {}
        for part, indices in Batch(self.replies.groups, micro_tokens=run.micro_tokens).cut():
            rows = epistemic.features(part.groups).split([len(g.completions) for g in part.groups])
            found |= dict(zip(indices, rows, strict=True))
        return [found[g] for g in range(len(self.replies.groups))]

    def ask(self, oracle: Oracle, duels: Sequence[Duel]) -> list[Duel]:
        """The duels as the oracle sees them, the preferred first; those that the model has labelled stay as they are."""
        asked = [(d, self.question(d)) for d in duels if not d.own]
        if isinstance(oracle, Announced):
            oracle.announce([question for _, question in asked])
        return [*(d for d in duels if d.own), *(answered(d, question, oracle) for d, question in asked)]

    def question(self, duel: Duel) -> Question:
        """The prompt and the two texts."""
        prompt = self.replies.games[sum(self.replies.sizes[: duel.g])].turns[-1].context
        return prompt, (self.reply(duel.g, duel.first).text, self.reply(duel.g, duel.second).text)

    def pairs(self, policy: Sampler, duels: Sequence[Duel]) -> Rollout:
        """What is learned from: a group for each duel.   Column "second_arm": 1 on the reply that was the second arm."""
        starts = [sum(self.replies.sizes[:g]) for g in range(len(self.replies.sizes))]
        prompts = [self.replies.games[starts[d.g]].item for d in duels]
        replies = [[self.reply(d.g, d.first), self.reply(d.g, d.second)] for d in duels]
        made = rollout_of(policy, prompts, replies, self.replies.running)
        groups = tuple(replace(group, preference=d.preference) for group, d in zip(made.groups, duels, strict=True))
        pairs = replace(made, groups=groups)
        pairs.keep("second_arm", [float(k == 1) for d in duels for k in (d.first, d.second)])
        return pairs


def answered(duel: Duel, question: Question, oracle: Oracle) -> Duel:
    """The duel in the oracle's order."""
    found = oracle.compare(*question)
    if set(found.completions) != set(question[1]) or not 0 <= found.preference <= 1:
        raise UserError("the oracle answered another question than it was asked", "It is to return both completions, the preferred first.")
    turned = (found.completions[0] != question[1][0]) != (found.preference < 0.5)
    first, second = (duel.second, duel.first) if turned else (duel.first, duel.second)
    return replace(duel, first=first, second=second, preference=max(found.preference, 1 - found.preference))


def draw(asked: Round, policy: Sampler, n: int, sampling: Sampling) -> list[list[Reply]]:
    """`n` replies of a policy to each prompt of the round."""
    rollout = asked.sample(policy, n, sampling)
    rows = iter(game.turns[-1].reply for game in rollout.games)
    return [[next(rows) for _ in range(size)] for size in rollout.sizes]


def against(asked: Round, policy: Sampler, reference: Sampler, sampling: Sampling) -> list[list[Reply]]:
    """One reply of the policy and one of the reference, whose noise is another's: at first both are the same model."""
    other = replace(asked, running=replace(asked.running, seed=asked.running.seed ^ 1))
    return [a + b for a, b in zip(draw(asked, policy, 1, sampling), draw(other, reference, 1, sampling), strict=True)]


def recorded(asked: Round, policy: Sampler, oracle: Recorded) -> list[list[Reply]]:
    """What the oracle has for each prompt of the round."""
    texts = [(p.context, oracle.candidates(p.context)) for p in asked.prompts]
    return [[Reply(text, tuple(policy.tokenizer.completion_ids(at, text))) for text in several] for at, several in texts]


def arms_of(asked: Round, policy: Sampler, drawn: Sequence[Sequence[Reply]]) -> Arms:
    """Arms of what was drawn."""
    prompts, several, entropy = [], [], []
    for prompt, replies in zip(asked.prompts, drawn, strict=True):
        different: dict[str, Reply] = {}
        for reply in replies:
            different.setdefault(reply.text, reply)
        if len(different) > 1:
            prompts.append(prompt)
            several.append(list(different.values()))
            entropy.append(-sum(sum(r.logps) for r in replies) / len(replies))
    return Arms(rollout_of(policy, prompts, several, asked.running), entropy)


def features_of(features: Sequence[Tensor], duels: Sequence[Duel]) -> Tensor:
    """(duels, 2, H) of both replies."""
    return torch.stack([features[d.g][[d.first, d.second]] for d in duels])
