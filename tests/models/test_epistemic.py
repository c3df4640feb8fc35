"""What an `Epistemic` reward promises: it computes what it says, disagrees off its data and agrees on it, and comes back bit by bit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random

import pytest
import torch
from torch import Tensor

from plumbline.core.batches import Group
from plumbline.core.errors import UserError
from plumbline.models.epistemic import UNIT, Epistemic, read_by
from plumbline.models.lm import LM


def read(groups: Sequence[Group]) -> Tensor:
    """Two numbers of each completion."""
    return torch.tensor([[float(c[0]), float(c[-1])] for g in groups for c in g.completions])


def heads(**how: float) -> Epistemic:
    return Epistemic(read, 4, **{"heads": 8, "hidden": 32, "seed": 3, **how})  # pyright: ignore[reportArgumentType]


def fit(epistemic: Epistemic, updates: int, *, pull: float = 1.0) -> None:
    adam, chance = torch.optim.Adam(epistemic.parameters(), lr=5e-4), Random(0)
    for _ in range(updates):
        loss, _ = epistemic.loss(epistemic.draw(64, chance), pull=pull)
        adam.zero_grad()
        loss.backward()
        adam.step()


def test_a_head_by_hand():
    e = Epistemic(read, 1, heads=2, hidden=1, prior=0.0)
    with torch.no_grad():
        for parameter, value in zip(e.parameters(), (2.0, 1.0, -1.0, 3.0, 0.5, -0.25), strict=True):
            parameter.fill_(value / UNIT)
    # x = 2: √2 · (2·2 + 1) = 7.0711;   √2 · max(0, −7.0711 + 3) = 0;   0·½ − ¼ = −.25
    # x = −1: √2 · max(0, −2 + 1) = 0;  √2 · 3 = 4.2426;               2.1213 − .25 = 1.8713
    assert e(torch.tensor([[2.0], [-1.0]]))[0].tolist() == pytest.approx([-0.25, 1.5 * math.sqrt(2) - 0.25], abs=1e-5)


def test_the_untrained_network_is_added_and_never_moves():
    x_NH = torch.randn(5, 4, generator=torch.Generator().manual_seed(1))
    with_it, without = heads(prior=2.0), heads(prior=0.0)
    fixed_EN = (with_it(x_NH) - without(x_NH)) / 2
    assert fixed_EN.std() > 0.3
    with_it.remember(torch.randn(40, 2, 4, generator=torch.Generator().manual_seed(2)), [1.0] * 40)
    fit(with_it, 20)
    without.load_state_dict(with_it.state_dict())
    torch.testing.assert_close((with_it(x_NH) - without(x_NH)) / 2, fixed_EN)


def test_the_pull_is_half_the_squared_distance_in_units_of_the_prior():
    e = heads()
    assert e.distance().item() == 0  # exactly
    with torch.no_grad():
        e.weights[0][2, 1, 5] += 0.3 / UNIT  # fan_in 4: ½ · 4 · .3² = .18
        e.weights[3][1, 0, 4] += 0.2 / UNIT  # a bias: ½ · .2² = .02
    assert e.distance().item() == pytest.approx(0.2, abs=1e-5)
    e.remember(torch.zeros(4, 2, 4), [0.5] * 4)
    loss, _ = e.loss([0, 1, 2, 3], pull=3.0)
    assert loss.item() == pytest.approx(math.log(2) + 3 * 0.2 / (4 * 8), abs=1e-5)  # equal features: log 2; 4 duels, 8 heads


def test_heads_agree_where_people_spoke_and_differ_elsewhere():
    """Duels along the first feature only; the spread of the heads falls there, and stays where nothing was asked."""
    noise = torch.Generator().manual_seed(0)
    known_R2H, unknown_R2H = torch.zeros(200, 2, 4), torch.zeros(200, 2, 4)
    known_R2H[..., :2], unknown_R2H[..., 2:] = (torch.randn(200, 2, 2, generator=noise) * 1.4 for _ in range(2))
    first_wins_R = (known_R2H[:, 0, 0] > known_R2H[:, 1, 0]).float()
    e = heads()

    def spread(pairs_R2H: Tensor) -> float:
        """Mean variance over heads of who wins."""
        with torch.no_grad():
            reward_ER2 = e(pairs_R2H.flatten(0, 1)).unflatten(1, (-1, 2))
        return float((reward_ER2[..., 0] - reward_ER2[..., 1]).sigmoid().var(0).mean())

    before = spread(known_R2H), spread(unknown_R2H)
    e.remember(known_R2H, first_wins_R.tolist())
    fit(e, 80)
    after = spread(known_R2H), spread(unknown_R2H)
    assert after[0] < 0.3 * before[0]
    assert after[1] > 0.6 * before[1]
    _, margin_ER = e.loss(range(200), pull=0.0)
    right_E = ((margin_ER > 0) == (first_wins_R > 0.5)).float().mean(1)
    assert right_E.min() > 0.9  # each of them


def test_a_stronger_pull_keeps_heads_nearer():
    found = []
    for pull in (0.0, 1.0, 100.0):
        e = heads()
        e.remember(torch.randn(50, 2, 4, generator=torch.Generator().manual_seed(4)), [1.0] * 50)
        fit(e, 60, pull=pull)
        found.append(e.distance().item())
    assert found[0] > found[1] > found[2] > 0


def test_the_replay_loses_its_oldest_and_draws_none_twice():
    e = heads(capacity=5)
    for k in range(4):
        e.remember(torch.full((2, 2, 4), float(k)), [1.0, 0.0])
    assert e.labels == 5
    assert e.pairs_R2H[:, 0, 0].tolist() == [1, 2, 2, 3, 3]
    assert e.preference_R.tolist() == [0, 1, 0, 1, 0]
    assert sorted(e.draw(9, Random(1))) == [0, 1, 2, 3, 4]
    assert len(set(e.draw(3, Random(1)))) == 3
    assert e.draw(3, Random(1)) == e.draw(3, Random(1))


def test_it_comes_back_bit_by_bit_into_heads_that_began_otherwise():
    one, two = heads(seed=3), heads(seed=4)
    one.remember(torch.randn(30, 2, 4, generator=torch.Generator().manual_seed(5)), [1.0] * 30)
    fit(one, 3)
    two.load_state_dict({name: x.clone() for name, x in one.state_dict().items()})
    x_NH = torch.randn(6, 4, generator=torch.Generator().manual_seed(6))
    assert torch.equal(one(x_NH), two(x_NH))
    assert torch.equal(one.loss([1, 7], pull=2.0)[0], two.loss([1, 7], pull=2.0)[0])
    with pytest.raises(UserError, match="another number or size"):
        heads(heads=9).load_state_dict(one.state_dict())


def test_what_a_model_makes_of_a_completion(small: LM):
    """The state at its last token, of mean square 1; then the mean and the least log p of its tokens, twice."""
    lm = small.frozen()
    groups = [Group((3, 4), ((5, 6, 7), (8,))), Group((3,), ((9, 5),))]
    states_NTH, logp_NT = lm.hidden(groups), lm.token_logps(groups)
    found_NX = read_by(lm)(groups)
    for n, (row, length) in enumerate(zip(found_NX, (3, 1, 2), strict=True)):
        state, logp = states_NTH[n, length - 1], logp_NT[n, :length]
        assert row[:-2].square().mean().item() == pytest.approx(1.0, abs=1e-5)
        assert torch.allclose(row[:-2], state / state.square().mean().sqrt(), atol=1e-5)
        assert row[-2:].tolist() == pytest.approx([2 * logp.mean().item(), 2 * logp.min().item()], abs=1e-5)
    heads = Epistemic.on(lm, heads=2, hidden=3)
    assert heads(heads.features(groups)).shape == (2, 3)
    with pytest.raises(ValueError, match="frozen"):
        Epistemic.on(small)
