"""Where every token of a group stands: pure index computation, no model.

A *tree row* holds one or more groups.   A group is laid out as

    prompt | completion 1 | completion 2 | …          positions  0 … P−1 | P … | P … |

and a token sees: the tokens before it, in its own group, that belong to the prompt or to its own completion.   With that mask a
forward pass computes the prompt once, and every completion as if it followed the prompt alone.
A *plain row* holds the prompt and one completion, and needs no mask but the causal one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from plumbline.core.batches import Group

SHORT_ROW = 512  # tokens up to which several groups may share a row: beyond it attention's square costs more than padding


@dataclass(frozen=True, slots=True)
class Layout:
    """R rows of L positions.   `take_P`: for each of the P completion tokens (in order), the flat position of the state asked for.

    `group_RL` numbers groups from 0 (−1: padding); `branch_RL` is 0 on prompts, k on the k-th completion.
    """

    ids_RL: Tensor
    positions_RL: Tensor
    group_RL: Tensor
    branch_RL: Tensor
    take_P: Tensor
    causal: bool  # the plain causal mask is enough

    def allowed(self, window: int | None = None) -> Tensor:
        """(R, L, L) True where query (second) may see key (third); `window` counts positions, not places in the row."""
        length = self.ids_RL.shape[1]
        place_L = torch.arange(length, device=self.ids_RL.device)
        prompt_RL = (self.group_RL * (self.branch_RL.max() + 1)).int()  # numbers what stands in a row: every prompt, and after it
        own_RL = prompt_RL + self.branch_RL.int()  # its completions
        key_R1L = own_RL[:, None, :]
        seen = (key_R1L == own_RL[:, :, None]) | (key_R1L == prompt_RL[:, :, None])
        seen &= place_L[:, None] >= place_L[None, :]
        if window is not None:
            seen &= self.positions_RL[:, :, None] - self.positions_RL[:, None, :] < window
            seen |= place_L[:, None] == place_L[None, :]
        return seen

    def rule(self, window: int | None = None) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
        """`allowed` as a function of (row, head, query, key), for FlexAttention."""

        def seen(row: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
            branch = self.branch_RL[row, key]
            ours = (self.group_RL[row, query] == self.group_RL[row, key]) & ((branch == 0) | (branch == self.branch_RL[row, query]))
            past = ours & (query >= key)
            if window is not None:
                past = past & (self.positions_RL[row, query] - self.positions_RL[row, key] < window)
            return past | (query == key)

        return seen

    def additive(self, dtype: torch.dtype, window: int | None = None) -> Tensor:
        """(R, 1, L, L) mask to add to attention scores: 0 where allowed, else the lowest number (finite, so no row can become NaN)."""
        lowest = torch.tensor(torch.finfo(dtype).min, dtype=dtype, device=self.ids_RL.device)
        return torch.where(self.allowed(window), lowest.new_zeros(()), lowest)[:, None]


def targets(groups: Sequence[Group], device: torch.device) -> Tensor:
    """(P,) every completion token, group by group, completion by completion."""
    return torch.tensor([t for g in groups for c in g.completions for t in c], dtype=torch.long, device=device)


def _bins(lengths: Sequence[int], room: int) -> list[list[int]]:
    """First fit, longest first: which groups share a row of `room` positions."""
    bins: list[list[int]] = []
    free: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        for b, left in enumerate(free):
            if lengths[i] <= left:
                bins[b].append(i)
                free[b] -= lengths[i]
                break
        else:
            bins.append([i])
            free.append(room - lengths[i])
    return bins


def pack(lengths: Sequence[int], attention: float) -> list[list[int]]:
    """Share rows so that `rows · L · (1 + L · attention)` is least: padding is paid per position, attention per pair of positions."""
    longest = max(lengths)
    plans = [_bins(lengths, room) for room in {longest, *(r for r in (2 * longest, 4 * longest, SHORT_ROW) if longest <= r <= SHORT_ROW)}]

    def cost(bins: list[list[int]]) -> tuple[float, int]:
        row = max(sum(lengths[i] for i in b) for b in bins)
        return len(bins) * row * (1 + row * attention), row

    return min(plans, key=cost)


class _Rows:
    """Rows under construction: four lists of lists of numbers, padded at the end."""

    def __init__(self) -> None:
        self.ids: list[list[int]] = []
        self.positions: list[list[int]] = []
        self.group: list[list[int]] = []
        self.branch: list[list[int]] = []

    def open(self) -> None:
        for rows in (self.ids, self.positions, self.group, self.branch):
            rows.append([])

    def add(self, ids: Sequence[int], start: int, group: int, branch: int) -> int:
        """Append to the last row; returns the place of the first token."""
        at = len(self.ids[-1])
        self.ids[-1] += ids
        self.positions[-1] += range(start, start + len(ids))
        self.group[-1] += [group] * len(ids)
        self.branch[-1] += [branch] * len(ids)
        return at

    def tensors(self, device: torch.device) -> list[Tensor]:
        length = max(map(len, self.ids))
        fills = ((self.ids, 0), (self.positions, 0), (self.group, -1), (self.branch, 0))
        return [torch.tensor([row + [fill] * (length - len(row)) for row in rows], dtype=torch.long, device=device) for rows, fill in fills]


def _fed(completion: Sequence[int], whole: bool) -> Sequence[int]:
    return completion if whole else completion[:-1]


def _taken(row: int, prompt_end: int, start: int, count: int, whole: bool) -> list[tuple[int, int]]:
    """(row, place) of the states asked for: at the tokens themselves, or one before each (the first one's is the prompt's last)."""
    if whole:
        return [(row, start + j) for j in range(count)]
    return [(row, prompt_end)] * min(count, 1) + [(row, start + j) for j in range(count - 1)]


def _finish(rows: _Rows, taken: Sequence[tuple[int, int]], device: torch.device, causal: bool) -> Layout:
    ids, positions, group, branch = rows.tensors(device)
    take_P = torch.tensor([r * ids.shape[1] + i for r, i in taken], dtype=torch.long, device=device)
    return Layout(ids, positions, group, branch, take_P, causal)


def _split(group: Group, attention: float) -> list[Group]:
    """A group in as many pieces as cost least: the prompt again in each, against the square of one long row."""
    prompt, rest = len(group.prompt), sum(map(len, group.completions))
    count = len(group.completions)

    def cost(pieces: int) -> float:
        row = prompt + rest / pieces
        return pieces * row * (1 + row * attention)

    pieces = min(range(1, count + 1), key=cost) if count > 1 else 1
    size = -(-count // pieces)
    return [replace(group, completions=group.completions[i : i + size]) for i in range(0, count, size)]


def tree_rows(
    groups: Sequence[Group], device: torch.device, *, attention: float = 1 / 640, states: bool = False, whole: bool = False
) -> Layout:
    """Tree rows.   `states`: take the states at completion tokens, not those that predict them.   `whole`: feed the last tokens too.

    `attention`: cost of one more position in the row, for one position, against that of its matrices (see `pack`).
    """
    whole = whole or states
    groups = [piece for g in groups for piece in _split(g, attention)]
    lengths = [len(g.prompt) + sum(len(_fed(c, whole)) for c in g.completions) for g in groups]
    bins = pack(lengths, attention)
    rows, taken = _Rows(), [[] for _ in groups]
    for r, members in enumerate(bins):
        rows.open()
        for i in members:
            group = groups[i]
            end = rows.add(group.prompt, 0, i, 0) + len(group.prompt) - 1
            for k, completion in enumerate(group.completions, 1):
                start = rows.add(_fed(completion, whole), len(group.prompt), i, k)
                taken[i] += _taken(r, end, start, len(completion), states)
    causal = all(len(b) == 1 and len(groups[b[0]].completions) == 1 for b in bins)
    return _finish(rows, [t for group in taken for t in group], device, causal)


def plain_rows(groups: Sequence[Group], device: torch.device, *, states: bool = False, whole: bool = False) -> Layout:
    """One row per completion, its prompt before it, padding after it."""
    rows, taken = _Rows(), []
    for i, group in enumerate(groups):
        for completion in group.completions:
            rows.open()
            rows.add(group.prompt, 0, i, 0)
            start = rows.add(_fed(completion, whole or states), len(group.prompt), i, 1)
            taken += _taken(len(rows.ids) - 1, len(group.prompt) - 1, start, len(completion), states)
    return _finish(rows, taken, device, True)
