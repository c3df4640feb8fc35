"""`plumbline train METHOD --model M --data F --out DIR`: its flags are the method's settings, the recipe's, and how to load and read."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from plumbline.cli.bounds import unused
from plumbline.cli.signature import add_signature, answer, make_parser, need, parse, read_config
from plumbline.core.errors import UserError
from plumbline.core.methods import Method
from plumbline.core.registry import entries, load_method
from plumbline.data.sources import is_world

NOT_REPLAYED = ("config", "json", "out", "resume", "fault")  # a replay is another run: it says where itself
REWARD = "a reward model's directory or run, gold (on town), rule:module:function, regex:…, json, http://…, or a .yaml file of several"
ORACLE = "who compares: town, town:ben+cleo?noise=0.1, a file of comparisons, or queue:FOLDER for people"
HELP = """usage: plumbline train METHOD --model M --data F --out DIR [options]

methods:
{methods}

`plumbline train METHOD --help` lists the options; --print_config shows them all, --config FILE replays them."""


def train(argv: Sequence[str]) -> None:
    """Parse the method's flags, train, and say how it ended."""
    name, rest = _method(list(argv))
    if not name:
        print(HELP.format(methods="\n".join(f"  {e.name:8} {e.summary}" for e in entries("method"))))
        return
    method = load_method(name)
    parser, kinds = _parser(method)
    options = parse(parser, rest)
    made = parser.instantiate(options)  # groups of settings (`--kl.coef`) become the method's own values
    judged = {role: options[role] for role in ("reward", "oracle") if role in method.roles}
    need(f"train {name}", model=options.model, data=options.data, out=options.out, **judged)
    unused(Path(options.out), resume=options.resume)
    chosen = {kind: {key: made[key] for key in keys} for kind, keys in kinds.items()}
    from plumbline.pipelines import sources
    from plumbline.pipelines.train import Settings, split_settings, train_policy

    chosen_method = method(**chosen["method"])
    chosen_method.check()
    if "oracle" in judged:
        _known(options.oracle, options.data, options.skip_bad)
    split_settings({k: v for k, v in chosen["train"].items() if k in Settings.__annotations__})
    policy = sources.load_for(method, options.model, data=options.data, skip_bad=options.skip_bad, **chosen["load"], seed=options.seed)
    asked = {k: v for k, v in options.as_dict().items() if k not in NOT_REPLAYED}
    run = train_policy(chosen_method, policy, options.data, asked=asked, **chosen["train"])
    result = {"out": options.out, **{k: v for k, v in asdict(run.result).items() if k not in ("value", "checkpoint", "best")}}
    where = {"checkpoint": str(run.result.checkpoint), "best": str(run.result.best) if run.result.best else None}
    figures = "  ".join(f"{k} {v['mean'] if isinstance(v, dict) else v:.4f}" for k, v in run.result.eval.items())
    text = f"{run.result.steps} steps in {run.result.seconds:.0f} s ({run.result.why}); {options.out} holds the model\n{figures}".strip()
    answer(({**result, **where, "cut": dict(run.counts)}, text), options.json)


def _known(oracle: str, data: str, skip_bad: bool) -> None:
    """Refuse an oracle that there is not, or that knows nothing of the prompts, before a model is loaded and a folder begun."""
    from plumbline.pipelines import oracles

    found = oracles.parse(oracle, (), skip_bad=skip_bad)
    if isinstance(found, oracles.TownOracle) and not is_world(data):
        raise UserError(
            f"--oracle {oracle}: the town's people know nothing of {data}", "Give town:prompts?… as --data, or another --oracle."
        )


def _method(argv: list[str]) -> tuple[str, list[str]]:
    """The method's name, given first or in the --config of an earlier run, and the other arguments."""
    if argv and not argv[0].startswith("-"):
        return argv[0], argv[1:]
    if "--config" in argv[:-1]:
        return str(read_config(argv[argv.index("--config") + 1], section="method") or ""), argv
    return "", argv


def _parser(method: Method) -> tuple[Any, dict[str, list[str]]]:
    """The parser, and which of its options belong to the method, to loading, and to the run."""
    from plumbline.engine.recipe import Recipe
    from plumbline.pipelines import sources
    from plumbline.pipelines.feed import Feed
    from plumbline.pipelines.train import Settings, train_policy

    parser = make_parser(f"plumbline train {method.name}", inspect.getdoc(method.function) or "")
    parser.add_argument("--model", type=str, default="", help="a model directory, hub name, run folder, or town, town-s, town-m, town-l")
    parser.add_argument(
        "--data", type=str, default="", help=f"{method.data.__name__.lower()}s: a file, or town:{method.data.__name__.lower()}s?n=1000"
    )
    kinds: dict[str, list[str]] = {"train": []}
    for role, says in (("reward", REWARD), ("oracle", ORACLE)):
        if role in method.roles:
            parser.add_argument(f"--{role}", type=str, default="", help=says)
            kinds["train"].append(role)
    if "ptx" in method.defaults:
        parser.add_argument("--demos", type=str, default="", help="demonstrations that join each update: a file, or town:demos?n=600")
        kinds["train"].append("demos")
    for kind, source, skip in (
        ("train", train_policy, ("method", "policy", "data", "reward", "oracle", "demos", "reference", "asked", *Settings.__annotations__)),
        ("method", method.function, method.roles),
        ("load", sources.load, ("model", "seed")),
        ("train", Feed, ()),
        ("train", Recipe, ()),
    ):
        before = set(_options(parser))
        add_signature(parser, source, skip)
        kinds[kind] = [*kinds.get(kind, []), *(name for name in _options(parser) if name not in before)]
    return parser, kinds


def _options(parser: Any) -> list[str]:
    """Names of whole settings: of a group, the group's."""
    return list(dict.fromkeys(action.dest.split(".")[0] for action in parser._actions))
