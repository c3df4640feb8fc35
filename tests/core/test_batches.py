"""Parts of a batch add up to the batch: golden numbers, and the same for any split, any ranks and any order."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plumbline.core.batches import Batch, Group, Part, Totals

A = Group((1, 2), ((3,), (4, 5, 6)), weight=2.0, preference=1.0, row=1)
B = Group((7,), ((8, 9), (1,)), weight=1.0, preference=0.5, desirable=False, row=2)
AB = Part((A, B), Totals.of((A, B)))
# One row per completion, in order; 9 stands where there is no token and must never count.
X_NT = torch.tensor([[1.0, 9, 9], [2, 3, 4], [5, 6, 9], [7, 9, 9]])


def test_totals_by_hand():
    # groups 2+1, completions 2·2+1·2, tokens 2·4+1·3, tokens of first completions 2·1+1·2
    assert AB.totals == Totals(3.0, 6.0, 11.0, 4.0)
    assert A.tokens == 6


def test_sums_and_means_by_hand():
    assert AB.sum(X_NT).tolist() == [[1, 9], [11, 7]]
    assert AB.first(X_NT).tolist() == [[1, 9, 9], [5, 6, 9]]
    assert AB.mask(X_NT).tolist() == [[1, 0, 0], [1, 1, 1], [1, 1, 0], [1, 0, 0]]
    # per token: (2·(1+2+3+4) + 1·(5+6+7)) / 11 = 38/11; of the first completions: (2·1 + 1·(5+6)) / 4 = 13/4
    assert AB.per_token(X_NT).item() == pytest.approx(38 / 11)
    assert AB.per_token(AB.first(X_NT)).item() == pytest.approx(13 / 4)
    # per group: (2·10 + 1·40) / 3 = 20; per completion: (2·(1+2) + 1·(3+4)) / 6 = 13/6
    assert AB.per_example(torch.tensor([10.0, 40.0])).item() == pytest.approx(20.0)
    assert AB.per_example(torch.tensor([1.0, 2.0, 3.0, 4.0])).item() == pytest.approx(13 / 6)


def test_columns_and_spans():
    part = Part(
        (A, B), AB.totals, columns={"advantage": [1.0, 2.0, 3.0, 4.0]}, spans={"sampled": [[1.0], [1.0, 2.0, 3.0], [4.0, 5.0], [6.0]]}
    )
    assert part.column("preference", X_NT).tolist() == [1.0, 0.5]
    assert part.column("desirable", X_NT).tolist() == [1.0, 0.0]
    assert part.column("advantage", X_NT).tolist() == [1, 2, 3, 4]
    assert part.span("sampled", X_NT).tolist() == [[1, 0, 0], [1, 2, 3], [4, 5, 0], [6, 0, 0]]


def test_groups_of_unequal_size_are_filled_with_zero():
    C = Group((1,), ((2,), (3,), (4, 5)))
    part = Part((B, C), Totals.of((B, C)))
    x_NT = torch.tensor([[1.0, 2], [3, 9], [4, 9], [5, 9], [6, 7]])
    assert part.sum(x_NT).tolist() == [[3, 3, 0], [4, 5, 13]]
    assert part.first(x_NT).tolist() == [[1, 2], [4, 9]]


def test_rows_that_fit_neither_unit_are_refused():
    with pytest.raises(ValueError, match="3 rows, but the part has 4 completions in 2 groups"):
        AB.per_example(torch.ones(3))


groups = st.builds(
    lambda prompt, lengths, weight: Group((1,) * prompt, tuple((2,) * n for n in lengths), weight=weight),
    st.integers(1, 12),
    st.lists(st.integers(1, 9), min_size=2, max_size=4),
    st.sampled_from([0.5, 1.0, 2.0]),
)


def _values(group: Group, width: int) -> torch.Tensor:
    """Values per token that depend on the group and the place only."""
    seed = len(group.prompt) * 100 + sum(map(len, group.completions))
    return torch.randn(len(group.completions), width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(max_examples=60, deadline=None)
@given(st.lists(groups, min_size=1, max_size=9), st.integers(1, 60), st.integers(1, 4), st.randoms(use_true_random=False))
def test_any_split_order_and_ranks_give_the_same_loss(rows, micro_tokens, ranks, random):
    def loss(order, micro, count):
        total = torch.zeros((), dtype=torch.float64)
        for rank in range(count):
            for part in Batch(order, micro_tokens=micro, rank=rank, ranks=count).parts():
                x_NT = torch.cat([_values(g, 9) for g in part.groups])
                total += part.per_token(x_NT) + part.per_token(part.first(x_NT)) + part.per_example(part.sum(x_NT)[:, 0])
        return total.item()

    shuffled = list(rows)
    random.shuffle(shuffled)
    assert loss(shuffled, micro_tokens, ranks) == pytest.approx(loss(rows, 10**9, 1), abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.lists(groups, min_size=1, max_size=9), st.integers(1, 60))
def test_parts_hold_every_group_once_within_the_budget(rows, micro_tokens):
    parts = list(Batch(rows, micro_tokens=micro_tokens).parts())
    assert sorted(g.tokens for p in parts for g in p.groups) == sorted(g.tokens for g in rows)
    assert all(len(p.groups) == 1 or sum(g.tokens for g in p.groups) <= micro_tokens for p in parts)
    sizes = [g.tokens for p in parts for g in p.groups]
    assert sizes == sorted(sizes, reverse=True)
