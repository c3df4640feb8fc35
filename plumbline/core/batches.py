"""Batches and parts: what couples examples is computed on a batch, what costs memory on its parts.

A batch is one optimiser step.   `per_example` and `per_token` are *sums over the part divided by the total of the whole
optimiser batch* (over all ranks), so the losses of the parts add up to the batch's mean, whatever the split:

    Σ_parts Σ_i w_i x_i / W,     W = Σ_batch w_i      (per example)
    Σ_parts Σ_it w_i m_it x_it / Σ_batch w_i m_it     (per token)

No torch here: tensors are made by the tensors that come in (`x.new_tensor`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from plumbline.core.errors import UserError
from plumbline.core.nouns import Feedback


@dataclass(frozen=True, slots=True)
class Group:
    """A prompt and the N completions that share it, as token ids: what the kernel scores in one go.

    `preference`: see `Comparison`.   `desirable`: see `Label`.   `row`: 1-based row of the source, 0 if there is none.
    """

    prompt: tuple[int, ...]
    completions: tuple[tuple[int, ...], ...]
    weight: float = 1.0
    preference: float = 1.0
    desirable: bool = True
    row: int = 0
    item: Feedback | None = None

    @property
    def tokens(self) -> int:
        """Positions that a forward pass over this group computes: the prompt once, and every completion."""
        return len(self.prompt) + sum(map(len, self.completions))


@dataclass(frozen=True, slots=True)
class Totals:
    """Weighted totals of the whole optimiser batch, the divisors of every loss."""

    groups: float
    completions: float
    tokens: float
    first_tokens: float

    @staticmethod
    def of(groups: Iterable[Group]) -> Totals:
        """Count each unit, weighted by the group's weight."""
        rows = [(g.weight, len(g.completions), sum(map(len, g.completions)), len(g.completions[0])) for g in groups]
        return Totals(*(float(sum(r[0] * (r[i] if i else 1) for r in rows)) for i in range(4)))


@dataclass(frozen=True)
class Part:
    """A micro-batch of groups.   In shapes: G groups, N completions of all of them in order, K completions of the largest group, T tokens.

    `columns` are lists of one float per completion that travel with the part (advantages, rewards …), `spans` lists of one
    list per completion with one float per token (log-probabilities as sampled …).
    """

    groups: tuple[Group, ...]
    totals: Totals
    columns: dict[str, list[float]] = field(default_factory=dict)
    spans: dict[str, list[Sequence[float]]] = field(default_factory=dict)

    @property
    def completions(self) -> list[tuple[int, ...]]:
        """The N completions, group by group."""
        return [c for g in self.groups for c in g.completions]

    @property
    def shape(self) -> tuple[int, int]:
        """(N, T): completions, and tokens of the longest."""
        lengths = [len(c) for c in self.completions]
        return len(lengths), max(lengths)

    def column(self, name: str, like: Any) -> Any:
        """(G,) of a group's field (`preference`, `desirable`, `weight`) or (N,) of one of `columns`, as a tensor like `like`."""
        return like.new_tensor(self.columns[name] if name in self.columns else [float(getattr(g, name)) for g in self.groups])

    def span(self, name: str, like_NT: Any) -> Any:
        """(N, T) of one of `spans`, zero where there is no token."""
        width = like_NT.shape[1]
        return like_NT.new_tensor([[*row, *[0.0] * (width - len(row))] for row in self.spans[name]])

    def mask(self, like_NT: Any) -> Any:
        """(N, T) or, if `like_NT` has a row per group, (G, T) of its first completions: 1 on tokens, 0 on padding."""
        rows = self._rows(like_NT.shape[0])
        return like_NT.new_tensor([[1.0] * len(c) + [0.0] * (like_NT.shape[1] - len(c)) for c in rows])

    def sum(self, x_NT: Any) -> Any:
        """(N, T) per token → (G, K) per completion, the sum over its tokens; 0 where a group has fewer than K completions."""
        x_N = (x_NT * self.mask(x_NT)).sum(1)
        sizes = [len(g.completions) for g in self.groups]
        if all(s == sizes[0] for s in sizes):
            return x_N.view(len(sizes), sizes[0])
        at = [sum(sizes[:i]) for i in range(len(sizes))]
        index = [[at[i] + k if k < s else len(x_N) for k in range(max(sizes))] for i, s in enumerate(sizes)]
        extended = x_N.new_zeros(len(x_N) + 1)
        extended[:-1] = x_N
        return extended[x_N.new_tensor(index).long()]

    def mean(self, x_NT: Any) -> Any:
        """(N, T) per token → (G, K) per completion, the mean over its tokens; 0 where a group has fewer than K completions."""
        return self.sum(x_NT) / self.sum(x_NT.new_ones(x_NT.shape)).clamp(min=1)

    def agrees(self, margin_G: Any) -> Any:
        """1 or 0 for each comparison, whether its margin has the sign of the preference; ties left out: nobody can be right about them."""
        p_G = self.column("preference", like=margin_G)
        return ((margin_G > 0) == (p_G > 0.5)).to(margin_G.dtype)[p_G != 0.5]

    def first(self, x_NT: Any) -> Any:
        """(N, T) → (G, T): the rows of each group's first completion (the chosen one of a comparison)."""
        at, index = 0, []
        for g in self.groups:
            index.append(at)
            at += len(g.completions)
        return x_NT[index]

    def per_example(self, x: Any) -> Any:
        """Sum of (G,) or (N,) values over the batch's weighted count of that unit (see the top of this file)."""
        weight = self._weights(x, len(x))
        total = self.totals.groups if len(x) == len(self.groups) else self.totals.completions
        return (x * weight).sum() / total

    def per_token(self, x_NT: Any) -> Any:
        """Sum of (N, T) or (G, T) values over tokens, over the batch's weighted count of such tokens."""
        weight = self._weights(x_NT, len(x_NT))
        every = len(x_NT) == sum(len(g.completions) for g in self.groups)
        return (x_NT * self.mask(x_NT) * weight[:, None]).sum() / (self.totals.tokens if every else self.totals.first_tokens)

    def _rows(self, count: int) -> list[tuple[int, ...]]:
        rows = self.completions
        if count == len(rows):
            return rows
        if count == len(self.groups):
            return [g.completions[0] for g in self.groups]
        raise ValueError(f"{count} rows, but the part has {len(rows)} completions in {len(self.groups)} groups")

    def _weights(self, like: Any, count: int) -> Any:
        if count == len(self.groups):
            return like.new_tensor([g.weight for g in self.groups])
        self._rows(count)
        return like.new_tensor([g.weight for g in self.groups for _ in g.completions])


class Batch:
    """One optimiser step's groups; `parts` are this rank's micro-batches of at most `micro_tokens` positions (or one group)."""

    def __init__(
        self,
        groups: Sequence[Group],
        *,
        micro_tokens: int = 8192,
        rank: int = 0,
        ranks: int = 1,
        mean: Callable[[Any], Any] = lambda x: x.mean(),
        columns: Mapping[str, Sequence[float]] | None = None,
        spans: Mapping[str, Sequence[Sequence[float]]] | None = None,
    ) -> None:
        self.groups = tuple(groups)
        self.totals = Totals.of(self.groups)
        self.micro_tokens = micro_tokens
        self.rank, self.ranks = rank, ranks
        self.mean = mean
        self.columns, self.spans = columns or {}, spans or {}

    def parts(self) -> Iterator[Part]:
        """Micro-batches of similar length, longest first (so that a memory error comes at once)."""
        return (part for part, _ in self.cut())

    def pairs(self) -> Iterator[Part]:
        """The parts, where every group compares two completions."""
        for group in self.groups:
            if len(group.completions) != 2:
                raise UserError(
                    f"row {group.row} ranks {len(group.completions)} completions; this method compares two", "Split it into pairs."
                )
        return self.parts()

    def mismatched(self) -> Batch:
        """Every prompt with the first completion of the next group in the batch: what a model says to a prompt that it does not answer."""
        after = (*self.groups[1:], self.groups[0])
        rows = [replace(g, completions=other.completions[:1]) for g, other in zip(self.groups, after, strict=True)]
        return Batch(rows, micro_tokens=self.micro_tokens, rank=self.rank, ranks=self.ranks, mean=self.mean)

    def cut(self) -> Iterator[tuple[Part, list[int]]]:
        """The parts, each with the indices of its groups in the batch."""
        order = sorted(range(len(self.groups)), key=lambda i: (-self.groups[i].tokens, i))[self.rank :: self.ranks]
        held: list[int] = []
        tokens = 0
        for i in order:
            tokens += self.groups[i].tokens
            if held and tokens > self.micro_tokens:
                yield self._part(held), held
                held, tokens = [], self.groups[i].tokens
            held.append(i)
        if held:
            yield self._part(held), held

    def _part(self, indices: Sequence[int]) -> Part:
        groups = tuple(self.groups[i] for i in indices)
        if not (self.columns or self.spans):
            return Part(groups, self.totals)
        at = [0]
        for group in self.groups:
            at.append(at[-1] + len(group.completions))
        rows = [n for i in indices for n in range(at[i], at[i + 1])]
        columns = {name: [column[n] for n in rows] for name, column in self.columns.items()}
        return Part(groups, self.totals, columns, {name: [span[n] for n in rows] for name, span in self.spans.items()})


class Batches(Protocol):
    """What a method iterates: optimiser batches.   Asking for the next one ends the last: the engine steps the optimisers there."""

    def __iter__(self) -> Iterator[Batch]: ...
