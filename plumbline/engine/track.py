"""`--track`: hand metrics to any tracker that Accelerate knows (tensorboard, wandb, mlflow …)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plumbline.core.errors import UserError
from plumbline.engine.runs import RunFolder


def _flat(record: Mapping[str, Any], head: str = "") -> dict[str, float]:
    """{"eval": {"gold": {"mean": 1}}} → {"eval/gold/mean": 1}; what is not a number is left out."""
    found: dict[str, float] = {}
    for name, value in record.items():
        if isinstance(value, Mapping):
            found.update(_flat(value, f"{head}{name}/"))
        elif isinstance(value, (int, float)):
            found[head + name] = value
    return found


class Tracker:
    """One of Accelerate's trackers, or nothing if the name is empty."""

    def __init__(self, name: str, run: RunFolder | None) -> None:
        self.inner: Any = None
        if name:
            self.inner = _open(name, run)
            if run is not None and run.config():
                self.inner.store_init_configuration({k: str(v) for k, v in run.config().items()})

    def log(self, record: Mapping[str, Any], step: int) -> None:
        """Numbers of a step."""
        if self.inner is not None:
            self.inner.log(_flat(record), step=step)

    def close(self) -> None:
        """The run is over."""
        if self.inner is not None:
            self.inner.finish()


def _open(name: str, run: RunFolder | None) -> Any:
    from accelerate import PartialState
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

    known = {str(getattr(k, "value", k)): v for k, v in LOGGER_TYPE_TO_CLASS.items()}
    if name not in known:
        raise UserError(f"there is no tracker {name!r}", f"Trackers: {', '.join(sorted(known))}.")
    if name not in [str(getattr(t, "value", t)) for t in get_available_trackers()]:
        raise UserError(f"tracker {name} is not installed", f"pip install {name}, or leave --track out: metrics.jsonl has the numbers.")
    PartialState()  # trackers ask it whether this is the main process
    tracker = known[name]
    where = run.path if run is not None else "."
    made = tracker(str(where), logging_dir=where) if tracker.requires_logging_directory else tracker(str(where))
    made.start()
    return made
