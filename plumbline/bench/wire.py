"""What both sides of the bench share: one JSON line per request and per answer, and the memory that a process has needed.

Only the standard library, nothing of plumbline: the peer's process, in its own environment, imports this file by its place.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

STATUS = Path("/proc/self/status")


def serve(handlers: Mapping[str, Callable[..., Any]]) -> None:
    """Answer requests `{"do": name, …}` from stdin until it closes.   Whatever libraries print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"value": handlers[request.pop("do")](**request)}
        except Exception:
            answer = {"error": traceback.format_exc()}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def serve_work(setup: Callable[..., tuple[Any, str]], asked: Sequence[str], others: Mapping[str, Callable[..., Any]] | None = None) -> None:
    """Answer "setup", which makes what is measured (in place of what was) and a word about it, and the requests that are its methods."""
    held: dict[str, Any] = {}

    def begin(**given: Any) -> str:
        held.clear()
        held["work"], said = setup(**given)
        return said

    def ask(name: str) -> Callable[..., Any]:
        return lambda **given: getattr(held["work"], name)(**given)

    serve({"setup": begin, **{name: ask(name) for name in asked}, **(others or {})})


def reset_peak() -> None:
    """Forget the peak so far, where the kernel lets a process do so."""
    gc.collect()
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def memory_mb() -> dict[str, float]:
    """{"now", "peak"} resident MB of this process; without /proc, the peak of its whole life for both."""
    if not STATUS.exists():
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
        return {"now": peak, "peak": peak}
    lines = dict(line.split(":", 1) for line in STATUS.read_text().splitlines() if ":" in line)
    return {"now": int(lines["VmRSS"].split()[0]) * 1.024e-3, "peak": int(lines["VmHWM"].split()[0]) * 1.024e-3}
