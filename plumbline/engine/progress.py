"""Progress on stderr: a line that is rewritten on a terminal, plain lines elsewhere.   Loss, gold where known, tokens/s, time left."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import TextIO


def clock(seconds: float) -> str:
    """75 → 1:15; 3,700 → 1:01:40."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class Progress:
    """Says where a run stands, at most every `pause` seconds where lines stay (default 5), ten times a second on a terminal."""

    def __init__(self, *, stream: TextIO | None = None, pause: float = 5.0, quiet: bool = False) -> None:
        self.stream = stream if stream is not None else sys.stderr
        self.live = self.stream.isatty()
        self.pause = 0.1 if self.live else pause
        self.quiet = quiet
        self.label = ""
        self.gold: float | None = None
        self.said = 0.0
        self.width = 0

    def step(self, step: int, share: float, figures: Mapping[str, float], *, rate: float, seconds: float, last: bool = False) -> None:
        """A step is done: `share` of the budget used after `seconds`, at `rate` tokens a second."""
        now = time.monotonic()
        if self.quiet or (now - self.said < self.pause and not last):
            return
        self.said = now
        left = seconds * (1 - share) / share if share > 0 else 0.0
        words = [self.label, f"step {step}", f"{min(share, 1):.0%}", f"loss {figures.get('loss', float('nan')):.4f}"]
        words += [f"{name} {figures[name]:.3f}" for name in ("accuracy",) if name in figures]
        words += [f"gold {self.gold:.3f}"] if self.gold is not None else []
        words += [f"{rate:,.0f} tokens/s", f"{clock(left)} left" if not last else f"took {clock(seconds)}"]
        self._write("  ".join(w for w in words if w), last)

    def note(self, text: str) -> None:
        """Something worth a line of its own."""
        if not self.quiet:
            self.stream.write(("\r" + " " * self.width + "\r" if self.live and self.width else "") + text + "\n")
            self.stream.flush()
            self.width = 0

    def _write(self, text: str, last: bool) -> None:
        if self.live:
            self.stream.write("\r" + text.ljust(self.width) + ("\n" if last else ""))
            self.width = 0 if last else len(text)
        else:
            self.stream.write(text + "\n")
        self.stream.flush()
