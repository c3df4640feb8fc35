"""Performance gap recovered: the ratio of paired means, its parts, and when it is refused."""

from __future__ import annotations

import numpy as np
import pytest

from plumbline.evals.pgr import compared, recovered

RNG = np.random.default_rng(0)
EASE = RNG.random((1, 400))


def right(accuracy: float, seeds: int = 3) -> np.ndarray:
    """Who is right on prompts of unequal ease, which are the same for every seed and every model."""
    return (0.7 * EASE + 0.3 * RNG.random((seeds, 400)) < accuracy).astype(float)


def test_by_hand():
    # weak ¼, student ½, ceiling ¾ of four prompts, seen 100 times each: (½ − ¼) / (¾ − ¼) = ½
    weak, student, ceiling = (np.tile(row, 100) for row in ([1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0]))
    found = recovered(weak, student, ceiling)
    assert found.share is not None
    assert found.share.mean == pytest.approx(0.5)
    assert (found.weak.mean, found.student.mean, found.ceiling.mean) == (0.25, 0.5, 0.75)
    assert (found.gained.mean, found.gap.mean) == (0.25, 0.5)
    assert found.share.lo < 0.5 < found.share.hi
    # the student is the prompts of the gap, or not: with 100 of each, a binomial share of 200 whose standard deviation is √(¼ / 200)
    assert found.share.hi - found.share.lo == pytest.approx(2 * 1.96 * (0.25 / 200) ** 0.5, rel=0.1)


def test_a_student_that_is_the_ceiling_recovers_all_of_it_in_every_draw_and_one_that_is_the_supervisor_nothing():
    weak, ceiling = right(0.5), right(0.8)
    for student, share in ((ceiling, 1.0), (weak, 0.0)):
        found = recovered(weak, student, ceiling).share
        assert found is not None
        assert (found.mean, found.lo, found.hi) == pytest.approx((share, share, share))


def test_a_student_may_be_worse_than_its_supervisor_or_better_than_the_ceiling():
    weak, low, high, ceiling = right(0.5), right(0.4), right(0.9), right(0.7)
    below, above = recovered(weak, low, ceiling).share, recovered(weak, high, ceiling).share
    assert below is not None
    assert above is not None
    assert below.hi < 0 < 1 < above.lo


@pytest.mark.parametrize("ceiling", [0.5, 0.51])
def test_a_gap_within_noise_has_no_share_but_its_parts(ceiling):
    found = recovered(right(0.5), right(0.6), right(ceiling))
    assert found.share is None
    assert found.gap.lo <= 0 <= found.gap.hi
    assert "within noise" in str(found)
    assert found.json()["pgr"] is None
    assert len(found.lines()) == 6
    assert all(f"{part.mean:.3f}" in "\n".join(found.lines()) for part in (found.weak, found.student, found.ceiling))


def test_a_ceiling_below_the_supervisor_is_said_to_be_so():
    found = recovered(right(0.8), right(0.6), right(0.5))
    assert found.share is None
    assert "the ceiling is below the supervisor" in found.refused


def test_the_interval_is_that_of_pairs_and_not_of_three_samples_apart():
    weak, student, ceiling = right(0.5), right(0.6), right(0.7)
    found = recovered(weak, student, ceiling).share
    shuffled = recovered(weak, student[:, RNG.permutation(400)], ceiling[:, RNG.permutation(400)]).share
    assert found is not None
    assert shuffled is not None
    assert found.hi - found.lo < 0.6 * (shuffled.hi - shuffled.lo)


def test_the_share_does_not_depend_on_the_scale_or_the_origin_of_the_scores():
    weak, student, ceiling = right(0.5), right(0.6), right(0.8)
    one, other = recovered(weak, student, ceiling).share, recovered(3 * weak + 2, 3 * student + 2, 3 * ceiling + 2).share
    assert one is not None
    assert other is not None
    assert (one.mean, one.lo, one.hi) == pytest.approx((other.mean, other.lo, other.hi))


def test_parts_of_other_prompts_are_refused_and_students_are_compared_by_name():
    with pytest.raises(ValueError, match="other prompts"):
        recovered([0.0, 1.0], [1.0], [1.0, 1.0])
    found = compared({"weak": right(0.5), "ceiling": right(0.8), "naive": right(0.6)}, ("naive", "confident"))
    assert list(found) == ["naive"]
