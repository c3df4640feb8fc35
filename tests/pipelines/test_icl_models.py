"""In-context alignment with models: likelihoods that share the prompt are plain ones, and the commands from end to end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from plumbline.core.nouns import Demo, Message
from plumbline.data.promptfile import PromptFile, read
from plumbline.models.lm import LM
from plumbline.pipelines.icl import Likelihood, choose, split
from plumbline.pipelines.icl_search import Plan
from plumbline.world import sources as world
from plumbline.world.vocab import VOCAB

SHARED = Path(__file__).parents[3] / "shared"
OPTIONS = ("--k", "0..2", "--tries", "2", "--heldout", "3", "--max_completion_tokens", "8")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Llama of random weights with town's words."""
    from plumbline.models.fresh import fresh

    path = tmp_path_factory.mktemp("tiny") / "model"
    fresh(path, VOCAB, hidden=32, layers=2, heads=2, ffn=64, context=256, seed=0)
    return str(path)


def plain(lm: LM, context: Any, reply: str) -> float:
    """Mean log-probability of the reply's tokens, by one forward of the whole text."""
    head, tail = lm.tokenizer.context_ids(context), lm.tokenizer.completion_ids(context, reply)
    with torch.no_grad():
        logps = lm.model(torch.tensor([[*head, *tail]])).logits[0].double().log_softmax(-1)
    return sum(float(logps[len(head) + i - 1, token]) for i, token in enumerate(tail)) / len(tail)


@pytest.mark.parametrize("k", [0, 3])
def test_sharing_the_prompt_changes_no_likelihood(tiny: str, k: int):
    """Twelve questions of several lengths, in more than one row of the kernel, against whole texts one by one."""
    lm, demos = LM.load(tiny, attn="dense"), world.demos(16, seed=2)
    shown, asked = demos[:k], demos[4:]
    turns: tuple[Message, ...] = tuple(m for d in shown for m in (*d.context, Message("assistant", d.completion)))  # type: ignore[misc]
    found = Likelihood(lm, asked)(PromptFile((), tuple(shown)))
    assert found == pytest.approx([plain(lm, (*turns, *d.context), d.completion) for d in asked], abs=1e-5)


def test_the_commands_from_end_to_end(tiny: str, tmp_path: Path, command: Any):
    """The same seed writes the same file; eval and sample take it; the rows that sample writes have the prompts as they were."""
    demos, prompt = "town:demos?n=16&seed=1", tmp_path / "prompt.yaml"
    code, found, _, _ = command("icl", "--model", tiny, "--demos", demos, "--out", prompt, *OPTIONS, "--json")
    assert code == 0
    assert found["curve"].keys() == {"0", "1", "2"}
    assert found["score"] == max(found["curve"].values())
    assert (tmp_path / "prompt.run" / "metrics.jsonl").is_file()
    assert command("icl", "--model", tiny, "--demos", demos, "--out", tmp_path / "again", *OPTIONS)[0] == 0
    assert (tmp_path / "again" / "prompt.yaml").read_bytes() == prompt.read_bytes()
    two = PromptFile((), tuple(world.demos(2, seed=1)))
    prompt.write_text(two.text())
    code, found, _, _ = command(
        "eval", tiny, "--against", tiny, "--prompt", prompt, "--prompts", "13", "--max_completion_tokens", "8", "--json"
    )
    assert code == 0
    assert set(found["gold"]) == {"model + prompt", "model"}
    assert "kl" not in found
    assert (
        command("sample", tiny, "--prompts", "town:prompts?n=2", "--prompt", prompt, "--max_tokens", "8", "--out", tmp_path / "r.jsonl")[0]
        == 0
    )
    rows = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert all(len(row["prompt"]) == 1 for row in rows)


def test_a_files_rows_are_scored_after_the_prompt(tiny: str, tmp_path: Path, command: Any):
    rows = tmp_path / "demos.jsonl"
    demos = world.demos(3, seed=4)
    said = [{"prompt": [{"role": m.role, "content": m.content} for m in d.context], "completion": d.completion} for d in demos]  # type: ignore[union-attr]
    rows.write_text("".join(json.dumps(row) + "\n" for row in said))
    prompt = tmp_path / "p.yaml"
    prompt.write_text(PromptFile((), (Demo((Message("user", "who lives in the mill?"),), "mira."),)).text())
    code, found, _, _ = command("eval", tiny, "--on", rows, "--prompt", prompt, "--json")
    assert code == 0
    lm, shown = LM.load(tiny, attn="dense"), read(prompt)
    expected = Likelihood(lm, demos)(shown)
    assert found["likelihood"]["model + prompt"]["nll"]["mean"] == pytest.approx(-sum(expected) / 3, abs=1e-5)
    code, _, _, said = command("eval", tiny, "--on", rows, "--prompt", prompt, "--against", tiny)
    assert code == 2
    assert "not paired" in said


def test_what_cannot_be_is_said(tiny: str, tmp_path: Path, command: Any):
    for options, says in (
        (("--demos", "town:demos?n=16"), "needs --out"),
        (("--demos", "town:demos?n=6", "--out", tmp_path / "a", "--heldout", "3"), "too few to hold out"),
        (("--demos", "town:demos?n=16", "--out", tmp_path / "b", "--k", "two"), "--k is 'two'"),
        (("--demos", "town:demos?n=16", "--out", tmp_path / "c", "--principles", tmp_path / "none"), "cannot be read"),
        (("--demos", "town:demos?n=16", "--out", tmp_path / "d", "--reward", "gold"), "a reward scores replies to prompts"),
    ):
        code, _, _, said = command("icl", "--model", tiny, *options)
        assert code == 2, options
        assert says in said


def test_a_real_model_foresees_held_out_instructions_better_after_chosen_ones():
    """Mechanics, on a real model and real instructions: the search's own score rises, and is what it says on the rows of the check."""
    model, data = SHARED / "models" / "dialogue5M", SHARED / "data" / "llama-factory-demo" / "alpaca_en_demo.json.gz"
    if not model.is_dir() or not data.is_file():
        pytest.skip("../shared with the model dialogue5M and the instructions of llama-factory-demo is not here")
    from plumbline.data import open_rows

    lm = LM.load(model, attn="dense")
    short = [d for d in open_rows(data, Demo)[:400] if len(d.completion) < 120 and len(str(d.context)) < 200][:24]
    candidates, held_out, others = split(short, 6, 0)
    found = choose(candidates, Likelihood(lm, held_out), Plan(0, 2, tries=4, orders=2), check=Likelihood(lm, others))
    assert found.searched.best.score >= found.searched.by_size[0].score
    assert set(found.check) == {"prompt", "nothing", "difference"}
    assert found.asked >= 5
