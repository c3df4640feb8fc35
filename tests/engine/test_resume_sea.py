"""People are asked once: a run that was killed and begins again, checkpoint or none, gets what they said from its ledger."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tiny_policy import Longer, TinyPolicy, last_digits, prompts

from plumbline.core.nouns import Comparison
from plumbline.core.rollouts import Draw
from plumbline.engine.drive import drive
from plumbline.engine.faults import Faults
from plumbline.engine.progress import Progress
from plumbline.engine.recipe import Recipe
from plumbline.engine.rounds import PromptRounds
from plumbline.engine.runs import RunFolder
from plumbline.feedback.oracles import Ledger, question_id
from plumbline.methods.sea import sea
from plumbline.models.epistemic import Epistemic


class Killed(BaseException):
    """Stands for SIGKILL."""


def die() -> None:
    raise Killed


class Person:
    """Somebody who remembers what they were asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def compare(self, context: Any, completions: Sequence[str]) -> Comparison:
        self.asked.append(question_id(context, completions))
        return Longer().compare(context, completions)


def train(out: Path, faults: Faults, save_every: int) -> tuple[list[str], bytes]:
    """What a person was asked by this process, and the policy that came of it."""
    person, policy, heads = Person(), TinyPolicy(), Epistemic(last_digits, 8, heads=3, hidden=4)
    with RunFolder.open(out, resume=True, faults=faults) as run:
        ledger = Ledger(person, run.path / "asked.jsonl")
        how = {"proposals": 4, "burn_in": 4, "own": 0.5, "sampling": Draw(max_tokens=4)}
        steps = sea(policy, policy.frozen(), heads, ledger, PromptRounds(prompts(12)), **how)
        recipe = Recipe(epochs=1, batch=4, lr=0.02, save_every=save_every)
        with contextlib.suppress(Killed):
            drive(steps, recipe=recipe, run=run, resume=True, progress=Progress(quiet=True), faults=faults)
    return person.asked, policy.bits()


@pytest.mark.parametrize("save_every", [1, 0])
def test_nobody_is_asked_twice(tmp_path: Path, save_every: int):
    whole, bits = train(tmp_path / "whole", Faults(), save_every)
    before, _ = train(tmp_path / "killed", Faults("boundary", 2, act=die), save_every)
    after, resumed = train(tmp_path / "killed", Faults(), save_every)
    assert before
    assert after
    assert before + after == whole
    assert resumed == bits
