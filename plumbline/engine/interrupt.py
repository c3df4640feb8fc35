"""Ctrl-C and SIGTERM: the first one lets the batch finish and the state be saved, a second one stops at once."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupt:
    """Inside: `asked` says whether a signal came.   Without a run folder there is nothing to save, so signals act as usual."""

    def __init__(self, *, obeyed: bool) -> None:
        self.asked = False
        self.active = obeyed and threading.current_thread() is threading.main_thread()
        self.before: dict[int, Any] = {}

    def __enter__(self) -> Interrupt:
        if self.active:
            self.before = {s: signal.signal(s, self._note) for s in SIGNALS}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt("stopped at once; --resume goes on from the last checkpoint")
        self.asked = True
