"""Probes find what is there and nothing where nothing is; a direction is a mean difference, and ablating it leaves none of it."""

from __future__ import annotations

from random import Random

import pytest
import torch
import transformers
from torch import Tensor
from torch.testing import assert_close

from plumbline.core.errors import UserError
from plumbline.interp.probes import control_labels, fit, probe
from plumbline.interp.steering import ablating, adding, direction, random_like, states
from plumbline.models import shrink
from plumbline.models.hooks import Insides, run_with_cache
from plumbline.models.loading import quiet


@pytest.fixture(scope="module")
def inside() -> Insides:
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(0)
        return Insides.of(shrink.strengthen(transformers.AutoModelForCausalLM.from_config(shrink.shrunk(transformers.GPT2Config()))))


def rows(count: int, seed: int) -> list[list[int]]:
    chance = Random(seed)
    return [[chance.randrange(1, shrink.VOCABULARY) for _ in range(chance.randint(3, 8))] for _ in range(count)]


def gaussians(n: int, d: int) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(1))


def test_logistic_regression_by_hand() -> None:
    """One feature ±1 with labels right in 3 of 4: the unpenalised optimum has log-odds ±log 3."""
    x = torch.tensor([[1.0]] * 4 + [[-1.0]] * 4)
    y = torch.tensor([1, 1, 1, 0, 0, 0, 0, 1])
    found = fit(x, y, 2, penalty=0.0)
    odds = (found.weight_DC[:, 1] - found.weight_DC[:, 0]).item()
    assert odds == pytest.approx(1.098612, abs=1e-4)
    assert found.classes(torch.tensor([[2.0], [-2.0]])).tolist() == [1, 0]


def test_a_property_of_the_states_is_selective() -> None:
    x = gaussians(400, 10)
    labels = (x[:, 0] + x[:, 3] > 0).int().tolist()
    found = probe(x, labels, types=[i % 40 for i in range(400)])
    assert found.accuracy > 0.95
    assert found.control < 0.65  # the type is not in the states
    assert found.selectivity == found.accuracy - found.control
    assert found.n == 120


def test_states_that_name_the_type_are_learned_by_heart() -> None:
    """One-hot types, labels by type: accurate on the labels and as accurate on labels by lot, so not selective."""
    types = [i % 12 for i in range(600)]
    x = torch.eye(12)[torch.tensor(types)]
    found = probe(x, [t % 2 for t in types], types)
    assert found.accuracy == found.control == 1.0
    assert found.selectivity == 0


def test_where_nothing_is_a_probe_is_at_chance() -> None:
    chance = Random(0)
    labels = [chance.randrange(2) for _ in range(1000)]
    found = probe(gaussians(1000, 5), labels, types=list(range(1000)))
    assert abs(found.accuracy - 0.5) < 5 * (0.25 / found.n) ** 0.5


def test_a_control_label_belongs_to_its_type() -> None:
    types = [3, 7, 3, 9, 7, 3]
    got = control_labels(types, [0, 1, 0, 1, 1, 0], seed=4)
    assert len({(t, c) for t, c in zip(types, got, strict=True)}) == 3
    many = control_labels(list(range(2000)), [0, 0, 0, 1])
    assert sum(many) / 2000 == pytest.approx(0.25, abs=0.05)
    assert many != control_labels(list(range(2000)), [0, 0, 0, 1], seed=1)


def test_too_little_is_said() -> None:
    with pytest.raises(UserError, match="one label"):
        probe(gaussians(4, 2), [1, 1, 1, 1], [1, 2, 3, 4])
    with pytest.raises(UserError, match="split"):
        probe(gaussians(1, 2).repeat(2, 1)[:2], [0, 1], [1, 2], held_out=0.1)


def test_two_sets_without_a_difference_have_no_direction(inside: Insides) -> None:
    with pytest.raises(UserError, match="same mean state"):
        direction(inside, [[1, 2, 3]], [[1, 2, 3]], 1)


@torch.no_grad()
def test_a_direction_is_the_difference_of_means_of_the_streams(inside: Insides) -> None:
    a, b = rows(3, 1), rows(4, 2)
    plain = [inside.model(input_ids=torch.tensor([r]), output_hidden_states=True).hidden_states[1][0, -1] for r in a + b]
    want = torch.stack(plain[:3]).mean(0) - torch.stack(plain[3:]).mean(0)
    v_D = direction(inside, a, b, 1)
    assert_close(v_D, want)
    assert_close(random_like(v_D, 0).norm(), v_D.norm())
    with pytest.raises(UserError, match="layer 9"):
        states(inside, a, 9)
    with pytest.raises(UserError, match="empty"):
        direction(inside, a, [], 1)


@torch.no_grad()
def test_adding_the_difference_of_two_states_turns_one_into_the_other(inside: Insides) -> None:
    """At the last stream before the head and one position, resid(B) + (resid(A) − resid(B)) says what A says."""
    a, b = rows(2, 5)
    name = "blocks.1.hook_resid_pre"
    v_D = direction(inside, [a], [b], 1)
    _, got = inside.run(b, adding(v_D, 1), keep=[name])
    _, want = run_with_cache(inside, a, name)
    assert_close(got[name][0, -1], want[name][0, -1])
    plain = run_with_cache(inside, b, name)[1][name]
    _, half = inside.run(b, adding(v_D, 1, scale=0.5), keep=[name])
    assert_close(half[name][0, -1], (plain[0, -1] + want[name][0, -1]) / 2)
    assert_close(half[name][0] - plain[0], (v_D / 2).expand_as(plain[0]))  # at every position


@torch.no_grad()
def test_an_ablated_direction_is_in_no_stream(inside: Insides) -> None:
    v_D = random_like(torch.ones(64), 3)
    _, cache = inside.run(rows(1, 7)[0], ablating(v_D), keep=inside.chosen(lambda n: "resid" in n))
    for name, x in cache.items():
        assert (x @ v_D / v_D.norm()).abs().max() < 1e-4, name
