"""Real debates, said again by a script before a scripted judge: quotations are told apart as the people who annotated them did."""

from __future__ import annotations

import json

import pytest
import recorded

from plumbline.core.protocols import load_protocol
from plumbline.evals.debate import judged
from plumbline.models.scripted import ScriptedModel
from plumbline.pipelines.play import play_all
from plumbline.protocols.questions import open_questions
from plumbline.protocols.transcript import stands_in

if not recorded.FILE.is_file():
    pytest.skip("the recorded debates are not in ../shared/data/debate-nyu", allow_module_level=True)


def players() -> dict[str, ScriptedModel]:
    return {"debater": ScriptedModel(recorded.debater), "judge": ScriptedModel(recorded.judge)}


@pytest.fixture(scope="module")
def questions(tmp_path_factory):
    path = tmp_path_factory.mktemp("nyu") / "questions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in recorded.questions()))
    return open_questions(path)[0]


def test_all_debates_of_two_speeches_are_played_in_both_orders(questions):
    rows = play_all(load_protocol("debate")(rounds=1, words=1000), questions, players())
    found = judged(rows)
    assert (len(questions), len(rows), found.errors) == (231, 462, {})
    assert found.unknown == 231  # the file does not say who was right
    for question, one, other in zip(questions, rows[::2], rows[1::2], strict=True):
        first, second = (verified_words(speech, question.passage) for speech in recorded.debates()[question.id])
        chosen = {r["outcome"]["chosen"] for r in (one, other)}
        assert chosen == (set(recorded.SIDES) if first == second else {recorded.SIDES[second > first]})  # of equals whoever stands first


def verified_words(speech: str, passage: str) -> int:
    """Words of a speech's quotations that stand in the passage."""
    quoted = [span for tag in ("quote", "oob_quote") for span in recorded.spans(speech, tag)]
    return sum(len(span.split()) for span in quoted if stands_in(span, passage))


def test_quotations_are_verified_as_the_annotators_have_it(questions):
    passages = {q.id: q.passage for q in questions}
    inside = [stands_in(s, passages[name]) for name, said in recorded.debates().items() for x in said for s in recorded.spans(x, "quote")]
    outside = [
        stands_in(s, passages[name]) for name, said in recorded.debates().items() for x in said for s in recorded.spans(x, "oob_quote")
    ]
    assert len(inside) > 1000
    assert sum(inside) / len(inside) > 0.98
    assert len(outside) > 20
    assert sum(outside) / len(outside) < 0.2
