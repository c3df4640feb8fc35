"""`sample`: replies of a model to prompts, scored by a reward where one is named, as rows that training reads.

replies   every reply, {"prompt", "completion", "complete", "score"}: what there is to read
best      the best of n by the reward, as demonstrations
pairs     all pairs of a prompt's replies that the reward tells apart, the better one chosen, as comparisons: DPO from a reward
          (Rafailov et al. 2023, arXiv 2305.18290, app. C.1, make six pairs of four samples of each prompt)
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from plumbline.core.errors import UserError
from plumbline.core.interfaces import Reward
from plumbline.core.nouns import Prompt, Reply, Sampling, Scores
from plumbline.evals import stats
from plumbline.pipelines.best_of import PLAIN, BestOf, Samples, best_of
from plumbline.rewards.items import messages

Row = dict[str, Any]
FORMS = ("replies", "best", "pairs")


def sample(
    model: Samples, prompts: Sequence[Prompt], reward: Reward | None, n: int, *, form: str = "replies", sampling: Sampling = PLAIN
) -> tuple[list[Row], dict[str, Any]]:
    """The rows, and figures of the replies."""
    if form not in FORMS:
        raise UserError(f"--form is {form!r}", f"Choose one of {', '.join(FORMS)}.")
    if form != "replies" and reward is None:
        raise UserError(f"{form} are chosen by a reward", "Pass --reward, or --form replies.")
    if form != "replies" and n < 2:
        raise UserError(f"{form} of {n} reply a prompt", "Pass --n 2 or more.")
    drawn = best_of(model, prompts, reward or _unscored, n, sampling=sampling)
    rows = list(_ROWS[form](drawn))
    if reward is None:
        rows = [{key: value for key, value in row.items() if key != "score"} for row in rows]
    if not rows:
        raise UserError("no two replies to a prompt are told apart by the reward", "Draw more of them (--n), or take another reward.")
    cut = [float(reply.finish == "length") for replies in drawn.samples for reply in replies]
    figures: dict[str, Any] = {"rows": len(rows), "prompts": len(prompts), "cut": sum(cut) / len(cut)}
    if reward is not None:
        figures |= {"score": stats.mean(drawn.proxy_PN.mean(1)).json(), "best": stats.mean(drawn.proxy_PN.max(1)).json()}
    return rows, figures


def write(rows: Sequence[Row], out: str) -> None:
    """A line of JSON per row; a file that is there is not overwritten."""
    path = Path(out)
    if path.exists():
        raise UserError(f"{path} exists already", "Give another --out.")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def _unscored(games: Sequence[Any]) -> Scores:
    return Scores({"score": [0.0] * len(games)})


def _spoken(drawn: BestOf) -> Iterator[tuple[Any, list[tuple[Reply, float]]]]:
    """Each prompt as it is written in JSON, with its replies that say something, and their scores."""
    for prompt, replies, scores in zip(drawn.prompts, drawn.samples, drawn.proxy_PN.tolist(), strict=True):
        said = [(reply, score) for reply, score in zip(replies, scores, strict=True) if reply.text.strip()]
        yield messages(prompt.context) or prompt.context, said


def _replies(drawn: BestOf) -> Iterator[Row]:
    for prompt, said in _spoken(drawn):
        for reply, score in said:
            yield {"prompt": prompt, "completion": reply.text, "complete": reply.finish == "stop", "score": score}


def _best(drawn: BestOf) -> Iterator[Row]:
    for prompt, said in _spoken(drawn):
        if said:
            reply, score = max(said, key=lambda one: one[1])
            yield {"prompt": prompt, "completion": reply.text, "complete": reply.finish == "stop", "score": score}


def _pairs(drawn: BestOf) -> Iterator[Row]:
    """No end token is trained on where either reply was cut: only a reply that ended can teach ending, and a row has one say in it."""
    for prompt, said in _spoken(drawn):
        for a, b in itertools.combinations(said, 2):
            (better, high), (worse, low) = (a, b) if a[1] >= b[1] else (b, a)
            if high > low and better.text != worse.text:
                whole = better.finish == "stop" and worse.finish == "stop"
                yield {"prompt": prompt, "chosen": better.text, "rejected": worse.text, "complete": whole, "margin": high - low}


_ROWS = {"replies": _replies, "best": _best, "pairs": _pairs}
