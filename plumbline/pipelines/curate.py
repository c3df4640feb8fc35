"""`data curate` with what data/ knows nothing of: town's data by its spec, and a reward or a model's likelihood as one more signal.

Town's rows are written to OUT/data.jsonl first, so that the reasons have a file to point to.   Rows that carry town's gold are also told
by their truth: the share of rows whose answer is worth `RIGHT` or more, in the file, among the rows kept, and as chance would have it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from plumbline.core.batches import Batch
from plumbline.core.errors import UserError
from plumbline.core.nouns import Comparison, Demo, Game, Prompt, Reply, Turn, words_of
from plumbline.data import Plan, open_rows
from plumbline.data.curate import PART, Curation, Score, Wish, curate, write
from plumbline.data.quality import better
from plumbline.data.sources import is_world
from plumbline.pipelines import sources
from plumbline.rewards.items import fixed
from plumbline.world import sources as world
from plumbline.world.utility import gold

RIGHT = 0.9
CHUNK = 256
DATA = "data.jsonl"


def run(data: str, out: str, wish: Wish, *, reward: str = "", model: str = "", skip_bad: bool = False) -> tuple[dict[str, Any], str]:
    """Curate a file or a `town:` spec into the folder `out`: (what --json says, what is printed)."""
    if reward and model:
        raise UserError("--reward and --model are both given", "Give one of them: one scorer becomes one signal.")
    if Path(out).exists() and (not Path(out).is_dir() or not all(map(_unfinished, Path(out).iterdir()))):
        raise UserError(f"--out {out} exists already", "Give an --out that is not there yet.")
    wish.count(1)  # what is wrong with the wish is said before anything is written
    score = by_reward(reward) if reward else by_likelihood(model) if model else None
    file = _town_rows(data, Path(out)) if is_world(data) else data
    found = curate(file, wish, score=score, name="reward" if reward else "likelihood", skip_bad=skip_bad)
    told = truth(found)
    paths = write(found, out, {"truth": told} if told else None)
    text = [found.text(), *([_told(told)] if told else []), *map(str, paths[:2])]
    return found.record() | {"truth": told, "files": [str(p) for p in paths]}, "\n".join(text)


# -- town


def row_of(item: Any) -> dict[str, Any]:
    """A demonstration or a comparison of town in our columns."""
    context = item.context
    prompt = context if isinstance(context, str) else [{"role": m.role, "content": words_of(m.content)} for m in context]
    row: dict[str, Any] = {"prompt": prompt}
    if isinstance(item, Demo):
        row |= {"completion": item.completion}
    elif isinstance(item, Comparison) and len(item.completions) == 2:
        row |= {"chosen": item.completions[0], "rejected": item.completions[1], "preference": item.preference}
    else:
        raise UserError("town's rows of this kind cannot be curated", "Curate town:demos or town:comparisons.")
    return row | {"annotator": item.annotator, **item.meta}


def _unfinished(path: Path) -> bool:
    """Whether a file in the folder may be what a killed run left; `_town_rows` looks into data.jsonl itself."""
    return path.name == DATA or path.name.startswith(PART)


def _town_rows(spec: str, out: Path) -> str:
    text = "".join(json.dumps(row_of(item), ensure_ascii=False) + "\n" for item in world.load(spec))
    path, part = out / DATA, out / (PART + DATA)
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise UserError(f"{path} exists already, with other rows", "Give another --out.")
    out.mkdir(parents=True, exist_ok=True)
    part.write_text(text, encoding="utf-8")
    return str(part.rename(path))


def truth(found: Curation) -> dict[str, Any]:
    """Of a file whose every row carries town's gold: the share of right rows, of all and of the kept, and the kept share's z beside chance.

    By chance K of N rows hold on average the file's share p of right ones, with variance p (1 − p)/K · (N − K)/(N − 1) (hypergeometric).
    """
    worths = [_worth(items) for _, items in open_rows(found.file, None, skip_bad=True).by_row()]
    if any(worth is None for worth in worths):
        return {}
    right = [worth is not None and worth >= RIGHT for worth in worths]
    chosen = [ok for ok, row in zip(right, found.rows, strict=True) if row.fate == "kept"]
    n, k, p = len(right), len(chosen), sum(right) / len(right)
    spread = math.sqrt(p * (1 - p) / k * (n - k) / (n - 1)) if 0 < k < n else 0.0
    share = sum(chosen) / k if k else 0.0
    return {"right": round(p, 4), "right_kept": round(share, 4), "z": round((share - p) / spread, 2) if spread else 0.0}


def _worth(items: Sequence[Any]) -> float | None:
    item = items[-1]
    return gold(Prompt(item.context, item.meta), better(item)).total if item.meta.get("gold") else None


def _told(told: dict[str, Any]) -> str:
    return f"town knows the truth: {told['right']:.1%} of the rows are right, {told['right_kept']:.1%} of the kept (z {told['z']:+.1f})"


# -- scorers


def by_reward(name: str, device: str = "auto") -> Score:
    """The reward of a row: the mean over its answers."""
    judge = fixed(sources.reward(name, device=device))

    def score(rows: Sequence[Sequence[Any]]) -> list[float]:
        games = [_game(item) for items in rows for item in items]
        totals = [x for at in range(0, len(games), CHUNK) for x in judge(games[at : at + CHUNK]).total]
        return _means(rows, totals)

    return score


def _game(item: Any) -> Game:
    return Game((Turn("row", item.context, Reply(better(item))),), item=Prompt(item.context, item.meta))


def by_likelihood(name: str, device: str = "auto") -> Score:
    """A language model's log-probability per token of a row's answers, in nats: high is what the model expects."""
    import torch

    lm = sources.load(name, device=device)

    def score(rows: Sequence[Sequence[Any]]) -> list[float]:
        demos = [Demo(item.context, better(item), item.complete) for items in rows for item in items]
        groups = list(Plan(demos, lm.tokenizer))
        found: list[float] = []
        with torch.no_grad():
            for at in range(0, len(groups), CHUNK):
                sums: dict[int, float] = {}
                for part in Batch(groups[at : at + CHUNK]).parts():
                    sums |= dict(zip(map(id, part.groups), lm.token_logps(part).double().sum(1).tolist(), strict=True))
                found += [sums[id(g)] / len(g.completions[0]) for g in groups[at : at + CHUNK]]
        return _means(rows, found)

    return score


def _means(rows: Sequence[Sequence[Any]], values: Sequence[float]) -> list[float]:
    rest = iter(values)
    return [sum(next(rest) for _ in items) / len(items) for items in rows]
