"""The command `plumbline`: finds the command's file, runs it, and turns what went wrong into one line and an exit code.

    0 done   ·   2 something outside is wrong (one line, and the mend)   ·   130 interrupted, state saved

Only the chosen command's file is imported, so `--help` and `list` need no torch.
"""

from __future__ import annotations

import difflib
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from plumbline import __version__
from plumbline.core.errors import UserError

# Command: (file, function, what it does).
COMMANDS: dict[str, tuple[str, str, str]] = {
    "quickstart": ("plumbline.cli.quickstart", "quickstart", "align the shipped model by demonstrations and comparisons; table and report"),
    "list": ("plumbline.cli.show", "show", "the methods and protocols, what each eats and its paper; the claims"),
    "train": ("plumbline.cli.train", "train", "train METHOD --model M --data F --out DIR"),
    "rlhf": ("plumbline.cli.rlhf", "rlhf", "demonstrations → SFT, comparisons or ratings → reward model, prompts → PPO"),
    "cai": ("plumbline.cli.cai", "cai", "a constitution: critiques and revisions → SFT, a model's labels → DPO, or reward and PPO"),
    "refine": (
        "plumbline.cli.refine",
        "refine",
        "rounds: replies are labelled and learned from; a round that does not help is rolled back",
    ),
    "eval": ("plumbline.cli.evaluate", "evaluate", "eval RUN --against M --on town: differences with intervals"),
    "sample": ("plumbline.cli.sample", "sample", "replies of a model to a file: to read, the best of n, or pairs for DPO"),
    "play": ("plumbline.cli.play", "play", "play PROTOCOL (debate, consultancy, direct): models argue, a judge chooses"),
    "w2s": ("plumbline.cli.w2s", "w2s", "what a strong model learns from a weak one's labels: performance gap recovered"),
    "redteam": (
        "plumbline.cli.redteam",
        "redteam",
        "models write questions that make a model misbehave; hits, diversity, a corrected rate",
    ),
    "icl": ("plumbline.cli.icl", "icl", "choose examples for a prompt by a validation score: alignment without training"),
    "score": ("plumbline.cli.score", "score", "log-probabilities of a file's completions under a model"),
    "export": ("plumbline.cli.export", "export", "write a run's model as a plain Hugging Face directory"),
    "data check": ("plumbline.cli.data", "check", "what a data file holds, as training would see it"),
    "data curate": ("plumbline.cli.data", "curate", "the rows of a file worth training on, and a reason for each row"),
    "world build": ("plumbline.cli.world", "build", "train the shipped models again from nothing"),
    "verify": ("plumbline.cli.verify", "verify", "a few comparisons that pin what is wanted, put to a model; a certificate"),
    "interp lens": ("plumbline.cli.interp", "lens", "what a model would say after each layer"),
    "interp attribution": ("plumbline.cli.interp", "attribution", "which parts make the logit of the next token"),
    "interp patch": ("plumbline.cli.interp", "patch", "where a model keeps what tells two texts apart"),
    "interp probe": ("plumbline.cli.interp", "probe", "what a linear probe finds in each layer, with a control task"),
    "interp steer": ("plumbline.cli.interp", "steer", "replies with a direction added to the stream, or taken out"),
    "interp page": ("plumbline.cli.interp", "page", "lens, attention, attribution and patching on one page"),
    "claims": ("plumbline.cli.claims", "claims", "the scoreboard: published claims, tried here, with negative controls"),
    "bench": ("plumbline.cli.bench", "bench", "time and memory against other libraries, side by side"),
    "open": ("plumbline.cli.open", "show_report", "the report of a run"),
}
PARSE_THEMSELVES = ("train", "rlhf", "cai", "refine", "play", "redteam")  # their flags depend on what they name, or are grouped
USAGE = "plumbline COMMAND [options]      plumbline COMMAND --help      plumbline --version"


def overview() -> str:
    """What `plumbline --help` prints."""
    lines = [f"  {name:18} {what}" for name, (_, _, what) in COMMANDS.items()]
    return "\n".join(
        [f"usage: {USAGE}", "", "commands:", *lines, "", "Every command takes --json (the last line of stdout is one JSON object)."]
    )


def split(argv: Sequence[str]) -> tuple[str, list[str]]:
    """The command's name (one or two words) and its own arguments."""
    for words in (2, 1):
        name = " ".join(argv[:words])
        if name in COMMANDS:
            return name, list(argv[words:])
    near = difflib.get_close_matches(argv[0], COMMANDS, n=1, cutoff=0.5)
    near = near or [name for name in COMMANDS if name.split()[0] == argv[0]]
    mend = f"Did you mean `plumbline {near[0]}`?" if near else "`plumbline --help` lists the commands."
    raise UserError(f"there is no command {argv[0]!r}", mend)


def dispatch(argv: Sequence[str]) -> None:
    """Run one command."""
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(overview())
    elif argv[0] == "--version":
        print(f"plumbline {__version__}")
    else:
        name, rest = split(argv)
        module, function, _ = COMMANDS[name]
        command = getattr(import_module(module), function)
        command(rest) if name in PARSE_THEMSELVES else _call(name, command, rest)


def _call(name: str, command: Any, rest: list[str]) -> None:
    from plumbline.cli.signature import call

    call(f"plumbline {name}", command, rest)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code."""
    signal.signal(signal.SIGTERM, _interrupt)  # a cluster's "stop" is a keyboard's: state is saved
    try:
        dispatch(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
    except UserError as error:
        print(f"plumbline: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("plumbline: interrupted; what was saved can be continued with --resume", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `plumbline list | head`: the reader has left, and that is no error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        if error.filename is None:
            raise  # not about a path that somebody gave
        print(f"plumbline: {error.filename}: {error.strerror}\n           Check the path, and that it may be used so.", file=sys.stderr)
        return 2
    return 0
