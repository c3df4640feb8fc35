"""`plumbline icl`: a prompt instead of training.   Examples are chosen and ordered by a validation score; the product is a prompt file.

score     log-likelihood of demonstrations that were held out: Σ log π_P(y|x) / |y|, the mean over them, nats a token (any local model)
          or what a reward gives the replies to validation prompts (gold on town, any reward on a file; endpoints too)
check     the prompt that was chosen against none, on rows that the search did not see: the search's own score is that of a winner

Every score is kept in the run folder as soon as it is known, so a killed search goes on without asking again.
Lin et al. 2023 (URIAL), arXiv 2312.01552: a few constant examples and rules go a long way; Rubin et al. 2022, arXiv 2112.08633: which
examples matters, and a language model's likelihood says which.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, Protocol

import numpy as np
import torch

from plumbline.core.batches import Group
from plumbline.core.errors import UserError
from plumbline.core.interfaces import Model, Reward
from plumbline.core.nouns import Ask, Demo, Game, Prompt, Sampling, Turn
from plumbline.data.promptfile import PromptFile
from plumbline.engine.checkpoints import write_atomically
from plumbline.engine.progress import Progress, clock
from plumbline.engine.runs import RunFolder
from plumbline.evals import stats
from plumbline.evals.stats import Figure
from plumbline.models.lm import LM
from plumbline.models.prompted import Preface, Prompted, PromptTooLongError, before, fitting, known_limit
from plumbline.pipelines.icl_search import NEVER, Order, Plan, Searched, search
from plumbline.rewards.items import fixed
from plumbline.world.draw import rng

ROW_TOKENS = 512  # positions of one row of the kernel, about


class Judged(Protocol):
    """What a prompt is worth: a number per held-out row, of which the mean is the score.   `says`: what the number is."""

    @property
    def says(self) -> str: ...
    def __call__(self, preface: Preface, /) -> list[float]: ...


@dataclass(frozen=True)
class Likelihood:
    """How well the model foresees demonstrations after a prompt: mean log-probability of a reply's tokens, a number per demonstration.

    All questions share the prompt, so it is computed once for as many of them as a row holds.
    """

    lm: LM
    demos: Sequence[Demo]
    says: str = "nats a token of held-out demonstrations (log-probability)"

    def __call__(self, preface: Preface) -> list[float]:
        tokenizer, limit = self.lm.tokenizer, known_limit(self.lm) or 1 << 30
        tails = [tokenizer.completion_ids(before(preface, d.context), d.completion, complete=d.complete) for d in self.demos]
        heads = [fitting(tokenizer, preface, d.context, limit, len(tail)) for d, tail in zip(self.demos, tails, strict=True)]
        return mean_logps(self.lm, heads, tails)


def mean_logps(lm: LM, heads: Sequence[Sequence[int]], tails: Sequence[Sequence[int]]) -> list[float]:
    """Mean log-probability of the tokens of each tail after its head; what all heads begin with is computed once for many of them."""
    common = _common(heads)
    found: list[float] = []
    rest = [(*head[common:], *tail) for head, tail in zip(heads, tails, strict=True)]
    for rows in _chunks(rest, max(ROW_TOKENS - common, ROW_TOKENS // 2)):
        completions = tuple(rest[i] for i in rows)
        with torch.no_grad():
            logp_NT = lm.token_logps([Group(tuple(heads[0][:common]), completions)]).double().cpu()
        for row_T, i in zip(logp_NT, rows, strict=True):
            end = len(rest[i])
            found.append(float(row_T[end - len(tails[i]) : end].mean()))
    return found


def _common(heads: Sequence[Sequence[int]]) -> int:
    """How many ids all heads begin with."""
    first, last = min(map(tuple, heads)), max(map(tuple, heads))
    return next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))


def _chunks(rows: Sequence[Sequence[int]], room: int) -> list[list[int]]:
    """Numbers of rows, in order, in chunks of at most `room` tokens (or one row)."""
    chunks: list[list[int]] = []
    size = room + 1
    for i, row in enumerate(rows):
        if size + len(row) > room:
            chunks, size = [*chunks, []], 0
        chunks[-1].append(i)
        size += len(row)
    return chunks


@dataclass(frozen=True)
class Replies:
    """What a reward gives a model's replies to validation prompts after a prompt, one reply each, drawn with the same noise every time."""

    model: Model
    prompts: Sequence[Prompt]
    reward: Reward
    sampling: Sampling
    says: str = "the reward of a reply to a validation prompt"

    def __call__(self, preface: Preface) -> list[float]:
        asked = Prompted(self.model, preface)
        replies = asked.answer([Ask(asked.name, p.context, self.sampling) for p in self.prompts])
        games = [Game((Turn(asked.name, p.context, r),), item=p) for p, r in zip(self.prompts, replies, strict=True)]
        return [float(x) for x in fixed(self.reward)(games).total]


@dataclass
class Ledger:
    """Scores by order: each is asked for once, and kept in the run folder.   `asked`: how many were asked for in this process."""

    judged: Judged
    candidates: Sequence[Demo]
    principles: tuple[str, ...]
    run: RunFolder | None = None
    progress: Progress = field(default_factory=lambda: Progress(quiet=True))
    expected: int = 0
    asked: int = 0
    scores: dict[Order, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.began = self.said = time.monotonic()
        if self.run is not None:
            kept = self.run.read("metrics")
            self.run.rewind(1 << 62)  # a line that a crash has cut is taken out before others follow it
            self.run.step = len(kept)
            self.scores = {tuple(r["order"]): NEVER if r["score"] is None else r["score"] for r in kept}

    def __call__(self, order: Order) -> float:
        """The score of the prompt with these candidates as examples, in this order."""
        if order not in self.scores:
            score = self._ask(order)
            self.asked += 1
            if self.run is not None:
                self.run.step += 1
                self.run.append("metrics", {"order": list(order), "score": None if score == NEVER else score})
            self.scores[order] = score
            self._say()
        return self.scores[order]

    def preface(self, order: Order) -> PromptFile:
        """The prompt of an order."""
        return PromptFile(self.principles, tuple(self.candidates[i] for i in order))

    def _ask(self, order: Order) -> float:
        try:
            return fmean(self.judged(self.preface(order)))
        except PromptTooLongError:
            if not order:
                raise  # not even the principles fit
            return NEVER

    def _say(self) -> None:
        now, done = time.monotonic(), len(self.scores)
        if now - self.said >= max(self.progress.pause, 1.0):
            self.said = now
            left = (now - self.began) / self.asked * max(0, self.expected - done)
            best = max(self.scores.values())
            self.progress.note(f"icl  {done} of at most {self.expected} prompts scored  best {best:.4f}  {clock(left)} left")


@dataclass(frozen=True)
class Chosen:
    """The product: the prompt file, the search, and its check on rows that the search did not see: (prompt, nothing, difference)."""

    prompt: PromptFile
    searched: Searched
    check: dict[str, Figure]
    asked: int

    def figures(self) -> dict[str, Any]:
        """For `--json`."""
        curve = {str(size): seen.score for size, seen in sorted(self.searched.by_size.items())}
        check = stats.as_json(self.check) if self.check else {}
        return {
            "examples": len(self.prompt.examples),
            "score": self.searched.best.score,
            "curve": curve,
            "check": check,
            "asked": self.asked,
        }


def choose(
    candidates: Sequence[Demo],
    judged: Judged,
    plan: Plan,
    *,
    principles: Sequence[str] = (),
    check: Judged | None = None,
    found: dict[str, Any] | None = None,
    rows: Sequence[int] = (),
    run: RunFolder | None = None,
    progress: Progress | None = None,
) -> Chosen:
    """The best prompt by `judged`, looked at again by `check`.

    `found`: what the file says of where it comes from.   `rows`: the candidates' places in their file.
    """
    ledger = Ledger(judged, candidates, tuple(principles), run, progress or Progress(quiet=True), plan.scores(len(candidates)))
    searched = search(len(candidates), ledger, plan)
    best = ledger.preface(searched.best.order)
    figures = checked(check, best) if check is not None else {}
    said: dict[str, Any] = {**(found or {}), "score": {"is": judged.says, "value": round(searched.best.score, 6)}}
    said["curve"] = {size: round(seen.score, 6) for size, seen in sorted(searched.by_size.items())}
    said["rows"] = [rows[i] if rows else i + 1 for i in searched.best.order]
    if figures:
        said["check"] = {name: str(figure) for name, figure in figures.items()}
    return Chosen(PromptFile(best.principles, best.examples, found=said), searched, figures, ledger.asked)


def checked(judged: Judged, prompt: Preface) -> dict[str, Figure]:
    """A prompt against none, paired."""
    with_N, bare_N = (np.array(judged(preface)) for preface in (prompt, PromptFile()))
    return {"prompt": stats.mean(with_N), "nothing": stats.mean(bare_N), "difference": stats.difference(with_N, bare_N)}


def split(demos: Sequence[Demo], held_out: int, seed: int) -> tuple[list[Demo], list[Demo], list[Demo]]:
    """(candidates, held out for the search, held out for the check); the candidates keep the order of the file."""
    if len(demos) < 2 * held_out + 1:
        raise UserError(
            f"{len(demos)} demonstrations are too few to hold out two times {held_out}", "Give more, a lower --heldout, or --on FILE."
        )
    drawn = rng("icl held out", seed).sample(range(len(demos)), 2 * held_out)
    out = set(drawn)
    return (
        [d for i, d in enumerate(demos) if i not in out],
        [demos[i] for i in drawn[:held_out]],
        [demos[i] for i in drawn[held_out:]],
    )


def unseen(candidates: Sequence[Demo], others: Sequence[Demo | Prompt]) -> list[Demo]:
    """Candidates whose question is not among those that are scored: they would give the answer away."""
    questions = {repr(other.context) for other in others}
    return [d for d in candidates if repr(d.context) not in questions]


def same_search(run: RunFolder, asked: dict[str, Any]) -> None:
    """Note what is asked for, or refuse to go on with a folder in which something else was asked."""
    before = run.config().get("search")
    if before is not None and before != asked:
        odd = next(name for name in {**before, **asked} if before.get(name) != asked.get(name))
        raise UserError(
            f"{run.path} holds a search with another {odd}: {before.get(odd)}, now {asked.get(odd)}",
            "Give the same options, or another --out.",
        )
    if before is None:
        run.write_config({"search": asked})


def digest(rows: Sequence[Demo | Prompt], *more: str) -> str:
    """A hash of rows and texts."""
    said = [(r.context, r.completion if isinstance(r, Demo) else r.id) for r in rows]
    return hashlib.sha256(repr((said, more)).encode()).hexdigest()[:16]


def write(prompt: PromptFile, path: Path) -> None:
    """The file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, prompt.text().encode())
