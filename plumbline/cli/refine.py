"""`plumbline refine`: rounds of replies, labels, training and a verdict.   How a round trains is --learn.…, its learner --LEARNER.…"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from plumbline.cli.signature import add_signature, answer, make_parser, need, parse
from plumbline.cli.stages import add_run, learner_named, load_names
from plumbline.cli.train import ORACLE, REWARD
from plumbline.core.errors import UserError
from plumbline.core.registry import load_method

ABOUT = """Iterative refinement: the model's replies are labelled and learned from, measured, and kept or rolled back, round after round."""
FLAGS = {
    "model": ("a model directory, hub name, run folder, or town, town-s, town-m, town-l", ""),
    "prompts": ("what is answered and labelled: a file, or town:prompts?n=2000", ""),
    "oracle": (ORACLE, ""),
    "reward": (f"instead, a reward that says which reply is best and which worst: {REWARD}", ""),
    "judge": ("instead, a model that compares replies: by name, http://…, or script:file.py:function", ""),
    "eval_prompts": ("what rounds are measured on; of town its validation split, else a tenth of --prompts", ""),
    "out": ("the run folder", ""),
    "learner": ("dpo, ipo, slic or kto; its settings are --LEARNER.setting", "dpo"),
}
LEARNERS = ("dpo", "ipo", "slic", "kto")


def refine(argv: Sequence[str]) -> None:
    """Parse, run the rounds, say how they ended."""
    name = learner_named(list(argv), "dpo")
    if name not in LEARNERS:
        raise UserError(f"--learner {name}: not a method that learns from comparisons or thumbs", f"Choose one of {', '.join(LEARNERS)}.")
    method = load_method(name)
    parser = _parser(method)
    options = parse(parser, argv)
    need("refine", model=options.model, prompts=options.prompts, out=options.out)
    made = parser.instantiate(options)
    from plumbline.pipelines.feed import Feed
    from plumbline.pipelines.refine import Rules
    from plumbline.pipelines.refine_run import Given, Options, run

    given = Given(**{f.name: options[f.name] for f in fields(Given)})
    given.check()
    learner = method(**(vars(made[name]) if method.defaults else {}))
    learner.check()

    def named(kind: Any) -> dict[str, Any]:
        return {f.name: options[f.name] for f in fields(kind) if f.name != "eval_data"}

    rules, how, feed = Rules(**named(Rules)), Options(**named(Options)), Feed(**named(Feed))
    load = {flag: options[flag] for flag in load_names()}
    where = {"out": options.out, "resume": options.resume, "threads": options.threads, "fault": options.fault}
    answer(run(given, learner, made["learn"], rules, how, load=load, feed=feed, **where), options.json)


def _parser(method: Any) -> Any:
    from plumbline.engine.recipe import Recipe
    from plumbline.pipelines import sources
    from plumbline.pipelines.feed import Feed
    from plumbline.pipelines.refine import Rules
    from plumbline.pipelines.refine_run import USUAL, Options

    parser = make_parser("plumbline refine", ABOUT)
    for name, (words, default) in FLAGS.items():
        parser.add_argument(f"--{name}", type=str, default=default, help=words)
    add_run(parser)
    add_signature(parser, Rules)
    add_signature(parser, Options)
    add_signature(parser, sources.load, ("model", "seed"))
    add_signature(parser, Feed, ("eval_data",))
    add_signature(parser, Recipe, under="learn")
    parser.set_defaults({f"learn.{f.name}": getattr(USUAL, f.name) for f in fields(Recipe)})
    if method.defaults:
        add_signature(parser, method.function, method.roles, under=method.name)
    return parser
