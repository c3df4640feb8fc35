"""`plumbline rlhf`: demonstrations, feedback and prompts → SFT, a reward model, PPO.   Flags of a stage begin with its name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from plumbline.cli.bounds import unused
from plumbline.cli.signature import answer, make_parser, need, parse
from plumbline.cli.stages import add_run, add_stages, learner_named, load_names
from plumbline.core.errors import UserError
from plumbline.core.registry import load_method

ABOUT = """Reinforcement learning from human feedback: SFT on demonstrations, a reward model from comparisons or ratings, PPO against it.

A stage is left out where what it makes is given: no --demos, no SFT; with --reward, no reward model is trained."""
FLAGS = {
    "model": ("a model directory, hub name, run folder, or town, town-s, town-m, town-l", ""),
    "demos": ("demonstrations for SFT: a file, or town:demos?n=600", ""),
    "comparisons": ("comparisons for the reward model: a file, or town:comparisons?n=4000&ties=false", ""),
    "ratings": ("1–5 ratings for it instead", ""),
    "reward": ("a reward that is there already, as `train ppo` takes it", ""),
    "eval_feedback": ("held-out feedback of the same kind to measure the reward by; of town its validation split, else a tenth", ""),
    "prompts": ("what is answered and scored: a file, or town:prompts?n=4000", ""),
    "out": ("the run folder", ""),
    "learner": ("ppo, grpo or rloo; its settings are --LEARNER.setting", "ppo"),
}


def rlhf(argv: Sequence[str]) -> None:
    """Parse, run the stages, say how they ended."""
    method = load_method(_learner(list(argv)))
    parser = _parser(method)
    options = parse(parser, argv)
    need("rlhf", model=options.model, prompts=options.prompts, out=options.out)
    unused(Path(options.out), resume=options.resume)
    if sum(map(bool, (options.comparisons, options.ratings, options.reward))) != 1:
        raise UserError("rlhf wants one of --comparisons, --ratings and --reward", "Give the feedback that you have, or a reward.")
    made = parser.instantiate(options)
    from plumbline.pipelines.feed import Feed
    from plumbline.pipelines.recipes import Recipes
    from plumbline.pipelines.rlhf_run import NOT_FED, STAGES, Given, run

    settings = vars(made[method.name]) if method.defaults else {}
    recipes = Recipes(**{field: made[flag] for flag, field in STAGES.items()})
    given = Given(**{f.name: options[f.name] for f in fields(Given)})
    load = {name: options[name] for name in load_names()}
    feed = Feed(**{f.name: options[f.name] for f in fields(Feed) if f.name not in NOT_FED})
    how = {"out": options.out, "resume": options.resume, "threads": options.threads, "fault": options.fault}
    learner = method(**settings)
    learner.check()
    answer(run(given, learner, recipes, load=load, feed=feed, **how), options.json)


def _learner(argv: list[str]) -> str:
    """The method that optimises the reward: its settings are flags.   Named on the command line, or in a --config."""
    name = learner_named(argv, "ppo")
    if name not in ("ppo", "grpo", "rloo"):
        raise UserError(f"--learner {name}: not a method that optimises a reward", "Choose ppo, grpo or rloo.")
    return name


def _parser(method: Any) -> Any:
    from plumbline.pipelines.recipes import Recipes

    parser = make_parser("plumbline rlhf", ABOUT)
    for name, (words, default) in FLAGS.items():
        parser.add_argument(f"--{name}", type=str, default=default, help=words)
    add_run(parser)
    add_stages(parser, method, Recipes.of(method))
    return parser
