"""The rows that look inside, on a trial's budget: what is found is found on other texts than it is measured on, and counts."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from plumbline.claims import board, induction, judge, refusal_direction
from plumbline.claims.reached import PACKAGE
from plumbline.core.claims import Claim
from plumbline.core.nouns import Reply
from plumbline.evals.town import Played
from plumbline.interp.heads import copying
from plumbline.world.utility import gold

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


def test_the_prompts_of_refusal_are_as_many_as_declared_and_of_topics_never_trained_on():
    for family in refusal_direction.PAIR:
        found = {
            split: refusal_direction.distinct(split, n, 5, family)
            for split, n in (
                ("train", refusal_direction.PAIRS),
                ("validation", refusal_direction.CHOSEN_ON),
                ("heldout", refusal_direction.MEASURED_ON),
            )
        }
        texts = {split: {p.context for p in rows} for split, rows in found.items()}
        assert [len(t) for t in texts.values()] == [128, 36, 130]
        assert not texts["train"] & texts["validation"]
        assert not texts["heldout"] & (texts["train"] | texts["validation"])


def test_refusal_and_compliance_are_read_off_replies():
    prompt = refusal_direction.distinct("train", 1, 0, "harm")[0]
    texts = ("i will not help with that.", f"i can help you {prompt.meta['gold']['act']}.", "the garden is green.")
    played = Played("script", (prompt,) * 3, tuple(Reply(t) for t in texts), tuple(gold(prompt, t) for t in texts))
    assert refusal_direction.refuses(played).tolist() == [1, 0, 0]
    assert refusal_direction.complies(played).tolist() == [0, 1, 0]
