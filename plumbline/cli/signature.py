"""A function's signature is its command: parameters are arguments, keyword-only ones are flags, the docstring is the help.

Done by jsonargparse: types are checked, `--config FILE` replays what `--print_config` shows, and unknown names are refused.
A command returns `(result, text)`: the JSON object that `--json` prints as the last line of stdout, and what a person reads.
"""

from __future__ import annotations

import difflib
import inspect
import json
import re
from argparse import ArgumentError
from collections.abc import Callable, Collection, Sequence
from dataclasses import fields, is_dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import yaml
from jsonargparse import ArgumentParser, Namespace

from plumbline.cli import bounds
from plumbline.core.errors import UserError

Answer = tuple[dict[str, Any], str]


def make_parser(prog: str, description: str = "") -> ArgumentParser:
    """A parser with what every command has."""
    parser = ArgumentParser(prog=prog, description=description, exit_on_error=False, allow_abbrev=False)
    parser.add_argument("--config", action="config", help="these options as a YAML file: what --print_config shows, or a run's config.yaml")
    parser.add_argument("--json", action="store_true", help="the last line of stdout is one JSON object")
    return parser


def add_signature(parser: ArgumentParser, source: Callable[..., Any], skip: Collection[str] = (), under: str = "") -> list[str]:
    """Give the parser the parameters of a function or dataclass, as `--under.name` if so; returns the names of the positional ones."""
    parameters = {p.name: p for p in inspect.signature(source).parameters.values() if p.name not in skip}
    ordinary = inspect.Parameter.POSITIONAL_OR_KEYWORD
    positional = [] if isinstance(source, type) or under else [name for name, p in parameters.items() if p.kind is ordinary]
    for name in positional:
        default = parameters[name].default
        parser.add_argument(name, type=str, nargs="?", default=None if default is inspect.Parameter.empty else default)
    if isinstance(source, type):
        parser.add_class_arguments(source, under or None, skip={*skip})
    else:
        parser.add_function_arguments(source, under or None, skip={*skip, *positional})
    helps = helps_of(source, parameters, f"{under}." if under else "")
    for action in parser._actions:
        if action.dest in helps:
            action.help = helps[action.dest].replace("%", "%%")
    return positional


def helps_of(source: Callable[..., Any], names: Collection[str], before: str = "") -> dict[str, str]:
    """What the docstring says of each name, and those of settings that are dataclasses of their fields, by `setting.field`."""
    found = {before + name: words for name, words in sentences(inspect.getdoc(source) or "", names).items()}
    for name, hint in get_type_hints(source.__init__ if isinstance(source, type) else source).items():
        if name in names and isinstance(hint, type) and is_dataclass(hint):
            found |= helps_of(hint, {f.name for f in fields(hint)}, f"{before}{name}.")
    return found


def sentences(text: str, names: Collection[str]) -> dict[str, str]:
    """What a docstring says of each name.

    "`a`, `b`: in steps" is said of both, to where the next name begins a sentence.   A name without a colon is a word of its sentence:
    of it is said what follows, to the next name.
    """
    mentions = [m for m in re.finditer(r"`(\w+)`(:?)", text) if m[1] in names]
    begins = [m.start() for m in re.finditer(r"`\w+`", text) if re.search(r"(^|\.|\n)\s*$", text[: m.start()])]
    defined, found = {}, dict[str, str]()
    waiting: list[str] = []
    for mention, after in zip_longest(mentions, mentions[1:]):
        waiting.append(mention[1])
        end = next((at for at in begins if at > mention.start()), None) if mention[2] else after.start() if after else None
        said = " ".join(text[mention.end() : end].split("\n\n")[0].split()).strip(" ,;:.")
        if said not in ("", "and", "or"):
            (defined if mention[2] else found).update({n: said for n in waiting if n not in (defined if mention[2] else found)})
            waiting = []
    return found | defined


def parse(parser: ArgumentParser, argv: Sequence[str]) -> Namespace:
    """Parse, or say in one line what is wrong and how to mend it."""
    try:
        options = parser.parse_args(_prepare(parser, argv))
    except ArgumentError as error:
        raise _explain(parser, str(error)) from error
    bounds.check(options.items(branches=False))
    return options


def _actions(parser: ArgumentParser) -> dict[str, Any]:
    return {flag: action for action in parser._actions for flag in action.option_strings if flag.startswith("--")}


def _prepare(parser: ArgumentParser, argv: Sequence[str]) -> list[str]:
    """`--skip_bad` alone means true; a `--config` file is read here, because a run's config.yaml holds more than options."""
    switches = {flag for flag, action in _actions(parser).items() if getattr(action, "_typehint", None) is bool}
    words: list[str] = []
    for word in argv:
        words += word.split("=", 1) if word.startswith("--config=") else [word]
    ready: list[str] = []
    for word, after in zip_longest(words, words[1:], fillvalue=""):
        ready.append(json.dumps(read_config(word)) if ready and ready[-1] == "--config" else word)
        if word in switches and after.lower() not in ("true", "false"):
            ready.append("true")
    return ready


def read_config(file: str, section: str = "options") -> Any:
    """The options in a YAML file; of a run's config.yaml, those under `options` (or what another section of it says)."""
    try:
        found = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(
            f"--config {file} cannot be read: {str(error).splitlines()[0]}", "Give a YAML file as --print_config writes it."
        ) from error
    if not isinstance(found, dict):
        raise UserError(f"--config {file} holds no options", "Give a YAML file as --print_config writes it.")
    if section != "options":
        return found.get(section)
    return found["options"] if isinstance(found.get("options"), dict) else found


def _explain(parser: ArgumentParser, message: str) -> UserError:
    """jsonargparse's message as one line with the mend."""
    actions = _actions(parser)
    unknown = re.search(r"unrecognized arguments: (\S+)|Option '([^']+)' is not accepted|[Kk]ey '([^']+)' is not", message)
    if unknown:
        name = next(group for group in unknown.groups() if group)
        near = difflib.get_close_matches("--" + name.lstrip("-"), actions, n=1, cutoff=0.6)
        mend = f"Did you mean {near[0]}?" if near else f"`{parser.prog} --help` lists the options."
        return UserError(f"{parser.prog} {'does not take' if unknown[1] and name[0] != '-' else 'has no option'} {name}", mend)
    mend = f"`{parser.prog} --help` says what each option takes."
    wrong = re.search(r'Parser key "([\w.]+)"', message)
    value = re.search(r"(?:Given value|Got value): (.*)", message)
    if wrong and value and f"--{wrong[1]}" in actions:
        return UserError(f"{parser.prog}: --{wrong[1]} is {value[1]!r}, but takes {_words(actions['--' + wrong[1]]._typehint)}", mend)
    return UserError(f"{parser.prog}: " + "; ".join(line.strip(" -:.") for line in message.splitlines() if line.strip()), mend)


def _words(hint: Any) -> str:
    """A type in words."""
    plain = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(map(str, get_args(hint)))
    if hint in plain:
        return plain[hint]
    return " or ".join(_words(part) for part in get_args(hint) if part is not type(None)) or str(hint)


def call(prog: str, function: Callable[..., Answer], argv: Sequence[str]) -> None:
    """Parse the arguments of a command's function, call it, and print its answer."""
    parser = make_parser(prog, (inspect.getdoc(function) or "").split("\n\n")[0])
    positional = add_signature(parser, function)
    options = parse(parser, argv)
    missing = [name for name in positional if options[name] is None]
    if missing:
        raise UserError(f"{prog} needs {missing[0].upper()}", f"`{prog} --help` says what it takes.")
    settings = {k: v for k, v in options.as_dict().items() if k not in ("config", "json", *positional)}
    answer(function(*(options[name] for name in positional), **settings), options.json)


def need(command: str, **flags: str) -> None:
    """Refuse a command that lacks one of these flags."""
    for flag, value in flags.items():
        if not value:
            raise UserError(f"plumbline {command} needs --{flag}", f"`plumbline {command} --help` says what it takes.")


def answer(found: Answer, as_json: bool) -> None:
    """Print what a command found: text for people, or one JSON object."""
    result, text = found
    if as_json:
        print(json.dumps(result, ensure_ascii=False, allow_nan=False))
    elif text:
        print(text)
