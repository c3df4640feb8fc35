"""Real things: the public files and models beside the checkout where they are, and a model directory that nobody announced."""

from __future__ import annotations

from pathlib import Path

import pytest
from real_rows import written

SHARED = Path(__file__).parents[3] / "shared"
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
WORDS = (
    "The old mill stands by the river, and Mira lives there with two dogs.",
    "Could you please say who is the baker's friend? I do not know; I'm sorry, but nobody told me.",
    "user assistant system: 1, 2, 3! How do I bake bread? Mix flour, water and salt; then wait.",
)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of public files and models, which is no part of the project."""
    if not (SHARED / "data").is_dir():
        pytest.skip("the folder ../shared with public data and models is not here")
    return SHARED


@pytest.fixture(scope="session")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GPT-2 of random weights, sharp enough to have opinions: byte-level BPE trained on the spot, ChatML, no BOS, 256 positions."""
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    path = tmp_path_factory.mktemp("gpt2") / "model"
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(
        list(WORDS) * 8,
        vocab_size=400,
        min_frequency=2,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        show_progress=False,
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe._tokenizer, eos_token="<|endoftext|>", model_max_length=256)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(path)
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=len(tokenizer), n_positions=256, n_embd=48, n_layer=2, n_head=3, bos_token_id=0, eos_token_id=0)
    model = GPT2LMHeadModel(config)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() == 2:
                weight.mul_(8)
    model.save_pretrained(path)
    return path


@pytest.fixture
def chats(tmp_path: Path) -> Path:
    """Comparisons as chats, one with a system turn and several turns."""
    ask = {"role": "user", "content": "Who is the baker's friend?"}
    rows = [
        {"prompt": [ask], "chosen": "Mira.", "rejected": "I do not know, nobody told me."},
        {"prompt": [{"role": "system", "content": "Be short."}, ask], "chosen": " Mira, the old one.", "rejected": "No!"},
        {
            "prompt": [ask, {"role": "assistant", "content": "Mira."}, {"role": "user", "content": "How do I bake bread?"}],
            "chosen": "Mix flour, water and salt;\nthen wait.",
            "rejected": "I'm sorry.",
        },
        {"prompt": [ask], "chosen": "Say please", "rejected": "The river", "preference": "same"},
    ]
    return written(tmp_path / "chats.jsonl", rows)
