"""Sequence-classification directories of transformers: what they say of their heads, and how one is written.

transformers reads a text at the rightmost token that is not the padding token.   So a padding token that ends replies (EOS, as many
tokenizers without one have it) makes it read one token too early: where we choose, we choose another.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from plumbline.core.batches import Group
from plumbline.core.nouns import Reply, Turn
from plumbline.models import loading
from plumbline.models.tokenizer import HFTokenizer

KEY = "plumbline_reward"  # in config.json
PAD = "<|pad|>"


def take(config: Any) -> dict[str, Any]:
    """What config.json keeps of our heads, taken out of it (nothing in a directory that others made)."""
    kept = getattr(config, KEY, None) or {}
    if hasattr(config, KEY):
        delattr(config, KEY)
    return dict(kept)


def names(config: Any, kept: Mapping[str, Any]) -> tuple[str, ...]:
    """The heads' names: ours, else the labels, where they are more than LABEL_0; one that has no name is "reward"."""
    if kept.get("heads"):
        return tuple(kept["heads"])
    labels = tuple(str(config.id2label[i]) for i in range(config.num_labels))
    return ("reward",) if labels == ("LABEL_0",) else labels


def ids_of(tokenizer: HFTokenizer, turn: Turn) -> tuple[int, ...]:
    """A reply in this tokenizer's ids: as sampled if they are its own, else the text tokenised anew."""
    reply = turn.reply
    if _mine(tokenizer, reply):
        return reply.ids
    return tuple(tokenizer.completion_ids(turn.context, reply.text, complete=reply.finish == "stop"))


def _mine(tokenizer: HFTokenizer, reply: Reply) -> bool:
    """Whether a reply's ids, as sampled, are this tokenizer's: they decode to its text, and end as a reply that is complete does here."""
    if not reply.text or not reply.ids or max(reply.ids) >= tokenizer.vocab_size:
        return False
    ended = reply.finish != "stop" or reply.ids[-1] in tokenizer.end_ids
    return ended and tokenizer.decode(reply.ids) in (reply.text, reply.text.removeprefix(" "))  # some leave out a first token's space


def fitted(group: Group, config: Any, bos: int | None) -> Group:
    """A group within the model's context: a prompt too long loses its oldest tokens (not BOS), then a completion its last."""
    limit = getattr(config.get_text_config(), "max_position_embeddings", None)
    longest = max(map(len, group.completions))
    if limit is None or len(group.prompt) + longest <= limit:
        return group
    room = max(limit - longest, 2)
    start = group.prompt[:1] if group.prompt[0] == bos else ()
    prompt = (*start, *group.prompt[len(group.prompt) - room + len(start) :]) if len(group.prompt) > room else group.prompt
    return replace(group, prompt=prompt, completions=tuple(c[: limit - len(prompt)] for c in group.completions))


def save(
    directory: str | os.PathLike[str], trunk: Any, head_CH: Tensor, tokenizer: HFTokenizer, kept: Mapping[str, Any], pad: int | None
) -> None:
    """Write model, tokenizer and config.   `pad`: the padding token that the model was trained to pass over, None for one of our choice."""
    from transformers import AutoModelForSequenceClassification

    hf = copy.deepcopy(tokenizer.hf)
    rows = trunk.get_input_embeddings().num_embeddings
    padding = _harmless(hf, rows, tokenizer.end_ids) if pad is None else pad
    hf.pad_token = hf.convert_ids_to_tokens(padding)
    if padding >= rows:
        trunk = copy.deepcopy(trunk)
        trunk.resize_token_embeddings(padding + 1, mean_resizing=False)
    config = copy.deepcopy(trunk.config)
    config.id2label = dict(enumerate(kept["heads"]))
    config.label2id = {name: i for i, name in config.id2label.items()}
    config.get_text_config().pad_token_id = padding
    setattr(config, KEY, dict(kept))
    with torch.device("meta"), loading.quiet():
        shell = AutoModelForSequenceClassification.from_config(config)
    setattr(shell, shell.base_model_prefix, trunk)
    shell.score.weight = nn.Parameter(head_CH.detach().to(trunk.dtype))
    with loading.quiet():
        shell.save_pretrained(directory)
    hf.save_pretrained(directory)


def _harmless(hf: Any, rows: int, ends: frozenset[int]) -> int:
    """A token that no reply ends with: the padding token, else BOS, else a new one."""
    for i in (hf.pad_token_id, hf.bos_token_id):
        if i is not None and i < rows and i not in ends:
            return i
    hf.add_special_tokens({"pad_token": PAD})
    return hf.pad_token_id
