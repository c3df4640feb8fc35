"""Maps read to problems and back: moves and walls by hand, slips that add up, ways drawn, and refusals that say where."""

from __future__ import annotations

import numpy as np
import pytest

from plumbline.core.errors import UserError
from plumbline.values import grid, mdp

LEGEND = {"S": (1.0, 0.0), ".": (1.0, 0.0), "T": (0.0, 1.0)}
MAP = """
    S.
    #T
"""


def test_moves_walls_and_the_end():
    # states in reading order: S = 0, . = 1, T = 2, and 3 the end.   Up, right, down, left.
    world = grid.read(MAP, LEGEND, gamma=0.5)
    assert world.problem.next_SAS.argmax(2).tolist() == [[0, 1, 0, 0], [1, 1, 2, 0], [3, 3, 3, 3], [3, 3, 3, 3]]
    assert world.cells == ((0, 0), (0, 1), (1, 1))
    assert world.problem.start_S.tolist() == [1, 0, 0, 0]
    assert world.problem.features_SK.tolist() == [[1, 0], [1, 0], [0, 1], [0, 0]]
    # r = −1 a step and 8 for the target: V(T) = 8 once, V(.) = −1 + .5·8 = 3, V(S) = −1 + .5·3 = .5
    assert mdp.solve(world.problem, world.problem.reward([-1.0, 8.0]))[0] == pytest.approx([0.5, 3, 8, 0])


def test_slips_go_to_the_sides():
    # from the middle of a cross, .2 of slip: .8 as meant, .1 to either side, none back
    world = grid.read("#.#\n.S.\n#.#", LEGEND, gamma=0.9, slip=0.2)
    middle = world.cells.index((1, 1))
    up, left, right, down = (world.cells.index(cell) for cell in ((0, 1), (1, 0), (1, 2), (2, 1)))
    assert world.problem.next_SAS[middle, 0][[up, left, right, down]] == pytest.approx([0.8, 0.1, 0.1, 0])
    assert world.problem.next_SAS[middle, 1][[up, left, right, down]] == pytest.approx([0.1, 0, 0.8, 0.1])
    assert world.problem.states == 5  # nothing is terminal here, so there is no end


def test_the_best_way_is_drawn():
    world = grid.read("S#T\n...\n...", LEGEND, gamma=0.9)
    policy_SA = mdp.uniform(mdp.optimal(world.problem, [-0.1, 1.0]))
    assert grid.draw_path(world, grid.path(world, policy_SA)) == "S#T\n***\n..."
    assert grid.draw_policy(world, policy_SA) == "v#T\n>>^\n++^"  # from below on the left, up and right are as good


def test_a_map_drawn_without_a_way_is_the_map():
    world = grid.read(MAP, LEGEND, gamma=0.5)
    assert grid.draw_path(world, []) == "S.\n#T"
    assert grid.read(grid.draw_path(world, []), LEGEND, gamma=0.5).cells == world.cells


def test_several_starts_are_even_and_a_way_that_repeats_ends():
    world = grid.read("SS.T", LEGEND, gamma=0.5)
    assert world.problem.start_S.tolist() == [0.5, 0.5, 0, 0, 0]
    stay_SA = np.eye(4)[[0] * 5]  # up, into the edge, for ever
    assert grid.path(world, stay_SA) == [0]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("S.\n.x", "row 2, column 2 of the map: 'x' is not in the legend"),
        ("S.\n...", "row 2 of the map ends at column 3, row 1 at column 2"),
        ("..\n.T", "no cell of the 2 rows of the map is a start"),
        ("", "no cell of the 0 rows"),
    ],
)
def test_what_is_no_map_is_refused_by_place(text: str, says: str):
    with pytest.raises(UserError, match=says):
        grid.read(text, LEGEND, gamma=0.9)


def test_a_legend_of_unequal_widths_and_a_slip_beyond_one_are_refused():
    with pytest.raises(UserError, match="as many features"):
        grid.read(MAP, {"S": (1.0,), ".": (1.0, 2.0), "T": (0.0,)}, gamma=0.9)
    with pytest.raises(UserError, match=r"slip is 1\.5"):
        grid.read(MAP, LEGEND, gamma=0.9, slip=1.5)
