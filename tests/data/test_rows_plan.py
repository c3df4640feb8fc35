"""From a file to groups of ids: what is read, where prompts end, what is cut."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from data_fakes import BOS, EOS, Bytes, Pairs, write_lines

from plumbline.core.errors import RowError
from plumbline.core.nouns import Comparison, Demo, Label, Message, Prompt, Rating
from plumbline.data import Plan, open_rows

HH = {"chosen": "\n\nHuman: hi\n\nAssistant: Hello.", "rejected": "\n\nHuman: hi\n\nAssistant: Go away."}


def test_a_comparison_becomes_prompt_and_two_completions(tmp_path: Path) -> None:
    file = write_lines(tmp_path / "pairs.jsonl", [{"prompt": "Q", "chosen": "yes", "rejected": "no", "preference": 0.75, "weight": 2}])
    group = Plan(open_rows(file, Comparison), Bytes())[0]
    assert group.prompt == (BOS, *b"Q")
    assert group.completions == ((*b"yes", EOS), (*b"no", EOS))
    assert (group.preference, group.weight, group.row) == (0.75, 2.0, 1)


def test_kinds_are_told_by_their_columns(tmp_path: Path) -> None:
    rows = {
        Demo: {"prompt": "p", "completion": "c"},
        Comparison: {"prompt": "p", "completions": ["worse", "best", "worst"], "ranking": [2, 1, 3]},
        Rating: {"prompt": "p", "completion": "c", "scores": {"helpful": 4}},
        Label: {"prompt": "p", "completion": "c", "label": False},
        Prompt: {"prompt": "p"},
    }
    for kind, row in rows.items():
        found = open_rows(write_lines(tmp_path / "one.jsonl", [row]))
        assert found.kind is kind
        assert isinstance(found[0], kind)
        if kind is Comparison:
            assert found[0].completions == ("best", "worse", "worst")
        if kind is Label:
            assert found[0].desirable is False


def test_hh_dialogues_end_their_prompt_at_the_last_marker(tmp_path: Path) -> None:
    rows = open_rows(write_lines(tmp_path / "hh.jsonl", [HH]), Comparison)
    assert rows[0].context == "\n\nHuman: hi\n\nAssistant:"
    assert rows[0].completions == (" Hello.", " Go away.")
    assert dict(rows.conversions) == {"prompt cut at the last assistant marker": 1}


def test_dialogues_that_part_early_are_cut_at_the_last_marker_they_share(tmp_path: Path) -> None:
    row = {"chosen": HH["chosen"] + "\n\nHuman: more\n\nAssistant: Sure.", "rejected": HH["rejected"]}
    rows = open_rows(write_lines(tmp_path / "hh.jsonl", [row]), Comparison)
    assert rows[0].context == "\n\nHuman: hi\n\nAssistant:"
    assert rows[0].completions == (" Hello.\n\nHuman: more\n\nAssistant: Sure.", " Go away.")


def test_without_a_marker_the_cut_waits_for_the_tokens(tmp_path: Path) -> None:
    # "abcX…" and "abcY…" share 3 characters; tokens are pairs (ab)(cX) and (ab)(cY): both agree only up to "ab"
    rows = open_rows(write_lines(tmp_path / "w.jsonl", [{"chosen": "abcX!", "rejected": "abcY?"}]), Comparison)
    assert rows[0].context == "abc"
    tokenizer = Pairs()
    group = Plan(rows, tokenizer)[0]
    assert group.prompt == tuple(tokenizer.context_ids("ab"))
    assert group.completions[0] == (*tokenizer.context_ids("abcX!")[1:], EOS)
    assert group.item is not None
    assert group.item.context == "ab"


def test_a_chat_is_trained_turn_by_turn(tmp_path: Path) -> None:
    turns = [("system", "S"), ("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")]
    row = {"messages": [{"role": r, "content": c} for r, c in turns]}
    rows = open_rows(write_lines(tmp_path / "chat.jsonl", [row, row]), Demo)
    assert [(len(i.context), i.completion) for i in rows] == [(2, "b"), (4, "d")] * 2
    assert [rows.row(i) for i in range(4)] == [1, 1, 2, 2]
    assert [(row, len(found)) for row, found in rows.by_row()] == [(1, 2), (2, 2)]
    assert [g.row for g in Plan(rows, Bytes())] == [1, 1, 2, 2]


def test_one_tokens_file_list_gz_csv_parquet_and_arrow_are_the_same(tmp_path: Path) -> None:
    rows = [{"prompt": f'p{i}, "é"\n', "chosen": "ja\u2028", "rejected": "nein" * i} for i in range(1, 30)]
    write_lines(tmp_path / "a.jsonl", rows)
    (tmp_path / "b.json").write_text(json.dumps(rows, indent=2))
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress((tmp_path / "a.jsonl").read_bytes()))
    import pandas as pd
    from datasets import Dataset

    frame = pd.DataFrame(rows)
    frame.to_csv(tmp_path / "d.csv")
    frame.to_csv(tmp_path / "e.tsv.gz", sep="\t", index=False)
    frame.to_parquet(tmp_path / "f.parquet", row_group_size=7)
    Dataset.from_list(rows).save_to_disk(str(tmp_path / "g"))
    want = [(i.context, i.completions) for i in open_rows(tmp_path / "a.jsonl", Comparison)]
    assert len(want) == 29
    for name in ("b.json", "c.jsonl.gz", "d.csv", "e.tsv.gz", "f.parquet", "g"):
        found = open_rows(tmp_path / name, Comparison)
        assert [(i.context, i.completions) for i in found] == want, name
        assert found.row(28) == 29


def test_a_bad_row_is_named_or_left_out(tmp_path: Path) -> None:
    file = write_lines(tmp_path / "x.jsonl", [HH, HH | {"rejected": " "}, HH])
    with pytest.raises(RowError) as caught:
        open_rows(file, Comparison)
    assert (caught.value.row, caught.value.field) == (2, "rejected")
    assert "--skip_bad" in caught.value.mend
    rows = open_rows(file, Comparison, skip_bad=True)
    assert (len(rows), [e.row for e in rows.skipped], rows.row(1)) == (2, [2], 3)


def test_comparisons_serve_as_demonstrations_and_labels(tmp_path: Path) -> None:
    file = write_lines(tmp_path / "x.jsonl", [{"prompt": "p", "chosen": "good", "rejected": "bad"}])
    assert [i.completion for i in open_rows(file, Demo)] == ["good"]
    assert [(i.completion, i.desirable) for i in open_rows(file, Label)] == [("good", True), ("bad", False)]
    with pytest.raises(RowError, match="is one of comparisons, but ratings are wanted"):
        open_rows(file, Rating)


def test_texts_with_labels_are_labels_of_a_completion_of_nothing(tmp_path: Path) -> None:
    plain, headed = tmp_path / "sst.tsv", tmp_path / "headed.csv"
    plain.write_text("a fine film\t1\n\nno laughs , no\t0\n")
    headed.write_text('text,label\na fine film,true\n"no laughs , no",0\n')
    lines = write_lines(tmp_path / "x.jsonl", [{"text": "a fine film", "label": 1}, {"text": "no laughs , no", "label": False}])
    for file in (plain, headed, lines):
        rows = open_rows(file)
        assert [(i.context, i.completion, i.desirable) for i in rows] == [("", "a fine film", True), ("", "no laughs , no", False)]
        assert rows.conversions == {"text, label read as labels of a completion of nothing": 2}
        assert rows.row(0) == 1, "the first line is a row"


def test_labels_serve_as_ratings_of_the_ends_of_the_scale(tmp_path: Path) -> None:
    file = write_lines(tmp_path / "x.jsonl", [{"prompt": "p", "completion": "c", "label": up, "annotator": "eve"} for up in (True, False)])
    assert [(dict(i.scores), i.completion, i.annotator) for i in open_rows(file, Rating)] == [
        ({"label": 5.0}, "c", "eve"),
        ({"label": 1.0}, "c", "eve"),
    ]
    truth = write_lines(tmp_path / "truth.jsonl", [{"prompt": "Q: Is it?\nA: It is.\nTrue:", "completion": " no"}])
    (rated,) = open_rows(truth, Rating)
    assert (rated.context, rated.completion, dict(rated.scores)) == ("Q: Is it?\nA:", " It is.", {"label": 1.0})


def chat(*said: str) -> list[dict[str, str]]:
    roles = {"s": "system", "u": "user", "a": "assistant"}
    return [{"role": roles[text[0]], "content": text} for text in said]


def test_a_long_chat_loses_its_oldest_whole_messages_and_keeps_system(tmp_path: Path) -> None:
    row = {"prompt": chat("s1", "u1" * 20, "a1", "u2", "a2", "u3"), "completion": "fine"}
    rows = open_rows(write_lines(tmp_path / "x.jsonl", [row]), Demo)
    tokenizer = Bytes()
    kept = (Message("system", "s1"), Message("user", "u2"), Message("assistant", "a2"), Message("user", "u3"))
    plan = Plan(rows, tokenizer, max_prompt_tokens=len(tokenizer.context_ids(kept)))
    assert plan[0].prompt == tuple(tokenizer.context_ids(kept))
    assert plan.counts["prompts that lost their oldest messages"] == 1
    shorter = Plan(rows, tokenizer, max_prompt_tokens=len(tokenizer.context_ids(kept)) - 1)
    assert shorter[0].prompt == tuple(tokenizer.context_ids((kept[0], kept[3])))


def test_a_last_message_too_long_keeps_its_end(tmp_path: Path) -> None:
    rows = open_rows(write_lines(tmp_path / "x.jsonl", [{"prompt": chat("u" + "0123456789" * 9), "completion": "fine"}]), Demo)
    tokenizer = Bytes()
    plan = Plan(rows, tokenizer, max_prompt_tokens=40)
    assert len(plan[0].prompt) == 40
    assert tokenizer.decode(plan[0].prompt).startswith("<user>")
    assert tokenizer.decode(plan[0].prompt).endswith("789\n<assistant>")
    assert plan.counts["prompts whose last message was cut from the left"] == 1
    with pytest.raises(RowError, match="the template alone takes"):
        Plan(rows, tokenizer, max_prompt_tokens=10)


def test_raw_text_loses_its_beginning_but_not_bos(tmp_path: Path) -> None:
    rows = open_rows(write_lines(tmp_path / "x.jsonl", [{"prompt": "abcdef", "completion": "xyz"}]), Demo)
    plan = Plan(rows, Bytes(), max_prompt_tokens=4, max_completion_tokens=2)
    assert plan[0].prompt == (BOS, *b"def")
    assert plan[0].completions == ((*b"xy",),)  # cut: no EOS
    assert dict(plan.counts) == {"raw prompts cut from the left": 1, "completions cut (without EOS)": 1}
    assert Plan(rows, Bytes(), max_completion_tokens=4)[0].completions == ((*b"xyz", EOS),)


def test_text_that_was_cut_gets_no_eos(tmp_path: Path) -> None:
    rows = open_rows(write_lines(tmp_path / "x.jsonl", [{"prompt": "p", "completion": "half a sen", "complete": False}]), Demo)
    assert EOS not in Plan(rows, Bytes())[0].completions[0]


def test_pairs_that_the_cut_makes_alike_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = [
        {"prompt": "p", "chosen": "same beginning, good", "rejected": "same beginning, bad"},
        {"prompt": "p", "chosen": "A", "rejected": "B"},
    ]
    plan = Plan(open_rows(write_lines(tmp_path / "x.jsonl", rows), Comparison), Bytes(), max_completion_tokens=10)
    assert [g.row for g in plan] == [2]
    assert plan.counts["comparisons left out because both completions are alike after the cut"] == 1


def test_what_the_template_empties_is_named(tmp_path: Path) -> None:
    class Thinking(Bytes):
        def completion_ids(self, context: object, completion: str, *, complete: bool = True) -> list[int]:
            return super().completion_ids("", completion.split("</think>")[-1], complete=complete)

    row = {"prompt": chat("u"), "chosen": "yes", "rejected": "<think>nothing else</think>"}
    rows = open_rows(write_lines(tmp_path / "x.jsonl", [row | {"rejected": "no"}, row]), Comparison)
    with pytest.raises(RowError) as caught:
        Plan(rows, Thinking())
    assert (caught.value.row, caught.value.field) == (2, "rejected")
    assert "empty after the chat template" in caught.value.problem
    plan = Plan(rows, Thinking(), skip_bad=True)
    assert (len(plan), plan.skipped[0].row) == (1, 2)


def test_rows_with_unknown_words_are_counted(tmp_path: Path) -> None:
    class Ascii(Bytes):
        unk_id: int | None = 0

        def completion_ids(self, context: object, completion: str, *, complete: bool = True) -> list[int]:
            return super().completion_ids("", "".join(c if c.isascii() else "\0" for c in completion), complete=complete)

    rows = [{"prompt": "p", "completion": text} for text in ("plain", "naïve café", "also plain")]
    plan = Plan(open_rows(write_lines(tmp_path / "x.jsonl", rows), Demo), Ascii())
    assert plan.counts["rows with words that the tokenizer does not know (they become its unknown token)"] == 1
    assert [g.row for g in plan] == [1, 2, 3]


def test_groups_that_are_kept_are_those_that_are_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [Comparison(f"prompt {i}", (f"a{i}", f"b{i}") if i % 3 else ("same", "same")) for i in range(9)]  # of which three are left out
    whole = Plan(rows, Bytes())
    monkeypatch.setattr("plumbline.data.plan.KEPT", 3 * whole.lengths[0])
    few = Plan(rows, Bytes())
    assert len(few._made) == 3 < len(whole._made) == len(few) == 6
    assert list(few) == list(whole)
    assert few[-1] == whole[5] != whole[0]
    assert few[2:4] == [whole[2], whole[3]]
