"""The loop: what attacks found is trained away, and the attack is made again with questions that were not trained on.

    findings      attacks that the judge called bad
    split         by what is asked for (of the town the act, else the question): nothing of it stands on both sides
    repair        SFT on (question, safe reply), or DPO on safe over bad; ordinary demonstrations beside it keep the rest
    again         the held-out questions, before and after, with the same noise: paired
    over-refusal  the share of look-alikes (harmless questions that resemble attacks) that are refused, before and after

Perez et al. 2022, arXiv 2202.03286, §7, name the loop; Röttger et al. 2023, arXiv 2308.01263 (XSTest), what it must not cost.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from plumbline.attacks.target import Target
from plumbline.attacks.verdicts import Attack
from plumbline.core.errors import UserError
from plumbline.core.methods import Stage
from plumbline.core.nouns import Comparison, Demo, Prompt
from plumbline.data import Plan
from plumbline.engine.loader import Loader
from plumbline.engine.recipe import Recipe
from plumbline.evals import stats
from plumbline.evals.stats import Figure
from plumbline.methods.dpo import dpo
from plumbline.methods.sft import sft
from plumbline.models.lm import LM
from plumbline.pipelines.attack_book import Asked, Book

Repairs = Literal["sft", "dpo"]
Safe = Callable[[Prompt], str]
Key = Callable[[str], str]
STAGE = "repair"


@dataclass(frozen=True)
class Repair:
    """How findings are trained away.   `safe`: the reply that a finding should have got; "" leaves it out.   `key`: what is asked for.

    `held_out`: the share of what is asked for that is not trained on.   `refuses`: whether a reply refuses.
    """

    safe: Safe
    refuses: Callable[[str], bool]
    key: Key = str.lower
    how: Repairs = "sft"
    held_out: float = 0.5
    recipe: Recipe = field(default_factory=lambda: Recipe(epochs=4, batch=16, lr=5e-4, warmup=0.1))
    beta: float = 0.1

    def holds_out(self, question: str) -> bool:
        """Whether a question is one of those that are not trained on."""
        return zlib.crc32(self.key(question).encode()) % 1000 < 1000 * self.held_out


@dataclass(frozen=True)
class Repaired:
    """Shares before and after: bad replies to held-out attacks, refused look-alikes.   Differences are after − before, paired.

    `truth`: bad in truth, where gold knows it; else nothing.
    """

    trained_on: int
    attacks: dict[str, Figure]
    refusals: dict[str, Figure]
    truth: dict[str, Figure] = field(default_factory=dict)

    def json(self) -> dict[str, Any]:
        """For --json."""
        tables = {"held_out": self.attacks, "held_out_truth": self.truth, "over_refusal": self.refusals}
        return {"trained_on": self.trained_on, **stats.as_json({name: table for name, table in tables.items() if table})}

    def lines(self) -> list[str]:
        """For people."""
        found = [f"repaired on {self.trained_on} findings"]
        tables = (("bad on held-out attacks", self.attacks), ("in truth", self.truth), ("look-alikes refused", self.refusals))
        for what, rows in tables:
            if rows:
                before, after, gap = rows["before"], rows["after"], rows["difference"]
                found.append(f"  {what}: {before.mean:.3f} → {after.mean:.3f}, {gap.signed()}")
        return found


def repair(
    policy: LM, attacks: Sequence[Attack], ask: Callable[[str], Prompt], how: Repair, *, beside: Sequence[Demo] = ()
) -> Generator[Stage[Any], Any, int]:
    """The stage that trains findings away; returns how many were trained on."""
    rows = lessons(attacks, ask, how)
    if not rows:
        raise UserError("no attack that succeeded is left to train on", "Attack more (--n, --how), or lower --held_out.")
    yield Stage(STAGE, steps_of(policy, rows, how, beside), how.recipe)
    return len(rows)


def lessons(attacks: Sequence[Attack], ask: Callable[[str], Prompt], how: Repair) -> list[Comparison]:
    """Of every finding that is trained on, each question once: the safe reply over the bad one."""
    found: dict[str, Comparison] = {}
    for attack in attacks:
        if attack.verdict != "bad" or how.holds_out(attack.question):
            continue
        prompt = ask(attack.question)
        safe = how.safe(prompt)
        if safe and attack.reply.strip() and safe != attack.reply:
            found.setdefault(attack.question, Comparison(prompt.context, (safe, attack.reply), annotator="redteam"))
    return list(found.values())


def steps_of(policy: LM, rows: Sequence[Comparison], how: Repair, beside: Sequence[Demo]) -> Any:
    """SFT on the safe replies and the demonstrations beside them; or DPO on the pairs, which has no place for demonstrations."""
    if how.how == "sft":
        demos = [Demo(row.context, row.completions[0], annotator="redteam") for row in rows]
        return sft(policy, Loader(Plan([*demos, *beside], policy.tokenizer)))
    if how.how == "dpo":
        return dpo(beta=how.beta, nll=1.0)(policy, policy.frozen(), Loader(Plan(rows, policy.tokenizer)))
    raise UserError(f"--repair is {how.how!r}", "Choose sft or dpo.")


def again(
    before: Target, after: Target, asked: Asked, lookalikes: Sequence[Prompt], how: Repair, *, trained_on: int, book: Book, seed: int
) -> Repaired:
    """Both models on held-out attacks and on look-alikes, with the same noise."""
    arms = [book.play(name, len(asked), lambda: asked, one, seed) for name, one in (("before", before), ("after", after))]
    for name in ("before", "after") if asked else ():
        book.must_have_run(name)
    both = [(a, b) for a, b in zip(*arms, strict=True) if a.score is not None and b.score is not None]
    bad = [[float(pair[k].verdict == "bad") for pair in both] for k in (0, 1)]
    put_off = [[float(how.refuses(g.turns[-1].reply.text)) for g in one.games(lookalikes, seed)] for one in (before, after)]
    known = [pair for pair in both if pair[0].truth is not None and pair[1].truth is not None]
    truth = [[float(bool(pair[k].truth)) for pair in known] for k in (0, 1)]
    return Repaired(trained_on, table(*bad), table(*put_off), table(*truth))


def table(before: Sequence[float], after: Sequence[float]) -> dict[str, Figure]:
    """Two arms and their paired difference; nothing of nothing."""
    if not before:
        return {}
    return {"before": stats.mean(before), "after": stats.mean(after), "difference": stats.difference(after, before)}
