"""A posterior over a linear head, and the reward that holds against a reply what is not known of it."""

from __future__ import annotations

import numpy as np
import pytest

from plumbline.core.errors import UserError
from plumbline.core.nouns import Game, Reply, Turn
from plumbline.values.pessimism import Pessimist, fit


def games(*numbers: str) -> list[Game]:
    """Replies that say their own features."""
    return [Game((Turn("a", "x", Reply(text)),)) for text in numbers]


def read(some) -> np.ndarray:
    """Features as written."""
    return np.array([[float(x) for x in game.turns[-1].reply.text.split()] for game in some])


def compared(seed: int, pairs: int) -> tuple[np.ndarray, np.ndarray]:
    """Two features; only the first decides, and only it differs."""
    draw = np.random.default_rng(seed)
    first = draw.normal(size=(pairs, 2, 1)) + 5.0
    first[:, 0], first[:, 1] = first.max(1), first.min(1)
    both = np.concatenate([first, np.zeros_like(first)], 2)
    return both[:, 0], both[:, 1]


def test_the_mode_has_no_gradient_and_the_spread_is_the_inverse_curvature():
    better, worse = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 3.0]]), np.array([[0.0, 0.0], [0.0, 0.0], [2.0, 0.0]])
    found = fit(better, worse, prior=2.0)
    gaps = (better - worse) / np.vstack([better, worse]).std(0)
    share = 1 / (1 + np.exp(gaps @ found.mean_K))
    assert gaps.T @ share == pytest.approx(found.mean_K / 2.0, abs=1e-7)
    curvature = sum(p * (1 - p) * np.outer(d, d) for p, d in zip(share, gaps, strict=True)) + np.eye(2) / 2.0
    assert found.cov_KK @ curvature == pytest.approx(np.eye(2), abs=1e-9)


def test_one_feature_by_hand():
    # one pair, features 1 and −1: spread 1, gap 2.   Mode: w / v = 2 σ(−2w); at w = ½ that is 2 σ(−1) = .5379, so v = .5 / .5379
    found = fit(np.array([[1.0]]), np.array([[-1.0]]), prior=0.5 * (1 + np.e) / 2)
    assert found.mean_K == pytest.approx([0.5], abs=1e-8)


def test_a_direction_that_no_comparison_moved_along_keeps_its_prior():
    found = fit(*compared(0, 200), prior=3.0)
    assert found.mean_K[1] == pytest.approx(0.0, abs=1e-9)
    assert found.cov_KK[1, 1] == pytest.approx(3.0)
    assert found.cov_KK[0, 0] < 1.5 < found.mean_K[0]


def test_the_pessimist_likes_what_is_known_to_be_good_and_shuns_what_is_unknown():
    posterior = fit(*compared(1, 200), prior=4.0)
    replies = games("6 0", "6 40", "4 0")  # good, as good but as nothing ever seen, bad
    bold, cautious = (Pessimist(read, posterior, caution=caution, draws=400, seed=0) for caution in (0.0, 1.0))
    assert bold(replies).total[0] > bold(replies).total[2]
    assert cautious(replies).total[0] > cautious(replies).total[2] > cautious(replies).total[1]
    found = cautious(replies)
    assert found.components["spread"][1] == pytest.approx(40 * 2, rel=0.15)  # √prior variance 4 for each of 40
    assert np.shape(found.draws) == (400, 3)
    assert found.total == pytest.approx(np.mean(found.draws, 0) - np.std(found.draws, 0))


def test_what_training_usually_saw_is_not_uncertain():
    better, worse = compared(2, 200)
    centre = " ".join(str(x) for x in np.vstack([better, worse]).mean(0))
    assert Pessimist(read, fit(better, worse))(games(centre)).components["spread"] == pytest.approx([0.0], abs=1e-9)


def test_pairs_that_do_not_fit_are_said():
    with pytest.raises(UserError, match="one or more pairs"):
        fit(np.zeros((2, 3)), np.zeros((1, 3)))
    with pytest.raises(UserError, match="not finite"):
        fit(np.array([[np.nan, 1.0]]), np.zeros((1, 2)))
    for prior in (0.0, -1.0, np.nan):
        with pytest.raises(UserError, match="prior variance"):
            fit(np.ones((1, 2)), np.zeros((1, 2)), prior=prior)
