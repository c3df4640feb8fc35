"""`data check` finds what is wrong with a file, by row; hashes name a file's bytes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from data_fakes import Bytes, write_lines

from plumbline.data.check import check, quantiles
from plumbline.data.sources import data_hash, is_world


def pair(prompt: str, chosen: str, rejected: str, **more: object) -> dict[str, object]:
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected, **more}


ROWS = [
    pair("q1", "good", "bad"),
    pair("q1", "bad", "good"),  # contradicts row 1
    pair("q1", "bad", "good", preference="same"),  # a tie contradicts nothing
    pair("q2", "q2 yes", "q2 no"),  # repeats its prompt
    pair("q1", "good", "bad", source="twice"),  # row 1 again
    pair("q3", "", "x"),  # bad
    pair("q4", "bad", "good", preference=0.2),  # says that good is better …
    pair("q4", "bad", "good"),  # … and this one that bad is
    {"prompt": "q5", "completions": ["c", "a", "b"], "ranking": [3, 1, 2]},
    {"prompt": "q5", "chosen": "c", "rejected": "a"},  # contradicts the ranking a > b > c
]


def test_findings_by_row(tmp_path: Path) -> None:
    file = write_lines(tmp_path / "x.jsonl", ROWS)
    other = write_lines(tmp_path / "eval.jsonl", [{"prompt": "new", "completion": "c"}, {"prompt": "q2", "completion": "c"}])
    found = check(file, eval_path=other)
    assert (found.kind, found.rows, found.unit) == ("comparisons", 9, "words")
    assert found.duplicates == [(1, 5)]
    assert found.contradictions == [(1, 2), (7, 8), (9, 10)]
    assert found.overlap == [(4, 2)]
    assert found.repeats == 1
    assert [f'{file}, row 6: "chosen" is empty.'] == found.bad
    assert json.loads(json.dumps(found.record()))["kind"] == "comparisons"
    text = found.text()
    assert "rows 1/5" in text
    assert "kept as meta only: source" in text
    assert "prompt would be trained on twice" in text


def test_the_mask_is_visible_and_the_cuts_are_counted(tmp_path: Path) -> None:
    file = write_lines(tmp_path / "x.jsonl", [pair("0123456789", "yes\nyes", "no")])
    found = check(file, tokenizer=Bytes(), max_prompt_tokens=5, max_completion_tokens=4)
    assert found.lengths == {"prompt": [11] * 6, "chosen": [8] * 6, "rejected": [3] * 6}
    assert found.truncated == {"raw prompts cut from the left": 1, "completions cut (without EOS)": 1}
    assert found.samples == [
        "row 1",
        "  prompt (5 tokens, not trained): ⟨bos⟩6789",
        "  chosen (4 tokens, trained): ⟦yes⏎⟧",
        "  rejected (3 tokens, trained): ⟦no⟨eos⟩⟧",
    ]


def test_quantiles_by_nearest_rank() -> None:
    assert quantiles(range(101)) == [0, 25, 50, 90, 99, 100]
    assert quantiles([7]) == [7] * 6
    assert quantiles([]) == []


def test_hashes_and_specs(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    file.write_bytes(b"abc")
    assert data_hash(file) == hashlib.sha256(b"abc").hexdigest()
    folder = data_hash(tmp_path)
    file.rename(tmp_path / "y.jsonl")
    assert data_hash(tmp_path) != folder
    assert is_world("town:comparisons?n=3")
    assert not is_world("towns.jsonl")
