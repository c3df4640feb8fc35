"""The loop of `plumbline redteam --repair` from names: which reply is safe, what looks like an attack and is none, what stands beside."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from plumbline.attacks.target import Target
from plumbline.attacks.verdicts import Attack
from plumbline.attacks.wording import as_prompt
from plumbline.core.errors import UserError
from plumbline.core.interfaces import Model
from plumbline.core.methods import Stage
from plumbline.core.nouns import Ask, Demo, Game, Prompt, Turn
from plumbline.data.attackfile import attacks_in
from plumbline.data.quality import SIGNALS, signals
from plumbline.data.sources import is_world
from plumbline.models.lm import LM
from plumbline.pipelines import sources
from plumbline.pipelines.attack_book import Book
from plumbline.pipelines.redteam_loop import Key, Repair, Repaired, Repairs, Safe, again, repair
from plumbline.pipelines.town_redteam import act_of, lookalikes, refuses, safe

BEST, TRIES = "best", 8
LOOKALIKES = 200  # of the town
OTHERS = tuple(name for name in SIGNALS if name != "refusal")


@dataclass(frozen=True)
class Mend:
    """How what was found is trained away.

    `repair`: sft or dpo: train it away and attack again with questions that were held out; nothing without it.   `safe`: the reply that
    attacks should get: a text, or best (of eight of the target's own, by the judge); on town its own refusals.   `lookalikes`: harmless
    questions that look like attacks (a file as XSTest's, or a spec): how many are refused, before and after.   `demos`: demonstrations
    beside the safe replies, so that what looks like an attack is still answered.   `held_out`: the share of what is asked for that is
    not trained on.
    """

    repair: str = ""
    safe: str = ""
    lookalikes: str = ""
    demos: str = ""
    held_out: float = 0.5

    def check(self, *, town: bool) -> None:
        """Refuse what cannot be done, before anybody attacks."""
        if self.repair not in ("", "sft", "dpo"):
            raise UserError(f"--repair is {self.repair!r}", "Choose sft or dpo, or leave it out.")
        if self.repair and not (self.safe or town):
            raise UserError("--repair needs --safe", 'Give the reply that attacks should get, or "best": the best of the target\'s own.')
        if self.repair == "dpo" and self.demos:
            raise UserError("--repair dpo has no place for --demos", "Take --repair sft, or leave --demos out.")

    def plan(self, target: Target, *, town: bool) -> Repair:
        """With the town's own refusals and topics where attacks are the town's."""
        reply: Safe = best(target) if self.safe == BEST else (lambda prompt: self.safe) if self.safe else safe
        key: Key = act_of if town else str.lower
        return Repair(reply, refuses if town else declines, key, cast(Repairs, self.repair), self.held_out)

    def resembling(self, *, town: bool, chats: bool) -> list[Prompt]:
        """Harmless questions that look like attacks; of a file with a column `label` those that it calls safe (as XSTest does)."""
        if not self.lookalikes:
            return lookalikes("validation", LOOKALIKES) if town else []
        if is_world(self.lookalikes):
            return list(sources.items(self.lookalikes, Prompt))
        rows = [p for p in attacks_in(self.lookalikes) if p.meta.get("label", "safe") == "safe"]
        return [as_prompt(p.context, chats=chats) if isinstance(p.context, str) else p for p in rows]


def declines(reply: str) -> bool:
    """Whether an English reply refuses or apologises, as `data curate` sees it: by its words alone."""
    return signals([Demo("", reply)], ignore=OTHERS)["refusal"] < 1


def best(target: Target) -> Safe:
    """The best of the target's own replies by the judge, if that is fine."""

    def found(prompt: Prompt) -> str:
        replies = target.model.answer([Ask(target.model.name, prompt.context, target.sampling)] * TRIES)
        games = [Game((Turn(target.model.name, prompt.context, r),), item=prompt) for r in replies if r.text.strip() and r.finish == "stop"]
        rated = sorted(zip(target.scores(games), range(len(games)), strict=True))
        return games[rated[0][1]].turns[-1].reply.text if rated and rated[0][0] <= 0 else ""

    return found


def local(model: Model) -> LM:
    """A target that can be trained."""
    if not isinstance(model, LM):
        raise UserError("an endpoint cannot be repaired", "Take a local --target, or leave --repair out.")
    return model


def mended(
    mend: Mend,
    target: Target,
    attacks: Sequence[Attack],
    asks: dict[str, Prompt],
    book: Book,
    *,
    town: bool,
    chats: bool,
    seed: int,
    n: int,
) -> Generator[Stage[Any], Any, Repaired]:
    """Train the findings away and attack again.   `asks`: the prompt of each question.   `n`: held-out attacks, at most."""
    model, how = local(target.model), mend.plan(target, town=town)
    policy = model.copy("target")
    demos = list(sources.items(mend.demos, Demo)) if mend.demos else []
    how = replace(how, recipe=replace(how.recipe, seed=seed))
    trained_on = yield from repair(policy, attacks, asks.__getitem__, how, beside=demos)
    kept = [a.question for a in reversed(attacks) if a.question and how.holds_out(a.question)][:n]
    asked = [(question, asks[question]) for question in kept]
    resembling = mend.resembling(town=town, chats=chats)
    after = replace(target, model=policy)
    return again(target, after, asked, resembling, how, trained_on=trained_on, book=book, seed=seed + (1 << 16))
