"""The rows of decision problems, on a trial's budget: what they find there is what the mathematics says, and their controls are refuted."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from plumbline.claims import board, judge, vav
from plumbline.core.claims import Claim
from plumbline.values import halfspaces, verification


@dataclass(frozen=True)
class Trial:
    """What these rows need of a laboratory."""

    seed: int
    alike: bool = False

    def count(self, n: int, least: int = 1) -> int:
        """A trial's."""
        return least


def row_of(name: str) -> Claim:
    """As the board finds it."""
    return board.load_claim(board.chosen(name)[0])


def test_ird_goes_round_unless_the_designer_knew_of_lava():
    made, lab = row_of("ird"), Trial(70)
    found, control = made.run(lab), made.control(made.run, lab)
    assert found.figures["enters lava, literal"] == [1.0, 1.0]
    assert found.figures["enters lava, mean"] == [1.0, 1.0]
    assert found.figures["enters lava, averse"] == pytest.approx([0.0, 0.0])
    assert found.figures["arrives, averse"] == pytest.approx([1.0, 1.0])
    assert control.figures["enters lava, averse"] == pytest.approx([1.0, 1.0])
    row = judge.row(made, [found], [control])
    assert row["control"]["verdict"] == "refuted"
    assert row["tests"]["enters lava: literal over averse"]["verdict"] == "holds"
    assert made.run(Trial(71)).figures != found.figures  # a seed has draws of its own: one sample differs where fifty do not


def test_vav_counts_questions_of_the_same_grids_and_its_control_has_two_verifiers(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(vav, "WIDTHS", (3, 5))
    made = row_of("vav")
    found, control = made.run(Trial(7)), made.control(made.run, Trial(7))
    world = vav.World.drawn(5, 700)
    asked = verification.arp_pref(world.problem, world.human_K).questions
    assert next(iter(found.figures["questions, verification, width 5"])) == asked
    assert control.figures["questions, verification, width 5"] == found.figures["questions, verification, width 5"]
    assert min(found.figures["questions, learning, width 5"]) > 3
    learning, verifying = found.pairs["growth of questions, width 4 to 12: learning over verification"]
    narrow, wide = (found.figures[f"questions, learning, width {width}"] for width in (3, 5))
    assert list(learning) == [b - a for a, b in zip(narrow, wide, strict=True)]
    assert list(verifying) == [b - a for a, b in zip(*found.pairs["questions of verification: width 4 over 12"], strict=True)]
    others = [vav.World.drawn(5, number) for number in (750, 751)]
    assert control.figures["questions, learning, width 5"] == [verification.arp_pref(w.problem, w.human_K).questions for w in others]


def test_a_world_s_truth_is_exact_alignment():
    world = vav.World.drawn(4, 3)
    assert world.truth() == halfspaces.aligned(world.problem, world.human_K, world.near_K)
    assert (world.human_K != world.near_K).all()
    assert vav.World.drawn(4, 3).human_K.tolist() == world.human_K.tolist() != vav.World.drawn(5, 3).human_K.tolist()
