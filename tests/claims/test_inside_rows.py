"""The row of induction heads, on a trial's budget: heads are found on other rows than those that they are silenced on, and count."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from plumbline.claims import board, induction, judge
from plumbline.claims.reached import PACKAGE
from plumbline.core.claims import Claim
from plumbline.interp.heads import copying

pytestmark = pytest.mark.skipif(
    not all((PACKAGE / "world" / "models" / name / "model.safetensors").is_file() for name in induction.SHIPPED),
    reason="the shipped models are not in this checkout: `plumbline world build` makes them",
)


@dataclass(frozen=True)
class Trial:
    """What the row needs of a laboratory."""

    seed: int
    alike: bool = False

    def count(self, n: int, least: int = 1) -> int:
        """A trial's."""
        return least


def row_of(name: str) -> Claim:
    """As the board finds it."""
    return board.load_claim(board.chosen(name)[0])


def test_induction_holds_and_its_control_does_not(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(induction, "SHIPPED", ("s",))
    made, lab = row_of("induction"), Trial(1)
    found, control = made.run(lab), made.control(made.run, lab)
    name = "accuracy of copying, town-s: whole over without its induction heads"
    verdicts = [judge.judged({name: made.tests[name]}, [type(f)({name: f.pairs[name]})]).verdict for f in (found, control)]
    assert verdicts == ["holds", "refuted"]
    assert min(found.figures["induction score, town-s, found heads"]) > 0.5
    assert found.pairs[name][0] == control.pairs[name][0]
    before, after = (sum(found.figures[f"loss on plain text, town-s, {arm}"]) for arm in ("whole", "without induction heads"))
    assert before < after < before + 1


def test_a_seed_has_rows_of_its_own_and_measures_on_others_than_it_finds_on():
    one, two = (induction.Subject.drawn("s", Trial(seed)) for seed in (1, 2))
    drawn = [t.tolist() for subject in (one, two) for t in (subject.find, subject.measure)]
    assert all(a != b for i, a in enumerate(drawn) for b in drawn[:i])
    assert one.text.shape == (2, induction.FILL)
    assert torch.equal(one.text, two.text)
    whole = one.silenced(())
    assert whole.logp == pytest.approx(copying(one.insides, one.measure, induction.LENGTH).tolist(), abs=1e-6)
    logits = one.insides.run(one.measure)[0]
    half = one.measure[:, -induction.LENGTH + 1 :]
    assert whole.right == pytest.approx((logits[:, -induction.LENGTH : -1].argmax(-1) == half).float().mean(1).tolist())


def test_means_over_draws_are_taken_row_by_row():
    assert induction.mean([[1.0, 0.0, 0.5], [0.0, 0.0, 1.0]]) == [0.5, 0.0, 0.75]
