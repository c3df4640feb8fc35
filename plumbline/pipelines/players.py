"""Who plays: models by name, an endpoint, or a script, `script:file.py:function`, that answers each ask with text or one of its choices."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

from plumbline.core.errors import UserError
from plumbline.core.interfaces import Model
from plumbline.core.nouns import Ask, Reply, plain
from plumbline.models.scripted import Said, ScriptedModel
from plumbline.pipelines import sources
from plumbline.protocols.best_of import BestOf, persuades

SCRIPT = "script:"


def players(named: Mapping[str, str], *, best_of: int = 1, template: str = "") -> dict[str, Model]:
    """A model for each role by its name, loaded once where two roles have the same; `best_of`: speeches that the judge chooses among."""
    made: dict[str, Model] = {}
    for name in named.values():
        if name not in made:
            made[name] = script(name) if name.startswith(SCRIPT) else sources.answerer(name, template=template or None)
    models = {role: made[name] for role, name in named.items()}
    if best_of > 1 and "judge" in models:
        likes = persuades(models["judge"])
        models = {role: model if role == "judge" else BestOf(model, best_of, likes) for role, model in models.items()}
    return models


def script(spec: str) -> ScriptedModel:
    """A function of an `Ask` in a file."""
    place, _, name = spec.removeprefix(SCRIPT).rpartition(":")
    if not place.endswith(".py") or not name.isidentifier():
        raise UserError(f"{spec!r} names no script", "Write script:path/to/file.py:function.")
    if not Path(place).is_file():
        raise UserError(f"{place} does not exist", "Check the path (relative to the current folder).")
    return ScriptedModel(_guarded(_function(Path(place), name), spec), name=name)


def _guarded(function: Callable[[Ask], Said], spec: str) -> Callable[[Ask], Said]:
    """The function, whose own errors and wrong answers are said with its name."""

    def asked(ask: Ask) -> Said:
        try:
            said = function(ask)
        except (Exception, SystemExit) as error:  # a user's function may raise anything, and end the process
            about = plain(ask.context)[-80:]
            raise UserError(f"{spec} failed: {type(error).__name__}: {error}", f"Mend it; it was asked {about!r}.") from error
        text = said.text if isinstance(said, Reply) else said
        if not isinstance(text, str) or text.encode(errors="replace").decode() != text:
            raise UserError(
                f"{spec} answered {text!r}, which is no text in UTF-8", "Return text (empty to say nothing), or one of ask.choices."
            )
        return said

    return asked


def _function(path: Path, name: str) -> Callable[[Ask], Said]:
    made = importlib.util.spec_from_file_location(f"script_{path.stem}", path)
    assert made is not None
    assert made.loader is not None
    module = importlib.util.module_from_spec(made)
    try:
        made.loader.exec_module(module)
    except Exception as error:  # a user's file may raise anything while it is imported
        raise UserError(f"{path} could not be imported: {type(error).__name__}: {error}", "Run the file by itself to see where.") from error
    found = getattr(module, name, None)
    if not callable(found):
        raise UserError(f"{path} has no function {name!r}", f"Write `def {name}(ask): …` that returns text, or one of ask.choices.")
    return cast(Callable[[Ask], Said], found)
