"""A new small Llama with a tokenizer of whole words, from random weights: where the town's models begin.

Text is split by ``\\w+|[^\\w\\s]`` after lower-casing; each piece is a token of its own.  The decoder puts one space between
tokens and then takes out those before . , ? ! : ; and around ', so that text with ordinary spacing comes back as it went in.
The chat template is ``<s><|user|>…<|assistant|>…</s>`` with an optional ``<|system|>`` first.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from plumbline.models import loading

SPECIALS = ("<pad>", "<s>", "</s>", "<unk>", "<|user|>", "<|assistant|>", "<|system|>")

TEMPLATE = (
    "{{ '<s>' }}{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ '</s>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def word_tokenizer(words: Sequence[str], context: int) -> PreTrainedTokenizerFast:
    """One token per word of the closed vocabulary, in the given order, after the special tokens."""
    ids = {word: i for i, word in enumerate([*SPECIALS, *words])}
    core = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    core.normalizer = normalizers.Lowercase()
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"\w+|[^\w\s]"), "removed", invert=True)
    tight = [decoders.Replace(f" {mark}", mark) for mark in ".,?!:;'"]
    core.decoder = decoders.Sequence([decoders.WordPiece(prefix="##", cleanup=False), decoders.Fuse(), *tight, decoders.Replace("' ", "'")])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        additional_special_tokens=list(SPECIALS[4:]),
        model_max_length=context,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def fresh(
    out: str | os.PathLike[str], words: Sequence[str], *, hidden: int, layers: int, heads: int, ffn: int, context: int = 512, seed: int = 0
) -> Path:
    """Write a model directory (tied embeddings, rope) with weights drawn from `seed`; returns its path."""
    tokenizer = word_tokenizer(words, context)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=ffn,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=context,
        tie_word_embeddings=True,
        bos_token_id=SPECIALS.index("<s>"),
        eos_token_id=SPECIALS.index("</s>"),
        pad_token_id=SPECIALS.index("<pad>"),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    path = Path(out)
    with loading.quiet():
        model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path
