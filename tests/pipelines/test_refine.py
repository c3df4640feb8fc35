"""refine: what is kept and what is undone, when it ends, and how replies become labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from plumbline.core.nouns import Comparison, Context, Label, Prompt, Reply, Scores
from plumbline.engine.recipe import Recipe
from plumbline.evals.stats import Figure
from plumbline.feedback import oracles as people
from plumbline.pipelines.refine import Entry, Labelled, Measured, Rules, refine
from plumbline.pipelines.refine_labels import Judged, by_oracle, by_reward, pairs, thumbs

# -- verdicts and stopping


def entry(t: int = 1, *, kept: bool = True, asked: int = 10, kl: float = 0.5) -> Entry:
    zero = Figure(0.0, 0.0, 0.0, 4)
    return Entry(t, 8, 2, asked, zero, None, Figure(kl, kl, kl, 4), kept, "")


@pytest.mark.parametrize(
    ("rules", "mean", "lo", "kl", "kept"),
    [
        (Rules(), 0.01, -0.02, 9.0, True),
        (Rules(), 0.0, -0.02, 9.0, True),  # as good is good enough
        (Rules(), -0.001, -0.02, 0.0, False),
        (Rules(keep_by="lower"), 0.01, -0.02, 0.0, False),
        (Rules(keep_by="lower", least=-0.03), 0.01, -0.02, 0.0, True),
        (Rules(least=0.02), 0.01, 0.0, 0.0, False),
        (Rules(max_kl=1.0), 0.5, 0.4, 1.1, False),  # better, and too far
    ],
)
def test_a_round_is_kept_by_its_gain_and_its_kl(rules: Rules, mean: float, lo: float, kl: float, kept: bool) -> None:
    assert rules.verdict(Figure(mean, lo, mean + 0.05, 9), kl)[0] is kept


def test_it_ends_by_rounds_patience_budget_or_kl() -> None:
    good, bad = entry(), entry(kept=False)
    assert Rules(rounds=2).over([good], 0) == ""
    assert Rules(rounds=2).over([good, good], 0) == "2 rounds were made"
    assert Rules(patience=2).over([good, bad], 0) == ""
    assert Rules(patience=2).over([bad, good, bad], 0) == ""
    assert "2 rounds in a row" in Rules(patience=2, rounds=9).over([good, bad, bad], 0)
    assert Rules(patience=0, rounds=9).over([bad] * 5, 0) == ""
    assert Rules(max_kl=0.4).over([entry(kl=0.5)], 0) == "the KL limit of 0.4 nats was passed"
    # 25 in all: after 20 five are left, of which an evaluation by the oracle may take up to five
    assert Rules(budget=25).over([good, good], 0) == ""
    assert Rules(budget=25).left([good, good], 0) == 5
    assert Rules(budget=25).left([good, good], 4) == 1
    assert Rules(budget=25).over([good, good], 5) == "of 25 annotations 5 are left"


class Weights:
    """A policy of one number."""

    def __init__(self, value: float) -> None:
        self.value = torch.tensor([value])

    def frozen(self, name: str) -> Weights:
        return Weights(float(self.value))

    def state_dict(self) -> dict[str, torch.Tensor]:
        return {"w": self.value}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        self.value = state["w"].clone()


class Script:
    """Work whose gains are stated: every round adds 1 to the policy, and the score of a policy is what the script says."""

    reserve = 0

    def __init__(self, gains: Sequence[float], ties: Sequence[int] = ()) -> None:
        self.gains, self.ties = gains, ties
        self.seen: list[tuple[float, float]] = []
        self.collected: list[float] = []

    def label(self, t: int, policy: Any, most: int) -> Labelled:
        self.collected.append(float(policy.value))
        sure = 0.5 if t in self.ties else 1.0
        return Labelled([Comparison("x", ("a", "b"), sure)] * 3, 3)

    def learn(self, policy: Any, reference: Any, rows: Any) -> Any:
        self.seen.append((float(policy.value), float(reference.value)))
        return iter(())

    def measure(self, t: int, policy: Any, base: Any) -> Measured:
        return Measured(("", ""), np.array([0.0, 0.0]), np.zeros(2))

    def gain(self, t: int, after: Measured, before: Measured) -> tuple[Any, int]:
        return np.array([self.gains[t - 1]] * 2), 2

    def settle(self, entry: Entry) -> Entry:
        return entry


def played(work: Script, rules: Rules) -> tuple[Weights, list[Entry], str]:
    policy: Any = Weights(0.0)
    pipeline = refine(policy, work, rules, Recipe(seed=7))
    try:
        while True:
            stage = next(pipeline)
            assert stage.recipe.seed == 7 + int(stage.name[-1]) - 1
            policy.value = policy.value + 1
    except StopIteration as end:
        return policy, *end.value


def test_what_does_not_help_is_undone_and_the_next_round_begins_at_what_was_kept() -> None:
    work = Script([0.1, -0.1, 0.2, 0.0])
    policy, ledger, why = played(work, Rules(rounds=4))
    assert [e.kept for e in ledger] == [True, False, True, True]
    assert float(policy.value) == 3.0  # four rounds, one undone
    assert work.collected == [0.0, 1.0, 1.0, 2.0]  # round 3 asks the model of round 1 anew
    assert work.seen == [(0.0, 0.0), (1.0, 1.0), (1.0, 1.0), (2.0, 2.0)]  # policy, reference
    assert [e.asked for e in ledger] == [5, 5, 5, 5]  # 3 labels and 2 of the evaluation
    assert why == "4 rounds were made"


def test_the_reference_may_stay_the_model_as_it_began() -> None:
    work = Script([0.1, 0.1])
    played(work, Rules(rounds=2, reference="base"))
    assert work.seen == [(0.0, 0.0), (1.0, 0.0)]


def test_a_round_of_ties_trains_nothing_and_counts_as_one_that_was_not_kept() -> None:
    policy, ledger, why = played(Script([0.1, 0.1, 0.1], ties=(2, 3)), Rules(rounds=3, patience=2))
    assert [(e.rows, e.ties, e.asked, e.kept) for e in ledger] == [(3, 0, 5, True), (0, 3, 3, False), (0, 3, 3, False)]
    assert float(policy.value) == 1.0
    assert why == "3 rounds were made"


# -- labels

ASKED = [Prompt("who?"), Prompt("why?")]


def replies(*texts: str) -> list[Reply]:
    return [Reply(text) for text in texts]


class Alphabet:
    """Prefers what sorts last; what begins alike is a tie.   Counts."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()

    def compare(self, context: Context, completions: Sequence[str]) -> Comparison:
        self.asked[people.question_id(context, completions)] += 1
        worse, better = sorted(completions)
        return Comparison(context, (better, worse), 0.5 if better[0] == worse[0] else 1.0, annotator="abc")


def test_no_reply_is_in_two_questions_and_equal_ones_are_one() -> None:
    drawn = [replies("a", "b", "a", "c", "", "d"), replies("a", "a", " ")]
    found = [(p.context, a.text, b.text) for p, (a, b) in pairs(ASKED, drawn, 99)]
    assert found == [("who?", "a", "b"), ("who?", "c", "d")]
    assert len(pairs(ASKED, drawn, 1)) == 1


def test_an_oracle_labels_pairs_and_thumbs_are_what_they_say() -> None:
    found = by_oracle(Alphabet(), ASKED, [replies("ab", "ac"), [Reply("b"), Reply("c", finish="length")]], 99)
    assert [(r.completions, r.preference, r.complete) for r in found.rows if isinstance(r, Comparison)] == [
        (("ac", "ab"), 0.5, True),
        (("c", "b"), 1.0, False),  # one was cut: its end is not to be learned
    ]
    assert found.asked == 2
    up = thumbs(found)
    assert [(r.context, r.completion, r.desirable) for r in up.rows if isinstance(r, Label)] == [("why?", "c", True), ("why?", "b", False)]
    assert (up.asked, up.ties, found.ties) == (2, 1, 1)


def test_a_reward_labels_the_best_and_the_worst() -> None:
    def length(games: Sequence[Any]) -> Scores:
        return Scores({"r": [float(len(g.turns[-1].reply.text)) for g in games]})

    found = by_reward(length, [*ASKED, Prompt("how?")], [replies("aa", "b", "aaa"), replies("a", "b"), replies("a", "a")], 99)
    rows = [(r.context, r.completions, r.preference) for r in found.rows if isinstance(r, Comparison)]
    assert rows == [("who?", ("aaa", "b"), 1.0), ("why?", ("a", "b"), 0.5)]
    assert found.asked == 2


def test_a_judge_is_asked_about_a_round_at_once_and_once() -> None:
    calls: list[int] = []

    def judge(contexts: Sequence[Context], first: Sequence[str], second: Sequence[str]) -> list[float]:
        calls.append(len(contexts))
        return [0.8 if a < b else 0.2 for a, b in zip(first, second, strict=True)]

    oracle = Judged(judge)
    found = by_oracle(oracle, ASKED, [replies("b", "a"), replies("c", "d")], 99)
    assert [(r.completions, r.preference) for r in found.rows if isinstance(r, Comparison)] == [(("a", "b"), 0.8), (("c", "d"), 0.8)]
    oracle.compare("who?", ("a", "b"))
    assert calls == [2]
