"""Ten thousand mutated rows: no traceback, and a second reader, written apart and strictly, agrees on every one.

The second reader knows plumbline's own columns, written down as a grammar: what each field must be, and what a row then says.
"""

from __future__ import annotations

import copy
import json
import math
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from plumbline.core.errors import UserError
from plumbline.core.nouns import Comparison, Demo, Feedback, Label, Rating, completions_of
from plumbline.data import open_rows
from plumbline.data.rows import Rows

FILES, ROWS_EACH = 100, 100


def chat(*texts: str) -> list[dict[str, Any]]:
    return [{"role": ("user", "assistant")[i % 2], "content": t} for i, t in enumerate(texts)]


GOOD: dict[type, list[dict[str, Any]]] = {
    Demo: [
        {"prompt": "Say é\n", "completion": " ça va", "weight": 0.5, "annotator": "ann", "complete": True},
        {"prompt": "", "completion": "Once"},
        {"prompt": chat("hi"), "completion": "hello", "extra": {"deep": [1, None, "x"]}},
        {"prompt": chat("hi", "yes?", "so"), "completion": chat("_", "fine")[1:]},
        {"messages": chat("a", "b", "c", "d")},
        {"messages": [{"role": "system", "content": ""}, *chat("q", "r")], "source": "x"},
        {"messages": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "r"}]},
    ],
    Comparison: [
        {"prompt": "p", "chosen": "a", "rejected": "b", "preference": 0.75},
        {"prompt": "p", "chosen": "a", "rejected": "b", "preference": "same", "annotator": "z"},
        {"prompt": chat("hi"), "chosen": chat("_", "yes")[1:], "rejected": chat("hi", "no")},
        {"prompt": "p", "completions": ["a", "b", "c"], "ranking": [2, 3, 1], "weight": 3},
        {"prompt": "p", "completions": ["a", "b"], "ranking": [1, 1]},
    ],
    Rating: [{"prompt": "p", "completion": "c", "scores": {"helpful": 4, "honest": 1.5}}, {"messages": chat("a", "b"), "scores": {"x": 5}}],
    Label: [{"prompt": "p", "completion": "c", "label": True}, {"messages": chat("a", "b", "c", "d"), "label": 0}],
}
ODD: list[Any] = [
    *(None, True, False, 0, 1, 2, -1, 0.5, 1.0, 5.5, 1e300, 10**30),
    *("", " ", "same", "a", "b", "p", "\ud800", "\x00"),
    *([], {}, ["a"], [1], [2, 1], {"a": 1}, chat("u"), chat("u", "v")),
    *({"role": "assistant", "content": "w"}, {"role": "user"}),
]
KEYS = ["prompt", "completion", "chosen", "rejected", "messages", "label", "scores", "preference"]
KEYS += ["weight", "annotator", "complete", "completions", "ranking", "role", "content", "x"]


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [p for key, v in inside for p in [(*at, key), *paths(v, (*at, key))]]


def changed(row: dict[str, Any], rng: random.Random) -> None:
    """Change one place of a row: put something odd there, remove it, or add something beside it."""
    where, odd, deed = rng.choice(paths(row) or [("x",)]), copy.deepcopy(rng.choice(ODD)), rng.random()
    holder: Any = row
    for key in where[:-1]:
        holder = holder[key]
    if deed < 0.5:
        holder[where[-1]] = odd
    elif deed < 0.7 and holder:
        del holder[where[-1]]
    elif isinstance(holder, dict):
        holder[rng.choice(KEYS)] = rng.choice([odd, *copy.deepcopy(list(holder.values()))])
    else:
        holder.append(rng.choice([odd, *copy.deepcopy(holder)]))


def damaged(raw: bytearray, rng: random.Random) -> bytearray:
    """Change the bytes of a row: flip, cut, insert, or say a column twice."""
    at = rng.randrange(len(raw))
    wild = rng.choice((b"\\u0000", b"\\ud83d", b"NaN", b"1e999", b",", b'"', b"\xff", b"\x00", b"}", b"[", b"\\"))
    flipped = raw[:at] + bytes([raw[at] ^ 1 << rng.randrange(8)]) + raw[at + 1 :]
    again = raw[:-1] + b', "' + rng.choice(KEYS).encode() + b'": "again"}'
    return rng.choice((flipped, raw[:at] + raw[at + rng.randrange(1, 6) :], raw[:at] + wild + raw[at:], raw[:at], again))


def mutated(row: dict[str, Any], rng: random.Random) -> bytes:
    """One or two changes of the row's structure, and sometimes one of its bytes."""
    row = copy.deepcopy(row)
    for _ in range(rng.choice((1, 1, 2))):
        changed(row, rng)
    raw = bytearray(json.dumps(row, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass"))
    return bytes(damaged(raw, rng) if rng.random() < 0.35 else raw).replace(b"\n", b" ")


# The second reader.   `ok` functions return what the field says, or raise Refused.


class RefusedError(Exception):
    pass


def need(truth: object) -> None:
    if not truth:
        raise RefusedError


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    need(len({k for k, _ in pairs}) == len(pairs))
    return dict(pairs)


def sane(value: Any) -> None:
    if isinstance(value, str):
        value.encode("utf-8")
        need("\0" not in value)
    elif isinstance(value, dict):
        for key, inside in value.items():
            sane(key)
            sane(inside)
    elif isinstance(value, list):
        for inside in value:
            sane(inside)
    elif isinstance(value, float):
        need(math.isfinite(value))
    elif type(value) is int:
        need(-(2**63) < value < 2**63)


def number(value: Any, low: float, high: float) -> float:
    need(type(value) in (int, float) and low <= value <= high)
    return float(value)


def text(value: Any) -> str:
    need(isinstance(value, str) and value.strip() != "")
    return value


ALIAS = {"human": "user", "gpt": "assistant", "chatgpt": "assistant", "bot": "assistant"}


def turn(value: Any) -> tuple[str, str]:
    need(isinstance(value, dict))
    if "role" in value and "content" in value:
        role, content = value["role"], value["content"]
    else:
        need("from" in value and "value" in value)
        role, content = value["from"], value["value"]
    who = ALIAS.get(text(role), str(role))
    need(who in ("system", "user", "assistant", "tool"))
    need(isinstance(content, str) and (who == "system" or content.strip()))
    return who, content


def dialogue(value: Any) -> list[tuple[str, str]]:
    need(isinstance(value, list) and value)
    return [turn(v) for v in value]


def prompt(value: Any) -> Any:
    if isinstance(value, str):
        return value
    found = dialogue(value)
    need(found[-1][0] != "assistant")
    return found


def reply(value: Any, context: Any) -> str:
    if isinstance(value, str):
        return text(value)
    need(not isinstance(context, str))
    said = dialogue([value] if isinstance(value, dict) else value)
    need(said[:-1] in ([], context) and said[-1][0] == "assistant")
    return said[-1][1]


def weighed(value: Any) -> bool:
    return isinstance(value, dict) and any(value.get(k, 1) == 0 and value.get(k, 1) is not None for k in ("weight", "loss_weight"))


def demos(row: dict[str, Any]) -> list[tuple[Any, tuple[str, ...]]]:
    if "messages" not in row:
        context = prompt(row["prompt"])
        return [(context, (reply(row["completion"], context),))]
    need("completion" not in row)
    turns = dialogue(row["messages"])
    need(turns[-1][0] == "assistant")
    chosen = [i for i in range(1, len(turns)) if turns[i][0] == "assistant" and not weighed(row["messages"][i])]
    need(chosen)
    return [(turns[:i], (turns[i][1],)) for i in chosen]


def sides(row: dict[str, Any]) -> list[tuple[Any, tuple[str, ...]]]:
    said = row.get("preference")
    sure = 1.0 if said is None else 0.5 if said == "same" else number(said, 0, 1)
    if "completions" in row and "ranking" in row and "prompt" in row:
        context, texts, places = prompt(row["prompt"]), row["completions"], row["ranking"]
        need(isinstance(texts, list) and len(texts) > 1 and isinstance(places, list) and len(places) == len(texts))
        need(all(type(p) is int for p in places) and all(isinstance(t, str | dict) for t in texts))
        tie = len(texts) == 2 and places == [1, 1]
        need(tie or sorted(places) == [*range(1, len(texts) + 1)])
        need(len(texts) == 2 or said is None)
        need(not tie or said is None or sure == 0.5)
        replies = [reply(t, context) for t in texts]
        need(tie or len(set(replies)) == len(replies))
        return [(context, tuple(r for _, r in sorted(zip(places, replies, strict=True), key=lambda x: x[0])))]
    need("completions" not in row)
    asked = row.get("prompt", row.get("messages", ())) if "prompt" in row or "messages" in row else ()
    if isinstance(row["chosen"], list) and isinstance(row["rejected"], list) and isinstance(asked, str | tuple):
        one, two = dialogue(row["chosen"]), dialogue(row["rejected"])
        need(one[:-1] == two[:-1] and len(one) > 1 and one[-1][0] == two[-1][0] == "assistant")
        need(asked == () or asked in [said for _, said in one[:-1]])
        context, pair = one[:-1], (one[-1][1], two[-1][1])
    else:
        need("prompt" in row or "messages" in row)
        context = prompt(asked)
        pair = (reply(row["chosen"], context), reply(row["rejected"], context))
    need(pair[0] != pair[1] or sure == 0.5)
    return [(context, pair)]


def converted(row: dict[str, Any], kind: type) -> list[tuple[Any, tuple[str, ...]]]:
    """A comparison as what is wanted: itself, its better side, or its two sides."""
    need(kind is not Rating)
    if kind is Demo and "messages" in row and "prompt" in row:
        return demos(row)
    ((context, texts),) = sides(row)
    if kind is Comparison:
        return [(context, texts)]
    said = 0.5 if row.get("ranking") == [1, 1] else row.get("preference")
    said = {"same": 0.5, None: 1}.get(said, said)
    need(kind is Demo or (len(texts) == 2 and said != 0.5))
    return [(context, (texts[said < 0.5],))] if kind is Demo else [(context, (t,)) for t in texts]


def strictly(raw: bytes, kind: type) -> list[tuple[Any, tuple[str, ...]]]:
    """What the row says: (context, completions) per item; raises anything at all if it should not be used."""
    row = json.loads(raw.decode("utf-8"), object_pairs_hook=unique, parse_constant=lambda _: need(False))
    need(isinstance(row, dict))
    sane(row)
    need(row.get("annotator") is None or isinstance(row["annotator"], str))
    need(row.get("complete") is None or isinstance(row["complete"], bool))
    need(row.get("weight") is None or number(row["weight"], 0, 1e308) >= 0)
    compared = "completions" in row or ("chosen" in row and "rejected" in row)
    if compared or "chosen" in row or "rejected" in row:
        need(compared)
        return converted(row, kind)
    need(not ("label" in row and "scores" in row))
    own = Rating if "scores" in row else Label if "label" in row else Demo
    need(kind is own or (kind is Rating and own is Label))  # a label is a rating of 5 or 1
    if own is Label:
        need(row["label"] in (0, 1) and type(row["label"]) in (bool, int))
    if own is Rating:
        need(isinstance(row["scores"], dict) and row["scores"] and all(number(s, 1, 5) for s in row["scores"].values()))
    return demos(row) if kind is Demo else demos(row)[-1:]


def plainly(item: Feedback) -> tuple[Any, tuple[str, ...]]:
    context = item.context if isinstance(item.context, str) else [(m.role, m.content) for m in item.context]
    return context, completions_of(item)


def opened(file: Path, kind: type) -> Rows | None:
    try:
        return open_rows(file, kind, skip_bad=True)
    except UserError:
        return None


@pytest.mark.parametrize("kind", GOOD)
def test_the_second_reader_reads_good_rows(tmp_path: Path, kind: type) -> None:
    raws = [json.dumps(row).encode() for row in GOOD[kind]]
    (tmp_path / "x.jsonl").write_bytes(b"\n".join(raws))
    rows = open_rows(tmp_path / "x.jsonl", kind)
    assert [[plainly(i) for i in found] for _, found in rows.by_row()] == [strictly(raw, kind) for raw in raws]


def test_mutations(tmp_path: Path) -> None:
    rng, tally, file = random.Random(20261121), Counter[str](), tmp_path / "x.jsonl"
    for n in range(FILES):
        kind = list(GOOD)[n % 4]
        pool = [row for k in GOOD for row in GOOD[k] * (12 if k is kind else 1)]
        raws = [mutated(rng.choice(pool), rng) for _ in range(ROWS_EACH)]
        file.write_bytes(json.dumps(GOOD[kind][0]).encode() + b"\n" + b"\n".join(raws))
        rows = opened(file, kind)
        assert rows is not None
        ours = {row - 2: [plainly(item) for item in found] for row, found in rows.by_row() if row > 1}
        refused = {e.row - 2 for e in rows.skipped}
        for i, raw in enumerate(raws):
            assert (i in ours) != (i in refused) or not raw.strip(), raw
            try:
                theirs = strictly(raw, kind)
            except Exception:
                assert i not in ours, f"accepted, but the strict reader refuses: {raw!r}"
                tally["refused"] += 1
            else:
                assert i in ours, f"refused, but the strict reader accepts: {raw!r}"
                assert ours[i] == theirs, raw
                tally["accepted"] += 1
    assert tally.total() == FILES * ROWS_EACH
    assert min(tally.values()) > 1000, tally  # both sides of the line are visited
