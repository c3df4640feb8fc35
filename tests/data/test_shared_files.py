"""Every public file of feedback that people have: read, with what was done counted, or refused with a sentence that says what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
from data_fakes import Bytes

from plumbline.core.errors import RowError, UserError
from plumbline.core.nouns import Comparison, Demo, Label, Prompt, Rating
from plumbline.data import Plan, open_rows

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="the public data files (../shared/data) are not beside the repository")

EMPTY_ANSWERS = [677, 741, 743, 1374, 1423, 1586, 1727, 1770, 1927, 2258]  # "A: " and nothing

# file → kind wanted, items, bad rows, how many rows were read by which conversion
READ = {
    "hh-rlhf/train.jsonl.gz": (Comparison, 1596, [87, 517, 926, 1104], {"prompt cut at the last assistant marker": 1595}),
    "hh-rlhf/test.jsonl.gz": (Demo, 400, [], {"chosen taken as a demonstration": 400, "prompt cut at the last assistant marker": 397}),
    "llama-factory-demo/dpo_en_demo.json.gz": (Comparison, 300, [], {"conversations read as messages": 300}),
    "llama-factory-demo/kto_en_demo.json.gz": (Label, 300, [], {}),
    "llama-factory-demo/v1_dpo_demo.jsonl": (Comparison, 10, [], {"prompt cut before the last message": 10}),
    "llama-factory-demo/alpaca_en_demo.json.gz": (Demo, 999, [], {"Alpaca or Dolly columns read as chats": 999}),
    "llama-factory-demo/c4_demo.jsonl.gz": (Demo, 300, [], {"text read as a completion of nothing": 300}),
    "alpaca/alpaca_small_2000.json.gz": (Demo, 2000, [], {"Alpaca or Dolly columns read as chats": 2000}),
    "dolly/databricks_dolly_15k_sample.csv.gz": (Demo, 1000, [], {"Alpaca or Dolly columns read as chats": 1000}),
    "self-instruct/seed_tasks.jsonl": (Demo, 175, [], {"Self-Instruct instances read as chats": 175}),
    "alpaca-eval/claude_annotations_alpaca_eval_gpt4.json.gz": (
        Comparison,
        805,
        [],
        {"AlpacaEval pairs read as comparisons of chats": 805},
    ),
    "alpaca-eval/gpt-3.5-turbo-0301_annotations_alpaca_eval_gpt4.json.gz": (Comparison, 804, [132], {}),
    "alpaca-eval/vicuna-13b_annotations_alpaca_eval_gpt4.json.gz": (Comparison, 805, [], {}),
    "truthfulqa/finetune_truth_dev.jsonl.gz": (Label, 2544, EMPTY_ANSWERS, {"TruthfulQA verdicts read as labels": 2544}),
    "sst2/train.tsv.gz": (Label, 6920, [], {"text, label read as labels of a completion of nothing": 6920}),
    "sst2/dev.tsv": (Rating, 872, [], {"labels taken as ratings of 5 and 1": 872}),
    "truthfulqa/finetune_info_dev.jsonl.gz": (Demo, 2554, [], {}),
    "shepherd/human_data_for_model.jsonl.gz": (Demo, 1317, [], {"question, answer read as chats": 1317}),
    "xstest/xstest_v2_completions_gpt4.csv": (Demo, 450, [], {}),
    "jailbreak-llms/jailbreak_prompts_2023_05_07.csv.gz": (Prompt, 666, [], {}),
}


@pytest.mark.parametrize("name", READ)
def test_read(name: str) -> None:
    kind, items, bad, conversions = READ[name]
    rows = open_rows(SHARED / name, kind, skip_bad=True)
    assert (len(rows), [e.row for e in rows.skipped]) == (items, bad)
    assert conversions.items() <= rows.conversions.items()
    if kind is not Prompt:
        plan = Plan(rows, Bytes(), max_prompt_tokens=2048)
        assert len(plan) == items
        assert all(plan[i].completions[0][-1] == Bytes.eos_id for i in range(0, items, 100))


def test_bad_rows_of_hh_stop_without_skip_bad() -> None:
    with pytest.raises(RowError, match=r'train\.jsonl\.gz, row 87: "chosen" is empty'):
        open_rows(SHARED / "hh-rlhf/train.jsonl.gz", Comparison)


REFUSED = (
    sorted(str(p.relative_to(SHARED)) for p in SHARED.glob("*/*") if str(p.relative_to(SHARED)) not in READ) if SHARED.is_dir() else []
)


@pytest.mark.parametrize("folder", sorted({name.split("/")[0] for name in REFUSED}))
def test_anything_else_is_read_or_refused_with_a_mend(folder: str) -> None:
    for name in (n for n in REFUSED if n.startswith(folder + "/")):
        said = complaint(name)
        if said is not None:
            assert said.message.startswith(str(SHARED / name)), name
            assert said.mend, name
            assert "\n" not in said.message, name


def complaint(name: str) -> UserError | None:
    """What is said about a file that is refused; nothing if it is read."""
    try:
        return None if len(open_rows(SHARED / name)) else UserError("")
    except UserError as error:
        return error
