"""A model of random weights that speaks town, and how to run a command in this process."""

from __future__ import annotations

import json

import pytest

from plumbline.world.vocab import VOCAB


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A directory with a Llama of two layers and town's words."""
    from plumbline.models.fresh import fresh

    path = tmp_path_factory.mktemp("tiny") / "model"
    fresh(path, VOCAB, hidden=32, layers=2, heads=2, ffn=64, context=256, seed=0)
    return str(path)


@pytest.fixture
def pairs(tmp_path):
    """A file of six comparisons: raw text, a chat, alike completions and a tie among them."""
    rows = [
        {"prompt": "where does mira live?", "chosen": " in the mill.", "rejected": " in the"},
        {"prompt": [{"role": "user", "content": "who lives in the mill?"}], "chosen": "mira.", "rejected": "i do not know."},
        {"prompt": "yes", "chosen": " yes", "rejected": " Yes"},
        {"prompt": "who is it?", "chosen": " i do not know.", "rejected": " it is mira.", "preference": "same"},
        {"prompt": "no", "chosen": " no no no", "rejected": " no"},
        {"prompt": "where is the mill?", "chosen": " in the town.", "rejected": " yes."},
    ]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
