"""A small real model directory of our own making, with a tokenizer of whole words and a chat template."""

from __future__ import annotations

from pathlib import Path

import pytest

from plumbline.models import selfcheck
from plumbline.models.fresh import fresh
from plumbline.models.lm import LM

WORDS = "hello there how are you i am fine thanks no yes what is the cat doing . , ? !".split()  # noqa: SIM905


@pytest.fixture(scope="session")
def small_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two layers of width 32, 30 words."""
    return fresh(tmp_path_factory.mktemp("model") / "small", WORDS, hidden=32, layers=2, heads=2, ffn=48, context=64)


@pytest.fixture
def small(small_dir: Path) -> LM:
    """A fresh copy of the small model, its backend forced so that no test looks into a home directory."""
    return LM.load(small_dir, attn="dense")


@pytest.fixture(autouse=True)
def _no_notes_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selfcheck, "NOTES", tmp_path / "kernel.json")
