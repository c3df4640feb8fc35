"""Files that people really have, and files that nobody should: each is refused by file, row and field, never with a traceback.

A case: name → (file name, bytes, row, field, words of the problem).   Row 0: the file as a whole is refused.
"""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest

from plumbline.core.errors import RowError, UserError
from plumbline.core.nouns import Comparison, Demo, Label, Rating
from plumbline.data import open_rows

Case = tuple[str, bytes, int, str, str]
GOOD: dict[type, dict[str, Any]] = {
    Demo: {"prompt": "p", "completion": "c"},
    Comparison: {"prompt": "p", "chosen": "a", "rejected": "b"},
    Rating: {"prompt": "p", "completion": "c", "scores": {"helpful": 3}},
    Label: {"prompt": "p", "completion": "c", "label": True},
}


def lines(*rows: Any) -> bytes:
    return b"".join((row if isinstance(row, bytes) else json.dumps(row).encode()) + b"\n" for row in rows)


def second(kind: type, bad: Any) -> bytes:
    """A good row, the bad one, a good one."""
    return lines(GOOD[kind], bad, GOOD[kind])


def change(kind: type, **columns: Any) -> dict[str, Any]:
    return GOOD[kind] | columns


def without(kind: type, column: str) -> dict[str, Any]:
    return {k: v for k, v in GOOD[kind].items() if k != column}


def turns(*pairs: tuple[str, Any]) -> list[dict[str, Any]]:
    return [{"role": role, "content": content} for role, content in pairs]


U, A = ("user", "hi"), ("assistant", "hello")
WHOLE = "(whole row)"

SYNTAX: dict[type, dict[str, Any]] = {
    Demo: {
        "half a line": (b'{"prompt": "p", "comple', WHOLE, "not valid JSON"),
        "a trailing comma in a row": (b'{"prompt": "p", "completion": "c",}', WHOLE, "not valid JSON"),
        "a comma after a row": (b'{"prompt": "p", "completion": "c"},', WHOLE, "not valid JSON"),
        "two rows on a line": (b'{"prompt": "p", "completion": "c"} {"prompt": "p", "completion": "c"}', WHOLE, "not valid JSON"),
        "single quotes": (b"{'prompt': 'p', 'completion': 'c'}", WHOLE, "not valid JSON"),
        "a comment": (b'// {"prompt": "p"}', WHOLE, "not valid JSON"),
        "a list as a row": (b'["p", "c"]', WHOLE, "a list, not a JSON object"),
        "a text as a row": (b'"p"', WHOLE, "text, not a JSON object"),
        "null as a row": (b"null", WHOLE, "null, not a JSON object"),
        "latin-1": ('{"prompt": "caf\u00e9", "completion": "c"}'.encode("latin-1"), WHOLE, "not UTF-8"),
        "a byte that starts nothing": (b'{"prompt": "\xff", "completion": "c"}', WHOLE, "not UTF-8"),
        "an overlong encoding": (b'{"prompt": "\xc0\xaf", "completion": "c"}', WHOLE, "not UTF-8"),
        "a raw control character": (b'{"prompt": "a\x01b", "completion": "c"}', WHOLE, "not valid JSON"),
        "a raw NUL": (b'{"prompt": "a\x00b", "completion": "c"}', WHOLE, "not valid JSON"),
        "a written NUL": (b'{"prompt": "a\\u0000b", "completion": "c"}', "prompt", "NUL"),
        "half a surrogate pair": (b'{"prompt": "p", "completion": "\\ud83d"}', "completion", "surrogate"),
        "a surrogate in a column nobody reads": (b'{"prompt": "p", "completion": "c", "x": {"y": ["\\udc00"]}}', "x", "surrogate"),
        "a repeated column": (b'{"prompt": "p", "completion": "c", "completion": "d"}', "completion", "stands twice"),
        "a repeated key inside": (b'{"prompt": "p", "completion": "c", "m": {"a": 1, "a": 2}}', "m", "stands twice"),
        "NaN": (b'{"prompt": "p", "completion": "c", "weight": NaN}', "weight", "NaN"),
        "Infinity": (b'{"prompt": "p", "completion": "c", "weight": -Infinity}', "weight", "Infinity"),
        "a float beyond floats": (b'{"prompt": "p", "completion": "c", "weight": 1e999}', "weight", "beyond any float"),
        "a huge whole number": (b'{"prompt": "p", "completion": "c", "weight": ' + b"9" * 5000 + b"}", "weight", "5000 digits"),
        "nested 100 deep": (b'{"prompt": "p", "completion": "c", "x": ' + b"[" * 100 + b"]" * 100 + b"}", "x", "nested deeper"),
        "nested 100,000 deep": (b'{"prompt": "p", "completion": "c", "x": ' + b"[" * 100000 + b"]" * 100000 + b"}", WHOLE, "nested deeper"),
    },
}
FIELDS: dict[type, dict[str, Any]] = {
    Demo: {
        "no completion": (without(Demo, "completion"), "completion", "is missing"),
        "no prompt": (without(Demo, "prompt"), "prompt", "is missing"),
        "nothing known": ({"question_id": 3}, WHOLE, "none of the columns"),
        "an empty object": ({}, WHOLE, "none of the columns"),
        "an empty completion": (change(Demo, completion=""), "completion", "is empty"),
        "a blank completion": (change(Demo, completion=" \n\t"), "completion", "is empty"),
        "completion null": (change(Demo, completion=None), "completion", "is null"),
        "prompt null": (change(Demo, prompt=None), "prompt", "is null"),
        "prompt a number": (change(Demo, prompt=7), "prompt", "is a number"),
        "completion a number": (change(Demo, completion=7), "completion", "is a number"),
        "completion a list of texts": (change(Demo, completion=["c"]), "completion[0]", "is text without role"),
        "a chat reply after raw text": (change(Demo, completion=turns(A)), "completion", "raw text"),
        "a prompt without messages": (change(Demo, prompt=[]), "prompt", "empty list"),
        "a prompt that ends with the assistant": (change(Demo, prompt=turns(U, A)), "prompt", "ends with an assistant"),
        "a reply by the user": ({"prompt": turns(U), "completion": turns(U)}, "completion", "is a user message"),
        "a weight below zero": (change(Demo, weight=-1), "weight", "not a number"),
        "a weight in words": (change(Demo, weight="2"), "weight", "not a number"),
        "an annotator by number": (change(Demo, annotator=4), "annotator", "is a number"),
        "complete in words": (change(Demo, complete="no"), "complete", "is text"),
        "messages as text": ({"messages": "hi"}, "messages", "is text"),
        "no messages": ({"messages": []}, "messages", "empty list"),
        "no reply": ({"messages": turns(U)}, "messages", "no assistant message"),
        "only a reply": ({"messages": turns(A)}, "messages", "no assistant message"),
        "ends with the user": ({"messages": turns(U, A, U)}, "messages", "ends with a user"),
        "an unknown role": ({"messages": turns(("wizard", "hi"), A)}, "messages[0].role", "unknown role"),
        "a role by number": ({"messages": turns((3, "hi"), A)}, "messages[0].role", "unknown role"),  # type: ignore[arg-type]
        "a message without content": ({"messages": [{"role": "user"}, *turns(A)]}, "messages[0]", "without role and content"),
        "content null": ({"messages": turns(U, ("assistant", None))}, "messages[1].content", "is null"),
        "an empty turn": ({"messages": turns(U, ("assistant", ""))}, "messages[1].content", "is empty"),
        "an image": (
            {"messages": turns(("user", [{"type": "image_url", "image_url": "x"}]), A)},
            "messages[0].content[0]",
            "not a text part",
        ),
        "a tool call": (
            {"messages": [*turns(U), {"role": "assistant", "content": "", "tool_calls": [{}]}]},
            "messages[1].tool_calls",
            "tool call",
        ),
        "messages and completion": ({"messages": turns(U, A), "completion": "c"}, "completion", "beside messages"),
        "history of another shape": ({"instruction": "i", "output": "o", "history": [["q"]]}, "history", "pairs"),
        "an Alpaca instruction by number": ({"instruction": 1, "output": "o"}, "instruction", "is a number"),
        "Self-Instruct without instances": ({"instruction": "i", "instances": []}, "instances", "not a list with something"),
        "a label among demonstrations": (GOOD[Label], WHOLE, "is one of labels"),
    },
    Comparison: {
        "no rejected": (without(Comparison, "rejected"), "rejected", "is missing"),
        "no chosen": (without(Comparison, "chosen"), "chosen", "is missing"),
        "chosen is rejected": (change(Comparison, rejected="a"), "rejected", "same text"),
        "an empty chosen": (change(Comparison, chosen=""), "chosen", "is empty"),
        "rejected null": (change(Comparison, rejected=None), "rejected", "is null"),
        "a preference above one": (change(Comparison, preference=1.5), "preference", "neither a number"),
        "a preference below zero": (change(Comparison, preference=-0.1), "preference", "neither a number"),
        "a preference in words": (change(Comparison, preference="better"), "preference", "neither a number"),
        "a preference true": (change(Comparison, preference=True), "preference", "neither a number"),
        "no common beginning": ({"chosen": "yes", "rejected": "no"}, "prompt", "no common beginning"),
        "the same dialogue twice": ({"chosen": "Q: a", "rejected": "Q: a"}, "rejected", "same text"),
        "a reply without a prompt": ({"chosen": turns(A), "rejected": turns(("assistant", "no"))}, "prompt", "is missing"),
        "dialogues that part early": (
            {"chosen": turns(U, A), "rejected": turns(("user", "ho"), A)},
            "rejected",
            "before its last message",
        ),
        "a dialogue and a text": ({"chosen": turns(U, A), "rejected": "no"}, "chosen", "is a list"),
        "a dialogue that ends with the user": ({"chosen": turns(U), "rejected": turns(U, A)}, "chosen", "ends with a user"),
        "a dialogue that is not the prompt's": (
            change(Comparison, chosen=turns(U, A), rejected=turns(U, ("assistant", "no"))),
            "prompt",
            "do not hold",
        ),
        "a ranking without places": ({"prompt": "p", "completions": ["a", "b"]}, "ranking", "is missing"),
        "a ranking of one": ({"prompt": "p", "completions": ["a"], "ranking": [1]}, "completions", "two or more"),
        "a place twice": ({"prompt": "p", "completions": ["a", "b", "c"], "ranking": [1, 1, 2]}, "ranking", "not the place"),
        "places from nought": ({"prompt": "p", "completions": ["a", "b"], "ranking": [0, 1]}, "ranking", "not the place"),
        "too few places": ({"prompt": "p", "completions": ["a", "b", "c"], "ranking": [1, 2]}, "ranking", "not the place"),
        "a completion twice": ({"prompt": "p", "completions": ["a", "a"], "ranking": [1, 2]}, "completions", "same text twice"),
        "AlpacaEval without a verdict": (
            {"instruction": "i", "output_1": "a", "output_2": "b", "preference": None},
            "preference",
            "is None",
        ),
        "a rating among comparisons": (GOOD[Rating], WHOLE, "is one of ratings"),
    },
    Rating: {
        "scores a number": (change(Rating, scores=4), "scores", "is a number"),
        "no scores": (change(Rating, scores={}), "scores", "is empty"),
        "a score of zero": (change(Rating, scores={"helpful": 0}), "scores.helpful", "from 1 to 5"),
        "a score of six": (change(Rating, scores={"helpful": 3, "honest": 5.01}), "scores.honest", "from 1 to 5"),
        "a score in words": (change(Rating, scores={"helpful": "4"}), "scores.helpful", "from 1 to 5"),
        "a score true": (change(Rating, scores={"helpful": True}), "scores.helpful", "from 1 to 5"),
        "label and scores": (change(Rating, label=True), "scores", "beside label"),
    },
    Label: {
        "label in words": (change(Label, label="true"), "label", "not true, false"),
        "label two": (change(Label, label=2), "label", "not true, false"),
        "label minus one": (change(Label, label=-1), "label", "not true, false"),
        "label a float": (change(Label, label=1.0), "label", "not true, false"),
        "label null": (change(Label, label=None), "label", "not true, false"),
    },
}

ROWS = [
    (kind, name, bad, field, words)
    for table in (SYNTAX, FIELDS)
    for kind, cases in table.items()
    for name, (bad, field, words) in cases.items()
]
HEADER = b"prompt,completion\n"
PACKED = gzip.compress(second(Demo, GOOD[Demo]) * 50)
FILES: dict[str, Case] = {
    "an empty file": ("x.jsonl", b"", 0, "", "is empty"),
    "only blank lines": ("x.jsonl", b"\n \n\r\n", 0, "", "holds no rows"),
    "only a byte order mark": ("x.jsonl", b"\xef\xbb\xbf", 0, "", "holds no rows"),
    "an empty list": ("x.json", b"[ ]", 0, "", "holds no rows"),
    "UTF-16": ("x.jsonl", lines(GOOD[Demo]).decode().encode("utf-16"), 0, "", "is UTF-16"),
    "prose": ("x.txt", b"Once upon a time", 0, "", "no format that plumbline reads"),
    "one pretty object": ("x.json", json.dumps(GOOD[Demo], indent=1).encode(), 0, "", "one JSON object over several lines"),
    "a list that is cut": (
        "x.json",
        b'[{"prompt": "p", "completion": "c"}, {"prompt": "p"',
        0,
        "",
        "ends in the middle of the list, in row 2",
    ),
    "a list that is cut in a text": ("x.json", b'[{"prompt": "p", "completion": "c"}, {"prompt": "p', 0, "", "row 2: a text is opened"),
    "a list with two commas": ("x.json", b'[{"prompt": "p", "completion": "c"},, {}]', 0, "", "row 2: there is nothing"),
    "a list that ends with a comma": ("x.json", b'[{"prompt": "p", "completion": "c"},]', 0, "", "row 2: there is nothing"),
    "two lists": ("x.json", b'[{"prompt": "p", "completion": "c"}][]', 0, "", "something follows the end of the list, after row 1"),
    "a broken element": ("x.json", b'[{"prompt": "p", "completion": "c"}, {"prompt" "p"}]', 2, WHOLE, "not valid JSON"),
    "brackets crossed": ("x.json", b'[{"prompt": "p", "completion": "c"}, {"prompt": ["p"}]]', 2, WHOLE, "not valid JSON"),
    "a damaged gz": ("x.jsonl.gz", PACKED[:-20], 0, "", "is damaged"),
    "a gz with a flipped byte": ("x.jsonl.gz", PACKED[:-6] + b"\x00\x00" + PACKED[-4:], 0, "", "is damaged"),
    "gz in name only": ("x.jsonl.gz", second(Demo, {"prompt": 1, "completion": "c"}), 2, "prompt", "is a number"),
    "Parquet that is cut": ("x.parquet", b"PAR1" + b"\x00" * 40, 0, "", "not readable Parquet"),
    "a CSV with only a header": ("x.csv", HEADER, 0, "", "is empty"),
    "a CSV with too few cells": ("x.csv", HEADER + b"p,c\np\n", 2, WHOLE, "has 1 cells, the header 2"),
    "a CSV with too many cells": ("x.csv", HEADER + b"p,c\np,c,d\n", 2, WHOLE, "has 3 cells, the header 2"),
    "a CSV with an open quote": ("x.csv", HEADER + b'p,c\np,"c\n', 2, WHOLE, "cannot be split into cells"),
    "a CSV with text after a quote": ("x.csv", HEADER + b'p,c\np,"c"d\n', 2, WHOLE, "cannot be split into cells"),
    "a CSV by semicolons": ("x.csv", b"prompt;completion\np;c\n", 0, "", "not separated by commas"),
    "a CSV with a column twice": ("x.csv", b"prompt,completion,prompt\np,c,d\n", 0, "", "stands twice in the header"),
    "a CSV in latin-1": ("x.csv", HEADER + b"p,c\np,caf\xe9\n", 2, "completion", "not UTF-8"),
    "a CSV with NUL": ("x.csv", HEADER + b"p,c\np,a\x00b\n", 2, "completion", "NUL"),
    "a CSV with an empty completion": ("x.csv", HEADER + b'"two\nlines",c\np,\n', 2, "completion", "is empty"),
    "a CSV with a Python list": ("x.csv", HEADER + b"p,c\np,\"[{'role': 'assistant'}]\"\n", 2, "completion", "Python list"),
    "a CSV with broken messages": ("x.csv", b"messages\n[1\n", 1, "messages", "not valid JSON"),
    "a CSV with a preference in words": ("x.csv", b"prompt,chosen,rejected,preference\np,a,b,0_5\n", 1, "preference", "neither a number"),
    "a CSV with NaN": ("x.csv", b"prompt,chosen,rejected,preference\np,a,b,nan\n", 1, "preference", "NaN"),
    "a CSV label in words": ("x.csv", b"prompt,completion,label\np,c,TRUE\np,c,good\n", 2, "label", "not true, false"),
    "a TSV without a header": ("x.tsv", b"a fine film\tgood\na bad film\tbad\n", 1, WHOLE, "none of the columns"),
    "a TSV without a header, a label in words": ("x.tsv", b"a fine film\t1\na bad film\tbad\n", 2, "label", "not true, false"),
}


@pytest.mark.parametrize(("kind", "name", "bad", "field", "words"), ROWS, ids=[row[1] for row in ROWS])
def test_a_bad_row_is_named(tmp_path: Path, kind: type, name: str, bad: Any, field: str, words: str) -> None:
    for ending in (b"\n", b"\r\n"):
        file = tmp_path / "bad.jsonl"
        file.write_bytes(b"\xef\xbb\xbf" + second(kind, bad).replace(b"\n", ending))
        with pytest.raises(RowError) as caught:
            open_rows(file, kind)
        assert (caught.value.file, caught.value.row, caught.value.field) == (str(file), 2, field), name
        assert words in caught.value.problem
        assert caught.value.mend
        rows = open_rows(file, kind, skip_bad=True)
        assert [e.row for e in rows.skipped] == [2]
        assert [rows.row(i) for i in range(len(rows))] == [1, 3]


@pytest.mark.parametrize("name", FILES)
def test_a_bad_file_is_refused(tmp_path: Path, name: str) -> None:
    file, content, row, field, words = FILES[name]
    (tmp_path / file).write_bytes(content)
    with pytest.raises(UserError) as caught:
        open_rows(tmp_path / file)
    assert words in caught.value.message
    assert str(tmp_path / file) in caught.value.message
    assert caught.value.mend
    if row:
        assert isinstance(caught.value, RowError)
        assert (caught.value.row, caught.value.field) == (row, field)


def test_parquet_and_folders(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"prompt": ["p", "p"], "chosen": ["a", None], "rejected": ["b", "c"], "preference": [0.5, float("nan")]})
    pq.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(RowError, match='row 2: "preference" is NaN'):
        open_rows(tmp_path / "x.parquet")
    pq.write_table(pa.table({"prompt": [b"p"], "completion": ["c"]}), tmp_path / "y.parquet")
    with pytest.raises(RowError, match='row 1: "prompt" is an object'):
        open_rows(tmp_path / "y.parquet")
    (tmp_path / "y.parquet").write_bytes(gzip.compress((tmp_path / "x.parquet").read_bytes()))
    assert len(open_rows(tmp_path / "y.parquet", skip_bad=True)) == 1
    with pytest.raises(UserError, match="not one saved by datasets"):
        open_rows(tmp_path)
    (tmp_path / "dataset_dict.json").write_text("{}")
    with pytest.raises(UserError, match="holds several splits"):
        open_rows(tmp_path)
    folder = tmp_path / "saved"
    folder.mkdir()
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "a.arrow"}]}))
    (folder / "a.arrow").write_bytes(io.BytesIO(b"nothing").getvalue())
    with pytest.raises(UserError, match="damaged datasets folder"):
        open_rows(folder)
    with pytest.raises(UserError, match="does not exist"):
        open_rows(tmp_path / "none.jsonl")


def test_there_are_at_least_sixty() -> None:
    assert len(ROWS) + len(FILES) >= 60
