"""Who sees whom in a tree row, by hand; and rows that cost least."""

from __future__ import annotations

import torch

from plumbline.core.batches import Group
from plumbline.models.layout import pack, plain_rows, tree_rows

CPU = torch.device("cpu")


def test_a_tree_row_by_hand() -> None:
    # prompt 5 6, completions 7 8 9 and 7 4: the last tokens predict nothing and are left out → 5 6 | 7 8 | 7
    layout = tree_rows([Group((5, 6), ((7, 8, 9), (7, 4)))], CPU)
    assert layout.ids_RL.tolist() == [[5, 6, 7, 8, 7]]
    assert layout.positions_RL.tolist() == [[0, 1, 2, 3, 2]]
    assert layout.take_P.tolist() == [1, 2, 3, 1, 4]  # each completion begins after the prompt's last state
    assert layout.allowed()[0].int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 0, 0, 1],
    ]
    assert layout.allowed(window=2)[0].int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [0, 1, 1, 0, 0],
        [0, 0, 1, 1, 0],
        [0, 1, 0, 0, 1],
    ]


def test_groups_that_share_a_row_do_not_see_each_other() -> None:
    layout = tree_rows([Group((1, 2), ((3, 4),)), Group((5,), ((6, 7),))], CPU, attention=1e-9)
    seen = layout.allowed()
    same = layout.group_RL[:, :, None] == layout.group_RL[:, None, :]
    assert not (seen & ~same).any()


def test_the_rule_for_flex_attention_is_the_dense_mask() -> None:
    layout = tree_rows([Group((1, 2, 3), ((3, 4), (5, 6, 7))), Group((5,), ((6, 7, 8),))], CPU)
    rows, length = layout.ids_RL.shape
    r, q, k = torch.meshgrid(torch.arange(rows), torch.arange(length), torch.arange(length), indexing="ij")
    for window in (None, 3):
        assert torch.equal(layout.rule(window)(r, r, q, k), layout.allowed(window))


def test_plain_rows() -> None:
    layout = plain_rows([Group((5, 6), ((7, 8, 9), (7,)))], CPU, whole=True)
    assert layout.ids_RL.tolist() == [[5, 6, 7, 8, 9], [5, 6, 7, 0, 0]]
    assert layout.take_P.tolist() == [1, 2, 3, 6]


def test_states_at_the_tokens_themselves() -> None:
    layout = tree_rows([Group((5, 6), ((7, 8), (9,)))], CPU, states=True)
    assert layout.ids_RL.flatten()[layout.take_P].tolist() == [7, 8, 9]


def test_short_groups_share_rows_and_long_ones_do_not() -> None:
    assert len(pack([100, 50, 50, 40, 60], attention=1e-4)) == 3
    assert len(pack([200] * 4, attention=1 / 100)) == 4


def test_many_completions_of_one_prompt_are_split_where_the_square_costs_more_than_the_prompt() -> None:
    group = Group((1,) * 32, tuple((2,) * 64 for _ in range(32)))
    assert max(tree_rows([group], CPU).ids_RL.shape) < 32 + 32 * 64
    assert tree_rows([group], CPU, attention=1e-9).ids_RL.shape == (1, 32 + 32 * 63)
