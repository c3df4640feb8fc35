"""Questions from a file: what is read, and what is said of a row that cannot be."""

from __future__ import annotations

import gzip
import json

import pytest

from plumbline.core.errors import RowError, UserError
from plumbline.core.nouns import Question
from plumbline.protocols.questions import open_questions

GOOD = {"question": "Who?", "sides": ["Ada", "Bob"], "passage": "It was Ada.", "answer": "Ada", "id": "q1", "level": 3}


def file(tmp_path, *rows, name="questions.jsonl"):
    path = tmp_path / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_row_is_a_question_and_other_columns_travel_in_meta(tmp_path):
    (found,), skipped = open_questions(file(tmp_path, GOOD))
    assert found == Question("Who?", ("Ada", "Bob"), "It was Ada.", "Ada", {"level": 3}, "q1")
    assert skipped == []


def test_passage_answer_and_id_may_be_missing(tmp_path):
    found, _ = open_questions(file(tmp_path, {"question": "Who?", "sides": ["Ada", "Bob"]}, {**GOOD, "id": None, "answer": None}))
    assert [(q.passage, q.answer, q.id) for q in found] == [("", "", "row 1"), ("It was Ada.", "", "row 2")]


def test_csv_and_compressed_files_are_read_alike(tmp_path):
    (tmp_path / "q.csv").write_text('question,sides,answer\nWho?,"[""Ada"", ""Bob""]",Bob\n')
    (tmp_path / "q.jsonl.gz").write_bytes(gzip.compress(json.dumps(GOOD).encode()))
    assert open_questions(tmp_path / "q.csv")[0] == [Question("Who?", ("Ada", "Bob"), answer="Bob", id="row 1")]
    assert open_questions(tmp_path / "q.jsonl.gz")[0][0].id == "q1"


@pytest.mark.parametrize(
    ("change", "field", "says"),
    [
        ({"question": None}, "question", "is null, not text"),
        ({"question": " "}, "question", "is empty"),
        ({"sides": ["Ada"]}, "sides", "is not a list of two texts"),
        ({"sides": "Ada or Bob"}, "sides", "is not a list of two texts"),
        ({"sides": ["Ada", " Ada "]}, "sides", "are the same answer twice"),
        ({"sides": ["Ada", 3]}, "sides", "is not a list of two texts"),
        ({"answer": "Eve"}, "answer", "is 'Eve', which is none of the sides"),
        ({"passage": ["It was Ada."]}, "passage", "is a list, not text"),
        ({"id": "q0"}, "id", "is 'q0', as in row 1"),
        ({"id": {"n": 1}}, "id", "is an object, not text or a number"),
    ],
)
def test_a_bad_row_is_named_with_file_row_field_and_mend(tmp_path, change, field, says):
    path = file(tmp_path, {**GOOD, "id": "q0"}, {**GOOD, **change})
    with pytest.raises(RowError) as caught:
        open_questions(path)
    error = caught.value
    assert (error.file, error.row, error.field) == (str(path), 2, field)
    assert says in error.message
    assert error.mend
    found, skipped = open_questions(path, skip_bad=True)
    assert ([q.id for q in found], [e.row for e in skipped]) == (["q0"], [2])


def test_missing_columns_and_broken_lines_are_named(tmp_path):
    with pytest.raises(RowError, match='row 1: "question" is missing'):
        open_questions(file(tmp_path, {"sides": ["Ada", "Bob"]}))
    with pytest.raises(RowError, match='row 1: "sides" is missing'):
        open_questions(file(tmp_path, {"question": "Who?"}))
    path = tmp_path / "broken.jsonl"
    path.write_text(json.dumps(GOOD) + '\n{"question": \n')
    with pytest.raises(RowError, match=r"broken.jsonl, row 2: \(whole row\) is not valid JSON"):
        open_questions(path)


def test_a_file_without_a_usable_row_is_refused(tmp_path):
    with pytest.raises(UserError, match="none of its rows can be used; the first"):
        open_questions(file(tmp_path, {"prompt": "hello"}), skip_bad=True)
