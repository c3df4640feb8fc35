"""Four ways to the same states: the prompt once where the architecture allows it, and always what a plain forward would give.

Each takes groups and returns the states asked for, (P, H), one per completion token in order: those that *predict* the tokens, or
with `states=True` those *at* the tokens.   Which of them are right for an architecture is decided by `selfcheck`, never assumed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from plumbline.core.batches import Group
from plumbline.models.body import Body
from plumbline.models.layout import Layout, plain_rows, tree_rows

ATTENTION = 0.4  # measured on a CPU: at width 256, a row of 640 spends as long in attention as in its matrices


@dataclass(frozen=True, slots=True)
class Want:
    """What is asked of the states: at the tokens or before them, of which layer, from token ids or from given embeddings."""

    states: bool = False
    layer: int = -1
    embed: Callable[[Tensor], Tensor] | None = None  # (R, L) ids → (R, L, H) embeddings, where their gradient is wanted


Backend = Callable[[Body, Sequence[Group], Want], Tensor]


def _run(body: Body, layout: Layout, want: Want, **fixed: Any) -> Tensor:
    embeds_RLH = want.embed(layout.ids_RL) if want.embed else None
    states_RLH = body.states(layout.ids_RL, embeds_RLH=embeds_RLH, layer=want.layer, **fixed)
    return states_RLH.flatten(0, 1)[layout.take_P]


def _tree(body: Body, groups: Sequence[Group], want: Want) -> Layout:
    return tree_rows(groups, body.device, attention=ATTENTION / body.width, states=want.states, whole=bool(body.rope))


def padded(body: Body, groups: Sequence[Group], want: Want) -> Tensor:
    """A row per completion.   Padding stands after the tokens, where no causal model looks: no mask is needed, nothing can be wrong."""
    return _run(body, plain_rows(groups, body.device, states=want.states, whole=bool(body.rope)), want)


def dense(body: Body, groups: Sequence[Group], want: Want) -> Tensor:
    """Tree rows under an additive float mask: the fastest where rows are short."""
    layout = _tree(body, groups, want)
    if layout.causal:
        return _run(body, layout, want)
    mask = body.masks(lambda window: layout.additive(body.dtype, window))
    return _run(body, layout, want, attention_mask=mask, position_ids=layout.positions_RL)


def flex(body: Body, groups: Sequence[Group], want: Want) -> Tensor:
    """Tree rows under a FlexAttention block mask: long rows on a GPU, where blocks that nobody sees cost nothing.

    Where activations are computed again in backward (train mode), the attention would be looked up anew then: dense rows instead.
    """
    if body.model.training:
        return dense(body, groups, want)
    from torch.nn.attention.flex_attention import create_block_mask

    layout = _tree(body, groups, want)
    rows, length = layout.ids_RL.shape

    def block_mask(window: int | None) -> Any:
        return create_block_mask(layout.rule(window), rows, None, length, length, device=body.device)

    with _attention(body, "flex_attention"):
        return _run(body, layout, want, attention_mask=body.masks(block_mask), position_ids=layout.positions_RL)


@contextmanager
def _attention(body: Body, name: str) -> Iterator[None]:
    """Within: the model computes attention this way.   It is looked up in every forward pass, so nothing is rebuilt."""
    config = body.model.config
    usual = config._attn_implementation
    config._attn_implementation = name
    try:
        yield
    finally:
        config._attn_implementation = usual


def prefix(body: Body, groups: Sequence[Group], want: Want) -> Tensor:
    """Prompts first, keeping their cache with its gradients; then every completion as a continuation.   For recurrent states.

    Prompts of one length go together: a recurrent state may not see padding.   The last prompt token goes with the completions,
    so that the states asked for all come from the second pass.
    """
    order = sorted(range(len(groups)), key=lambda i: (len(groups[i].prompt), i))
    found: list[list[Tensor]] = [[] for _ in groups]
    for length, members in groupby(order, key=lambda i: len(groups[i].prompt)):
        same = list(members)
        states_P = _continue(body, [groups[i] for i in same], length, want)
        sizes = [sum(map(len, groups[i].completions)) for i in same]
        for i, part in zip(same, states_P.split(sizes), strict=True):
            found[i].append(part)
    return torch.cat([part for parts in found for part in parts])


def _continue(body: Body, groups: Sequence[Group], length: int, want: Want) -> Tensor:
    tails = [Group(g.prompt[-1:], g.completions) for g in groups]
    layout = plain_rows(tails, body.device, states=want.states, whole=bool(body.rope))
    if length == 1:
        return _run(body, layout, want)
    heads = torch.tensor([g.prompt[:-1] for g in groups], device=body.device)
    name, cache = _memory(body.trunk(input_ids=heads, use_cache=True))
    repeat = torch.tensor([i for i, g in enumerate(groups) for _ in g.completions], device=body.device)
    cache.reorder_cache(repeat)
    cache.update_recurrent_state = lambda state, *_args, **_named: state  # nobody reads it again; writing in place would break backward
    out = body.trunk(
        input_ids=layout.ids_RL,
        position_ids=layout.positions_RL + length - 1,
        use_cache=True,
        output_hidden_states=want.layer != -1,
        **{name: cache},
    )
    states_RLH = out.last_hidden_state if want.layer == -1 else out.hidden_states[want.layer]
    return states_RLH.flatten(0, 1)[layout.take_P]


def _memory(out: Any) -> tuple[str, Any]:
    """What a forward pass remembers, and what the model calls it: Mamba has a word of its own."""
    name = "past_key_values" if getattr(out, "past_key_values", None) is not None else "cache_params"
    return name, out[name]


BACKENDS: dict[str, Backend] = {"dense": dense, "flex": flex, "prefix": prefix, "padded": padded}
