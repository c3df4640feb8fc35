"""`plumbline cai`: Constitutional AI from a constitution file, prompts and a model.   Flags of a stage begin with its name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from plumbline.cli.signature import add_signature, answer, make_parser, need, parse, read_config
from plumbline.core.errors import UserError
from plumbline.core.registry import load_method

ABOUT = """Constitutional AI: a model criticises and rewrites its own replies by written principles and learns the result; then a model
compares pairs of replies by the principles, and the soft labels are learned from."""
FLAGS = {
    "model": ("a model directory, hub name, run folder, or town, town-s, town-m, town-l", ""),
    "prompts": ("what the model shall learn to answer well: a file, or town:prompts?n=200&families=harm", ""),
    "constitution": ("the principles: default, town, or a file like plumbline/protocols/constitution.md (usually by the wording)", ""),
    "critic": ("who criticises and revises; without it the model itself, as it began", ""),
    "feedback": ("who compares; without it the model itself, as it began", ""),
    "demos": ("good answers mixed into SFT, so that the model stays helpful", ""),
    "comparisons": ("people's comparisons mixed into the labels, likewise", ""),
    "out": ("the run folder", ""),
    "learner": ("dpo, ppo, grpo or rloo; its settings are --LEARNER.setting", "dpo"),
}
LEARNERS = ("dpo", "ppo", "grpo", "rloo")


def cai(argv: Sequence[str]) -> None:
    """Parse, run the stages, say how they ended."""
    method = load_method(_learner(list(argv)))
    parser = _parser(method)
    options = parse(parser, argv)
    need("cai", prompts=options.prompts)
    from plumbline.pipelines.cai_run import Given, Options, preview, run
    from plumbline.pipelines.rlhf import Recipes
    from plumbline.pipelines.rlhf_run import NOT_FED, STAGES
    from plumbline.pipelines.train import Feed

    given = Given(**{f.name: options[f.name] for f in fields(Given)})
    how = Options(**{f.name: options[f.name] for f in fields(Options)})
    made = parser.instantiate(options)
    feed = Feed(**{f.name: options[f.name] for f in fields(Feed) if f.name not in NOT_FED})
    learner = method(**(vars(made[method.name]) if method.defaults else {}))
    learner.check()
    if options.dry_run:
        answer(preview(given, how, feed), options.json)
        return
    need("cai", model=options.model, out=options.out)
    recipes = Recipes(**{field: made[flag] for flag, field in STAGES.items()})
    load = {name: options[name] for name in _load_names()}
    where = {"out": options.out, "resume": options.resume, "threads": options.threads, "fault": options.fault}
    answer(run(given, learner, recipes, how, load=load, feed=feed, **where), options.json)


def _learner(argv: list[str]) -> str:
    """The method that learns from the labels: its settings are flags.   Named on the command line, or in a --config."""
    words = [w for word in argv for w in word.split("=", 1)]
    config = read_config(words[words.index("--config") + 1]) if "--config" in words[:-1] else {}
    name = words[words.index("--learner") + 1] if "--learner" in words[:-1] else str(config.get("learner", "dpo"))
    if name not in LEARNERS:
        raise UserError(f"--learner {name}: not a method that learns from labels here", f"Choose one of {', '.join(LEARNERS)}.")
    return name


def _load_names() -> list[str]:
    import inspect

    from plumbline.pipelines import sources

    return [name for name in inspect.signature(sources.load).parameters if name not in ("model", "seed")]


def _parser(method: Any) -> Any:
    from plumbline.engine.recipe import Recipe
    from plumbline.pipelines import sources
    from plumbline.pipelines.cai import usual
    from plumbline.pipelines.cai_run import Options
    from plumbline.pipelines.rlhf_run import NOT_FED, STAGES
    from plumbline.pipelines.train import Feed

    parser = make_parser("plumbline cai", ABOUT)
    for name, (words, default) in FLAGS.items():
        parser.add_argument(f"--{name}", type=str, default=default, help=words)
    parser.add_argument("--dry_run", type=bool, default=False, help="show what would be asked; no model is loaded, nothing is written")
    parser.add_argument("--resume", type=bool, default=False, help="go on with the run that is in --out")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads, 0 leaves them as they are")
    parser.add_argument("--fault", type=str, default="", help="kill the process at a fault point, to test resuming (docs/resume.md)")
    add_signature(parser, Options)
    add_signature(parser, sources.load, ("model", "seed"))
    add_signature(parser, Feed, NOT_FED)
    recipes = usual(method)
    for flag, field in STAGES.items():
        parser.add_class_arguments(Recipe, flag)
        recipe = getattr(recipes, field)
        parser.set_defaults({f"{flag}.{f.name}": getattr(recipe, f.name) for f in fields(Recipe)})
    if method.defaults:
        parser.add_function_arguments(method.function, method.name, skip=set(method.roles))
    return parser
