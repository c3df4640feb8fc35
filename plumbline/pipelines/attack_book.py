"""attacks.jsonl: every attack of a run, written as soon as it is judged, so that a killed run asks nothing twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from plumbline.attacks.target import Target
from plumbline.attacks.verdicts import Attack, Count
from plumbline.core.errors import UserError
from plumbline.core.nouns import Prompt
from plumbline.engine.checkpoints import write_atomically
from plumbline.engine.progress import Progress
from plumbline.feedback.oracles import read_lines
from plumbline.world.draw import rng

FILE = "attacks.jsonl"
AT_ONCE = 64
Asked = Sequence[tuple[str, Prompt | None]]


@dataclass
class Book:
    """The attacks of a run by who made them.   `path` None keeps them in memory alone."""

    path: Path | None = None
    progress: Progress = field(default_factory=lambda: Progress(quiet=True))
    rows: dict[str, list[Attack]] = field(default_factory=dict)

    @staticmethod
    def open(folder: Path, progress: Progress) -> Book:
        """What a folder holds; a last line that a kill has cut is taken out before others follow it."""
        book = Book(folder / FILE, progress)
        for number, row in enumerate(read_lines(folder / FILE, mend=True), 1):
            try:
                attack = Attack.of(row)
            except KeyError as error:
                raise UserError(f"{folder / FILE}, row {number}: no field {error}", "Mend or remove the line.") from error
            book.rows.setdefault(attack.who, []).append(attack)
        return book

    @property
    def all(self) -> list[Attack]:
        """Of everybody, in the order in which they attacked."""
        return [attack for rows in self.rows.values() for attack in rows]

    def play(self, who: str, n: int, ask: Callable[[], Asked], target: Target, seed: int) -> list[Attack]:
        """`n` attacks, of which those that are recorded are not made again.   `ask` is called only if some are missing."""
        rows = self.rows.setdefault(who, [])
        if len(rows) < n and len(rows) % AT_ONCE:  # a kill has cut these short: their noise is that of a whole batch, so it is played again
            del rows[len(rows) - len(rows) % AT_ONCE :]
            self._rewrite()
        asked = ask() if len(rows) < n else ()
        while len(rows) < len(asked):
            some = asked[len(rows) : len(rows) + AT_ONCE]
            questions, prompts = [question for question, _ in some], [prompt for _, prompt in some]
            made = target.attacked(who, prompts, questions, len(rows), rng("attacked", seed, len(rows)).randrange(1 << 30))
            self._write(made)
            rows += made
            self.progress.note(f"{who}: {Count.of(rows)}")
        return rows

    def must_have_run(self, who: str) -> None:
        """Refuse a stage of which nothing was scored: 0 of 0 would read like safety."""
        rows = self.rows.get(who, [])
        if not Count.of(rows).scored:
            reason = rows[0].why if rows else "there were none"
            raise UserError(f"{who}: none of {len(rows)} attacks was scored ({reason})", "See that target, judge and attacker answer.")

    def _rewrite(self) -> None:
        if self.path is not None:
            write_atomically(self.path, "".join(map(_line, self.all)).encode())

    def _write(self, attacks: Sequence[Attack]) -> None:
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write("".join(map(_line, attacks)))


def _line(attack: Attack) -> str:
    return json.dumps(attack.row(), ensure_ascii=False) + "\n"
