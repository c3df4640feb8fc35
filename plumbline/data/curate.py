"""`plumbline data curate FILE --keep 10% --out DIR`: the rows worth training on, and why each one is kept or dropped.

    quality     signals of each answer, multiplied                          quality.py
    duplicates  a row near a better one is dropped                          near.py
    choice      the rows of most worth = quality × what is new about them   diverse.py

Few, good and varied rows are the idea of LIMA (Zhou et al. 2023, arXiv 2305.11206).   What is chosen does not depend on the order of
the rows: ties go by a hash of the row.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from plumbline.core.errors import RowError, UserError
from plumbline.core.nouns import Prompt, plain
from plumbline.data import kept
from plumbline.data.check import QUANTILES
from plumbline.data.columns import KINDS
from plumbline.data.diverse import Cover, Ids, features, greedy
from plumbline.data.near import duplicates
from plumbline.data.ngrams import Hashes, numbers, shingles
from plumbline.data.quality import SIGNALS, against, better, signals
from plumbline.data.records import Records
from plumbline.data.rows import Rows, open_rows

KEPT, DUPLICATE, POOR, OUTDONE, BAD = "kept", "near-duplicate", "too poor", "not selected", "bad row"
PART = "part-"  # before the name of a file that is not finished
RUN = 3  # words in the runs by which near-duplicates are told
Score = Callable[[Sequence[Sequence[Any]]], Sequence[float]]


@dataclass(frozen=True, slots=True)
class Wish:
    """What is wanted.   `keep`: rows, or a share such as "10%".   `near`: Jaccard similarity of runs of three words from which a row is a
    duplicate; above 1 none is.   `diversity`: 0 chooses by quality alone, 1 by quality × novelty.   `min_quality`: poorer rows are dropped.
    `ignore`: signals left out.
    """

    keep: int | str = "10%"
    near: float = 0.8
    diversity: float = 0.5
    min_quality: float = 0.0
    ignore: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.near > 0:
            raise UserError(f"--near is {self.near}", "Give a similarity above 0; above 1 no row counts as a duplicate.")
        for name in ("diversity", "min_quality"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"--{name} is {getattr(self, name)}", "Give a number from 0 to 1.")
        unknown = next((name for name in self.ignore if name not in SIGNALS), None)
        if unknown is not None:
            raise UserError(f"--ignore names {unknown!r}, which is no signal", f"Signals: {', '.join(SIGNALS)}.")

    def count(self, rows: int) -> int:
        """How many of `rows` rows to keep."""
        text = str(self.keep).strip()
        try:
            share = float(text.removesuffix("%")) / 100 if text.endswith("%") else None
            number = max(1, round(share * rows)) if share is not None else int(text)
        except (ValueError, OverflowError):
            share, number = None, 0
        if number < 1 or (share is not None and not 0 < share <= 1):
            raise UserError(f"--keep is {self.keep}", "Give a number of rows such as 1000, or a share such as 10%.")
        return number


@dataclass(slots=True)
class Row:
    """What is known of one row: how it was judged, and in the end its fate."""

    number: int
    key: bytes
    signals: dict[str, float]
    shingles: Hashes
    features: Ids
    quality: float = 0.0
    fate: str = OUTDONE
    reason: str = ""
    more: dict[str, Any] = field(default_factory=dict)

    def rate(self) -> None:
        """Quality from the signals."""
        self.quality = math.prod(self.signals.values())

    def record(self) -> dict[str, Any]:
        """A line of reasons.jsonl."""
        marks = {name: round(mark, 4) for name, mark in self.signals.items()}
        head = {"row": self.number, "kept": self.fate == KEPT, "fate": self.fate, "reason": self.reason}
        return head | {"quality": round(self.quality, 4), "signals": marks, **self.more}


def judged(number: int, raw: bytes, items: Sequence[Any], ignore: Sequence[str] = ()) -> Row:
    """A row read once: signals, and the sets by which it is compared with others."""
    text = "\n".join([plain(items[-1].context), *(better(item) for item in items)])
    key, said_W = hashlib.blake2b(raw, digest_size=16).digest(), numbers(text)
    row = Row(number, key, signals(items, ignore), shingles(said_W, RUN), features(said_W))
    row.rate()
    return row


def choose(rows: Sequence[Row], wish: Wish) -> None:
    """Give every row its fate and the reason for it."""
    rows = sorted(rows, key=lambda row: (row.key, row.number))  # from here on nothing depends on the order in the file
    best = sorted(range(len(rows)), key=lambda i: -rows[i].quality)
    good = [i for i in best if rows[i].quality > 0 and rows[i].quality >= wish.min_quality]
    for i in set(best).difference(good):
        rows[i].fate, rows[i].reason = POOR, f"quality {rows[i].quality:.2f}: {_said(rows[i])}"
    near = duplicates([row.shingles for row in rows], good, wish.near) if wish.near <= 1 else {}
    for i, (other, similarity) in near.items():
        rows[i].fate, rows[i].more = DUPLICATE, {"duplicate_of": rows[other].number, "similarity": round(similarity, 4)}
        rows[i].reason = f"near row {rows[other].number} (Jaccard {similarity:.2f}), which is at least as good"
    _select([rows[i] for i in sorted(good) if i not in near], wish.count(len(rows)), wish.diversity)


def _select(rows: Sequence[Row], count: int, diversity: float) -> None:
    cover = Cover([row.features for row in rows], [row.quality for row in rows], diversity)
    picks = greedy(cover, count)
    for place, pick in enumerate(picks, 1):
        row = rows[pick.index]
        row.fate, row.more = KEPT, {"place": place, "worth": round(pick.worth, 4), "novelty": round(pick.novelty, 4)}
        row.reason = f"place {place}: worth {pick.worth:.3f}, quality {row.quality:.2f}, {pick.novelty:.0%} new; {_said(row)}"
    taken = {pick.index for pick in picks}
    for i, row in enumerate(rows):
        if i not in taken:
            worth, novelty = cover.worth(i)
            row.more = {"worth": round(worth, 4), "novelty": round(novelty, 4)}
            last = f"the last row chosen had {picks[-1].worth:.3f}"
            row.reason = f"worth {worth:.3f} beside the chosen rows ({last}): quality {row.quality:.2f}, {novelty:.0%} new; {_said(row)}"


def _said(row: Row) -> str:
    return ", ".join(against(row.signals)) or "nothing against it"


def ranks(scores: Sequence[float]) -> list[float]:
    """Scores as shares of rows that are not better, from above 0 to 1; equal scores get equal ranks."""
    order = np.sort(np.asarray(scores, dtype=np.float64))
    return [float(np.searchsorted(order, s, side="right")) / len(order) for s in scores]


@dataclass(frozen=True)
class Curation:
    """What came of a file.   `bad`: rows left out because they cannot be read (--skip_bad)."""

    file: str
    kind: str
    rows: list[Row]
    wish: Wish
    bad: list[RowError]

    @property
    def kept(self) -> list[Row]:
        """The chosen rows, in file order."""
        return [row for row in self.rows if row.fate == KEPT]

    def record(self) -> dict[str, Any]:
        """For `--json` and summary.json."""
        fates = Counter(row.fate for row in self.rows)
        counts = {name: fates[name] for name in (KEPT, DUPLICATE, POOR, OUTDONE)} | {BAD: len(self.bad)}
        found = {"file": self.file, "kind": self.kind, "rows": len(self.rows) + len(self.bad), "fates": counts}
        found |= {"asked": self.wish.count(len(self.rows)), "quality": {"all": _quantiles(self.rows), "kept": _quantiles(self.kept)}}
        return found | {"signals": {"all": _means(self.rows), "kept": _means(self.kept)}, "below_.95": _low(self.rows, self.kept)}

    def text(self) -> str:
        """For people."""
        found = self.record()
        short = found["asked"] - found["fates"][KEPT]
        lines = [f"{self.file}: {found['rows']} rows of {self.kind}"]
        lines += [f"  {count:>7}  {name}" for name, count in found["fates"].items()]
        lines += [f"{short} fewer than the {found['asked']} asked for: no other row is left"] if short > 0 else []
        lines += [f"quality at {'   '.join(f'{q:.0%}' for q in QUANTILES)}"]
        lines += [f"  {name:<6}{'   '.join(f'{x:.2f}' for x in found['quality'][name])}" for name in ("all", "kept")]
        lines += ["rows with something against them: all, kept"]
        return "\n".join(
            [*lines, *(f"  {a:>7} {k:>7}  {SIGNALS[n][1] if n in SIGNALS else n}" for n, (a, k) in found["below_.95"].items())]
        )

    def reasons(self) -> Iterator[dict[str, Any]]:
        """A record per row of the file, bad ones too, in file order."""
        bad = [{"row": e.row, "kept": False, "fate": BAD, "reason": f'"{e.field}" {e.problem}'} for e in self.bad]
        yield from sorted([*(row.record() for row in self.rows), *bad], key=lambda record: record["row"])


def _quantiles(rows: Sequence[Row]) -> list[float]:
    return [round(float(x), 4) for x in np.quantile([row.quality for row in rows], QUANTILES)] if rows else []


def _means(rows: Sequence[Row]) -> dict[str, float]:
    names = rows[0].signals if rows else ()
    return {name: round(float(np.mean([row.signals[name] for row in rows])), 4) for name in names}


def _low(rows: Sequence[Row], chosen: Sequence[Row]) -> dict[str, tuple[int, int]]:
    counts = [Counter(name for row in some for name, mark in row.signals.items() if mark < 0.95) for some in (rows, chosen)]
    return {name: (count, counts[1][name]) for name, count in counts[0].most_common()}


def curate(file: str | Path, wish: Wish, *, score: Score | None = None, name: str = "score", skip_bad: bool = False) -> Curation:
    """Read a file of feedback and give each row its fate.   `score`: numbers for rows, of which the rank becomes a signal called `name`."""
    rows = open_rows(file, None, skip_bad=skip_bad)
    if rows.kind is Prompt:
        raise UserError(f"{rows.file} holds prompts only", "Curate rows that have answers.")
    wish.count(rows.used)
    raws = _raws(rows, Records(file))
    found = [judged(number, raw, items, wish.ignore) for (number, items), raw in zip(rows.by_row(), raws, strict=True)]
    if score:
        _scored(found, score([items for _, items in rows.by_row()]), name)
    choose(found, wish)
    return Curation(rows.file, KINDS[rows.kind], found, wish, rows.skipped)


def _raws(rows: Rows, records: Records) -> Iterable[bytes]:
    used = {number for number, _ in rows.by_row()} if rows.skipped else None
    return (records.raw(i).strip() for i in range(len(records)) if used is None or records.number(i) in used)


def _scored(rows: Sequence[Row], scores: Sequence[float], name: str) -> None:
    for row, rank in zip(rows, ranks(scores), strict=True):
        row.signals[name] = rank
        row.rate()


def write(found: Curation, out: str | Path, extra: Mapping[str, Any] | None = None) -> list[Path]:
    """kept.* in the file's own format, reasons.jsonl and two summaries, in a folder that has none of them.   kept.* appears last."""
    folder, source = Path(out), Path(found.file)
    names = (f"kept{kept.suffix_of(source)}", "reasons.jsonl", "summary.json", "summary.txt")
    there = next((folder / name for name in names if (folder / name).exists()), None)
    if there:
        raise UserError(f"{there} exists already", "Give another --out.")
    folder.mkdir(parents=True, exist_ok=True)
    parts = [folder / (PART + name) for name in names]
    for part in parts:
        part.unlink(missing_ok=True)  # of a run that was killed
    kept.write(source, parts[0], {row.number for row in found.kept}, Records(source))
    with parts[1].open("x", encoding="utf-8") as handle:
        handle.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in found.reasons())
    parts[2].write_text(json.dumps(found.record() | dict(extra or {}), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    parts[3].write_text(found.text() + "\n", encoding="utf-8")
    return [part.rename(folder / name) for part, name in reversed(list(zip(parts, names, strict=True)))][::-1]
