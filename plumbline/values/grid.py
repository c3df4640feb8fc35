"""Grid worlds in text: a character a cell, a legend from characters to features, four moves.   Read to a `mdp.Problem`, and drawn back.

    #####
    #S.T#        S start, T terminal, # wall, anything else a kind of ground: each but the wall has its features φ in the legend
    #####
A move off the map or into a wall stays where it is; with probability `slip` a move goes to a side instead, each side half
(Russell & Norvig, §17.1).   A terminal cell pays φ once and leads to an end that pays nothing, a state of its own, which has no cell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from plumbline.core.errors import UserError
from plumbline.values import mdp
from plumbline.values.mdp import Floats

MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))
ARROWS = "^>v<"  # the same order: up, right, down, left
Cell = tuple[int, int]


@dataclass(frozen=True)
class Grid:
    """`rows`: the map as read.   `cells`: (row, column) from 0 of each state; after them comes the end, if a cell is terminal."""

    problem: mdp.Problem
    rows: tuple[str, ...]
    cells: tuple[Cell, ...]
    terminal: str

    def kind(self, state: int) -> str:
        """The character under a state; empty for the end."""
        return self.rows[self.cells[state][0]][self.cells[state][1]] if state < len(self.cells) else ""

    def states(self, kinds: str) -> list[int]:
        """The states whose cells show one of these characters."""
        return [state for state in range(len(self.cells)) if self.kind(state) in kinds]


def read(
    text: str,
    legend: Mapping[str, Sequence[float]],
    *,
    gamma: float,
    start: str = "S",
    terminal: str = "T",
    wall: str = "#",
    slip: float = 0.0,
) -> Grid:
    """The problem that a map shows.   `start`, `terminal`, `wall` may be several characters each; starts are drawn evenly."""
    rows = tuple(line.strip() for line in text.strip().splitlines())
    width = _check_legend(legend)
    _check_rows(rows, set(legend) | set(wall), start)
    if not 0 <= slip <= 1:
        raise UserError(f"slip is {slip}", "Give a probability.")
    cells = tuple((row, column) for row, line in enumerate(rows) for column, kind in enumerate(line) if kind not in wall)
    ends = [rows[row][column] in terminal for row, column in cells]
    states = len(cells) + any(ends)
    features_SK = np.zeros((states, width))
    features_SK[: len(cells)] = [legend[rows[row][column]] for row, column in cells]
    start_S = np.zeros(states)
    start_S[: len(cells)] = [rows[row][column] in start for row, column in cells]
    problem = mdp.Problem(_moves(cells, ends, states, slip), features_SK, start_S / start_S.sum(), gamma)
    return Grid(problem, rows, cells, terminal)


def square(width: int, features: int, *, gamma: float, seed: int) -> mdp.Problem:
    """A random square world: every cell has one of `features` one-hot kinds, each somewhere; moves as above, episodes begin anywhere."""
    draw, cells = np.random.default_rng(seed), width * width
    kinds = draw.permutation(np.concatenate([np.arange(features), draw.integers(0, features, cells - features)]))
    row, column = np.divmod(np.arange(cells), width)
    ends = [np.clip(row + down, 0, width - 1) * width + np.clip(column + right, 0, width - 1) for down, right in MOVES]
    return mdp.deterministic(np.stack(ends, 1), np.eye(features)[kinds], gamma=gamma)


def _check_legend(legend: Mapping[str, Sequence[float]]) -> int:
    widths = {len(features) for features in legend.values()}
    if len(widths) != 1 or any(len(kind) != 1 for kind in legend):
        raise UserError(f"a legend of {dict(legend)}", "Give one character a kind, with as many features each.")
    return widths.pop()


def _check_rows(rows: Sequence[str], known: set[str], start: str) -> None:
    for number, line in enumerate(rows, 1):
        if len(line) != len(rows[0]):
            raise UserError(
                f"row {number} of the map ends at column {len(line)}, row 1 at column {len(rows[0])}", "Give rows of one length; # is wall."
            )
        for column, kind in enumerate(line, 1):
            if kind not in known:
                raise UserError(
                    f"row {number}, column {column} of the map: {kind!r} is not in the legend", f"Known: {' '.join(sorted(known))}"
                )
    if not any(kind in start for line in rows for kind in line):
        raise UserError(f"no cell of the {len(rows)} rows of the map is a start ({start!r})", "Mark where episodes begin.")


def _moves(cells: Sequence[Cell], ends: Sequence[bool], states: int, slip: float) -> Floats:
    number = {cell: state for state, cell in enumerate(cells)}
    to_SA = np.full((states, len(MOVES)), states - 1)
    for state, (row, column) in enumerate(cells):
        if not ends[state]:
            to_SA[state] = [number.get((row + down, column + right), state) for down, right in MOVES]
    sure_SAS = np.eye(states)[to_SA]
    return (1 - slip) * sure_SAS + slip / 2 * (np.roll(sure_SAS, 1, axis=1) + np.roll(sure_SAS, -1, axis=1))


def path(grid: Grid, policy_SA: ArrayLike, *, steps: int = 1000) -> list[int]:
    """The states along the likeliest way from the likeliest start: to a terminal cell, or to where the way begins to repeat."""
    choice_SA, at = np.asarray(policy_SA, dtype=np.float64), int(grid.problem.start_S.argmax())
    way = [at]
    for _ in range(steps):
        at = int(grid.problem.next_SAS[at, choice_SA[at].argmax()].argmax())
        if at >= len(grid.cells) or at in way:
            break
        way.append(at)
    return way


def draw_path(grid: Grid, way: Sequence[int]) -> str:
    """The map with a * on each state of the way; start and terminal keep their characters."""
    keep = {way[0]} | {state for state in way if grid.kind(state) in grid.terminal} if way else set()
    return _drawn(grid, {state: "*" for state in way if state not in keep and state < len(grid.cells)})


def draw_policy(grid: Grid, policy_SA: ArrayLike) -> str:
    """The map with the likeliest move of each cell as ^ > v <; a + where several are as likely; terminal cells keep their character."""
    marks = {}
    for state, prob_A in enumerate(np.asarray(policy_SA, dtype=np.float64)[: len(grid.cells)]):
        if grid.kind(state) not in grid.terminal:
            marks[state] = "+" if (prob_A > prob_A.max() - mdp.TIE).sum() > 1 else ARROWS[int(prob_A.argmax())]
    return _drawn(grid, marks)


def _drawn(grid: Grid, marks: Mapping[int, str]) -> str:
    shown = [list(line) for line in grid.rows]
    for state, mark in marks.items():
        row, column = grid.cells[state]
        shown[row][column] = mark
    return "\n".join("".join(line) for line in shown)
