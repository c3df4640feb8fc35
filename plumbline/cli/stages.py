"""What commands of several stages share: which learner is meant, and the flags of loading, reading, the stages and the learner."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from plumbline.cli.signature import add_signature, read_config


def learner_named(argv: Sequence[str], default: str) -> str:
    """The --learner of a command line, or of its --config: its settings are flags, so it is read before they are parsed."""
    words = [w for word in argv for w in word.split("=", 1)]
    config = read_config(words[words.index("--config") + 1]) if "--config" in words[:-1] else {}
    return words[words.index("--learner") + 1] if "--learner" in words[:-1] else str(config.get("learner", default))


def load_names() -> list[str]:
    """The flags that say how a model is loaded."""
    from plumbline.pipelines import sources

    return [name for name in inspect.signature(sources.load).parameters if name not in ("model", "seed")]


def add_run(parser: Any) -> None:
    """Flags of a run that may be killed and resumed."""
    parser.add_argument("--resume", type=bool, default=False, help="go on with the run that is in --out")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads, 0 leaves them as they are")
    parser.add_argument("--fault", type=str, default="", help="kill the process at a fault point, to test resuming (docs/resume.md)")


def add_stages(parser: Any, method: Any, usual: Any) -> None:
    """Flags of loading and reading, of each stage's recipe (`usual` are the defaults), and of the learner."""
    from plumbline.engine.recipe import Recipe
    from plumbline.pipelines import sources
    from plumbline.pipelines.feed import Feed
    from plumbline.pipelines.rlhf_run import NOT_FED, STAGES

    add_signature(parser, sources.load, ("model", "seed"))
    add_signature(parser, Feed, NOT_FED)
    for flag, field in STAGES.items():
        add_signature(parser, Recipe, under=flag)
        recipe = getattr(usual, field)
        parser.set_defaults({f"{flag}.{f.name}": getattr(recipe, f.name) for f in fields(Recipe)})
    if method.defaults:
        add_signature(parser, method.function, method.roles, under=method.name)
