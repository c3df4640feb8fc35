"""`plumbline cai`: Constitutional AI from a constitution file, prompts and a model.   Flags of a stage begin with its name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from plumbline.cli.bounds import unused
from plumbline.cli.signature import add_signature, answer, make_parser, need, parse
from plumbline.cli.stages import add_run, add_stages, learner_named, load_names
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
    "learner": ("dpo, ipo or slic, or by a preference model ppo, grpo or rloo; its settings are --LEARNER.setting", "dpo"),
}
LEARNERS = ("dpo", "ipo", "slic", "ppo", "grpo", "rloo")


def cai(argv: Sequence[str]) -> None:
    """Parse, run the stages, say how they ended."""
    method = load_method(_learner(list(argv)))
    parser = _parser(method)
    options = parse(parser, argv)
    need("cai", prompts=options.prompts)
    from plumbline.pipelines.cai_run import Given, Options, preview, run
    from plumbline.pipelines.feed import Feed
    from plumbline.pipelines.recipes import Recipes
    from plumbline.pipelines.rlhf_run import NOT_FED, STAGES

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
    unused(Path(options.out), resume=options.resume)
    recipes = Recipes(**{field: made[flag] for flag, field in STAGES.items()})
    load = {name: options[name] for name in load_names()}
    where = {"out": options.out, "resume": options.resume, "threads": options.threads, "fault": options.fault}
    answer(run(given, learner, recipes, how, load=load, feed=feed, **where), options.json)


def _learner(argv: list[str]) -> str:
    """The method that learns from the labels: its settings are flags.   Named on the command line, or in a --config."""
    name = learner_named(argv, "dpo")
    if name not in LEARNERS:
        raise UserError(f"--learner {name}: not a method that learns from labels here", f"Choose one of {', '.join(LEARNERS)}.")
    return name


def _parser(method: Any) -> Any:
    from plumbline.pipelines.cai import usual
    from plumbline.pipelines.cai_run import Options

    parser = make_parser("plumbline cai", ABOUT)
    for name, (words, default) in FLAGS.items():
        parser.add_argument(f"--{name}", type=str, default=default, help=words)
    parser.add_argument("--dry_run", type=bool, default=False, help="show what would be asked; no model is loaded, nothing is written")
    add_run(parser)
    add_signature(parser, Options)
    add_stages(parser, method, usual(method))
    return parser
