"""`plumbline open RUN`: the report of a run."""

from __future__ import annotations

import webbrowser
from pathlib import Path

from plumbline.cli.signature import Answer
from plumbline.core.errors import UserError


def show_report(run: str, *, browser: bool = False) -> Answer:
    """Print where a run's report is.

    `run`: a run folder.   `browser`: open the report in the browser too.
    """
    path = Path(run) / "report.html"
    if not Path(run).is_dir():
        raise UserError(f"there is no run folder {run}", "Give the folder that was --out of a command.")
    if not path.is_file():
        raise UserError(f"{run} holds no report.html", f"`plumbline eval {run}` writes one.")
    if browser:
        webbrowser.open(path.resolve().as_uri())
    return {"report": str(path)}, str(path)
