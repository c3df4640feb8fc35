"""`curate` on whole files: every row has a fate and a reason, order does not matter, what is kept is written as it was."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plumbline.core.errors import RowError, UserError
from plumbline.data import open_rows
from plumbline.data.curate import BAD, DUPLICATE, KEPT, OUTDONE, POOR, Wish, curate, ranks, write

NOUNS = ("harbour", "bakery", "tower", "garden", "bridge", "market", "school", "river", "forest", "mill")
VERBS = ("opens", "closes", "shines", "sleeps", "sings", "floods", "wakes", "glows")


def demo(i: int, chance: random.Random) -> dict[str, Any]:
    said = " ".join(f"the {chance.choice(NOUNS)} {chance.choice(VERBS)} at {chance.randrange(24)}" for _ in range(chance.randrange(1, 7)))
    return {"prompt": f"What about the {chance.choice(NOUNS)}?", "completion": said + ".", "id": i}


def rows_of(n: int, seed: int = 0) -> list[dict[str, Any]]:
    """Demonstrations, among them copies with a word changed, and placeholders."""
    chance = random.Random(seed)
    rows = [demo(i, chance) for i in range(n)]
    for i in range(0, n, 7):
        rows[i] = rows[(i + 3) % n] | {"id": i}
    for i in range(5, n, 31):
        rows[i] = rows[i] | {"completion": "N/A"}
    return rows


def lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_every_row_has_one_fate_and_a_reason_that_says_why(tmp_path):
    rows = rows_of(120)
    found = curate(lines(tmp_path / "a.jsonl", rows), Wish(keep=20))
    records = list(found.reasons())
    assert [r["row"] for r in records] == list(range(1, 121))
    assert {r["fate"] for r in records} == {KEPT, DUPLICATE, POOR, OUTDONE}
    assert sum(r["kept"] for r in records) == 20 == found.record()["fates"][KEPT]
    for r in records:
        if r["fate"] == DUPLICATE:
            other = records[r["duplicate_of"] - 1]
            assert other["fate"] in (KEPT, OUTDONE)
            assert other["quality"] >= r["quality"]
            assert r["similarity"] >= 0.8
            assert f"row {r['duplicate_of']}" in r["reason"]
        elif r["fate"] == POOR:
            assert "says that nothing is there" in r["reason"]
    assert sorted(r["place"] for r in records if r["kept"]) == list(range(1, 21))
    worst, best = min(r["worth"] for r in records if r["kept"]), max(r["worth"] for r in records if r["fate"] == OUTDONE)
    assert worst >= best - 1e-4  # worth after the choice is at most what it was at the last place


@settings(max_examples=12, deadline=None)
@given(st.randoms(use_true_random=False), st.sampled_from([0.0, 0.5, 1.0]))
def test_the_order_of_the_rows_does_not_matter(tmp_path_factory, chance, diversity):
    folder, rows = tmp_path_factory.mktemp("order"), rows_of(60)
    for row in rows:
        row.pop("id")  # so that some rows are byte for byte the same
    mixed = rows.copy()
    chance.shuffle(mixed)
    wish = Wish(keep=15, diversity=diversity)
    kept = []
    for name, some in (("a", rows), ("b", mixed)):
        found = curate(lines(folder / f"{name}.jsonl", some), wish)
        kept.append(sorted((json.dumps(some[row.number - 1]), row.more["worth"], row.more["place"]) for row in found.kept))
    assert kept[0] == kept[1]


def test_the_same_file_gives_the_same_bytes(tmp_path):
    path = lines(tmp_path / "a.jsonl", rows_of(50))
    for name in ("one", "two"):
        paths = write(curate(path, Wish(keep="20%")), tmp_path / name)
        assert [p.name for p in paths] == ["kept.jsonl", "reasons.jsonl", "summary.json", "summary.txt"]
        assert sorted(paths) == sorted((tmp_path / name).iterdir())
    for file in ("kept.jsonl", "reasons.jsonl", "summary.json", "summary.txt"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def kept_of(path: Path, out: Path) -> tuple[Path, list[int]]:
    found = curate(path, Wish(keep=9))
    return write(found, out)[0], [row.number for row in found.kept]


def test_json_lines_and_lists_are_kept_byte_for_byte(tmp_path):
    rows = [json.dumps(row, indent=1 if i % 2 else None).replace("\n", " ") for i, row in enumerate(rows_of(40))]
    (tmp_path / "a.jsonl").write_text("\n".join(rows), encoding="utf-8")
    target, numbers = kept_of(tmp_path / "a.jsonl", tmp_path / "out")
    assert target.name == "kept.jsonl"
    assert target.read_text() == "".join(rows[n - 1] + "\n" for n in numbers)
    (tmp_path / "b.json.gz").write_bytes(gzip.compress(("[" + ",\n".join(rows) + "]").encode()))
    target, numbers = kept_of(tmp_path / "b.json.gz", tmp_path / "out2")
    assert target.name == "kept.json.gz"
    assert json.loads(gzip.decompress(target.read_bytes())) == [json.loads(rows[n - 1]) for n in numbers]
    assert all(rows[n - 1].encode() in gzip.decompress(target.read_bytes()) for n in numbers)


@pytest.mark.parametrize(("name", "mark"), [("a.csv", ","), ("a.tsv.gz", "\t")])
def test_tables_keep_header_quotes_and_line_breaks(tmp_path, name, mark):
    said = io.StringIO()
    writer = csv.DictWriter(said, ["id", "prompt", "completion"], delimiter=mark, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writeheader()
    for row in rows_of(40):
        writer.writerow(row | {"completion": row["completion"].replace(" at", f'{mark} "about"\nat')})
    raw = said.getvalue().replace("\r\n", "\r\n\r\n", 3).encode()  # with blank lines, which are no rows
    (tmp_path / name).write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    target, numbers = kept_of(tmp_path / name, tmp_path / "out")
    assert target.name == name.replace("a.", "kept.")
    before, after = open_rows(tmp_path / name), open_rows(target)
    assert [after[i] for i in range(len(after))] == [before[n - 1] for n in numbers]
    assert len(numbers) == 9
    text = gzip.decompress(target.read_bytes()) if name.endswith(".gz") else target.read_bytes()
    assert text.count(b'""about""') > 9
    assert text.startswith(f'"id"{mark}"prompt"{mark}"completion"\r\n'.encode())


def test_parquet_and_saved_folders_keep_their_columns(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq
    from datasets import Dataset

    rows = rows_of(600)
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    target, numbers = kept_of(tmp_path / "a.parquet", tmp_path / "out")
    assert pq.read_table(target).to_pylist() == [rows[n - 1] for n in numbers]
    Dataset.from_list(rows).save_to_disk(str(tmp_path / "saved"))
    target, again = kept_of(tmp_path / "saved", tmp_path / "out2")
    assert target.name == "kept.parquet"
    assert pq.read_table(target).to_pylist() == [rows[n - 1] for n in again]
    assert again == numbers


def test_a_table_without_a_header_keeps_its_first_line(tmp_path):
    rows = [f"the {a} {b} slowly and quietly tonight\t1\n" for a in NOUNS for b in VERBS]
    (tmp_path / "a.tsv").write_text("".join(rows), encoding="utf-8")
    found = curate(tmp_path / "a.tsv", Wish(keep=len(rows), near=1.1))
    assert found.record()["fates"][KEPT] == len(rows)
    assert write(found, tmp_path / "out")[0].read_text() == "".join(rows)


def test_comparisons_are_judged_by_the_better_answer(tmp_path):
    good = "The harbour opens at six, as the notice on its gate says to everyone."
    rows = [{"prompt": f"When does harbour {i} open?", "chosen": good, "rejected": "N/A"} for i in range(3)]
    rows.append({"prompt": "When does the mill open?", "chosen": "N/A", "rejected": good})
    found = curate(lines(tmp_path / "a.jsonl", rows), Wish(keep=4))
    assert [row.fate for row in found.rows][-1] == POOR
    assert found.kind == "comparisons"
    assert found.rows[0].quality > 0.9


def test_a_bad_row_stops_with_its_place_or_is_left_out_with_a_reason(tmp_path):
    rows = rows_of(20)
    rows[6] = {"prompt": "What?", "completion": ""}
    path = lines(tmp_path / "a.jsonl", rows)
    with pytest.raises(RowError, match=r'a\.jsonl, row 7: "completion" is empty'):
        curate(path, Wish())
    found = curate(path, Wish(keep=5), skip_bad=True)
    records = list(found.reasons())
    assert [r["row"] for r in records] == list(range(1, 21))
    assert (records[6]["fate"], records[6]["reason"]) == (BAD, '"completion" is empty')
    assert sum(r["kept"] for r in records) == 5
    write(found, tmp_path / "out")
    kept = [json.loads(line)["id"] for line in (tmp_path / "out" / "kept.jsonl").read_text().splitlines()]
    assert kept == [r["row"] - 1 for r in records if r["kept"]]


def test_what_exists_is_never_written_over(tmp_path):
    found = curate(lines(tmp_path / "a.jsonl", rows_of(20)), Wish(keep=5))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "reasons.jsonl").write_text("mine")
    with pytest.raises(UserError, match="exists already"):
        write(found, tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["reasons.jsonl"]
    assert (tmp_path / "out" / "reasons.jsonl").read_text() == "mine"


def test_prompts_without_answers_are_refused(tmp_path):
    with pytest.raises(UserError, match="prompts only"):
        curate(lines(tmp_path / "a.jsonl", [{"prompt": "who?"}]), Wish())


@pytest.mark.parametrize(("keep", "count"), [(7, 7), ("7", 7), ("10%", 20), ("0.1%", 1), ("12.5%", 25), ("100%", 200)])
def test_how_many_are_kept(keep, count):
    assert Wish(keep=keep).count(200) == count


@pytest.mark.parametrize("keep", ["0", "-3", "ten", "0%", "101%", "nan%", "inf%", "1.5", ""])
def test_a_wish_that_says_no_number_is_refused(keep):
    with pytest.raises(UserError, match="--keep"):
        Wish(keep=keep).count(200)


@pytest.mark.parametrize("wrong", [{"near": 0.0}, {"diversity": 1.5}, {"min_quality": -0.1}, {"ignore": ("lenght",)}])
def test_other_wishes_have_bounds(wrong):
    with pytest.raises(UserError, match=f"--{next(iter(wrong))}"):
        Wish(**wrong)


def test_fewer_are_kept_where_fewer_are_left(tmp_path):
    found = curate(lines(tmp_path / "a.jsonl", [rows_of(3)[1]] * 10), Wish(keep=5))
    assert found.record()["fates"] == {KEPT: 1, DUPLICATE: 9, POOR: 0, OUTDONE: 0, BAD: 0}
    assert "4 fewer than the 5 asked for" in found.text()
    assert all(row.more["duplicate_of"] == 1 for row in found.rows[1:])


def test_a_score_is_one_more_signal_by_its_rank(tmp_path):
    rows = [r for i, r in enumerate(rows_of(40)) if i % 7 and r["completion"] != "N/A"]
    path = lines(tmp_path / "a.jsonl", rows)
    found = curate(path, Wish(keep=5, diversity=0.0, near=1.1), score=lambda some: [float(i) for i in range(len(some))], name="mine")
    assert [row.signals["mine"] for row in found.rows] == pytest.approx([(i + 1) / len(rows) for i in range(len(rows))])
    plain = curate(path, Wish(keep=5))
    for with_score, without in zip(found.rows, plain.rows, strict=True):
        assert with_score.quality == pytest.approx(without.quality * with_score.signals["mine"])
    assert min(row.number for row in found.kept) > len(rows) // 2


def test_ranks_of_equal_scores_are_equal():
    assert ranks([3.0, -1.0, 3.0, 10.0]) == [0.75, 0.25, 0.75, 1.0]


def test_min_quality_says_so(tmp_path):
    found = curate(lines(tmp_path / "a.jsonl", rows_of(60)), Wish(keep=60, min_quality=0.8, near=1.1))
    assert {row.fate for row in found.rows} == {KEPT, POOR}
    assert min(row.quality for row in found.kept) >= 0.8 > max(row.quality for row in found.rows if row.fate == POOR)
