"""What no command can use, refused as soon as the command line is read: numbers beyond their bounds, an --out that is no folder.

A flag means the same in every command, so one table holds for all of them, and for `--sft.epochs` as for `--epochs`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from plumbline.core.errors import UserError

Rule = tuple[Callable[[float], bool], str]


def least(number: float, mend: str = "") -> Rule:
    """`number` or more."""
    return (lambda x: x >= number), mend or f"Give at least {number}."


ABOVE_0: Rule = (lambda x: x > 0), "Give a number above 0."
RULES: dict[str, Rule] = {
    "threads": least(0, "Give a number of threads, or 0 to leave them as they are."),
    "lora": least(0, "Give the rank of an adapter, or 0 to train all weights."),
    "temperature": least(0, "Give at least 0; 0 is greedy, 1 the model itself."),
    "top_p": ((lambda x: 0 < x <= 1), "Give a share above 0 and at most 1."),
    "top_k": least(0, "Give at least 1, or 0 for all tokens."),
    "dropout": ((lambda x: 0 <= x < 1), "Give a share from 0 to below 1."),
    "held_out": ((lambda x: 0 < x < 1), "Give a share above 0 and below 1."),
    "near": ((lambda x: x > 0), "Give a similarity above 0; above 1 no row counts as a duplicate."),
    **dict.fromkeys(("diversity", "min_quality"), ((lambda x: 0 <= x <= 1), "Give a number from 0 to 1.")),
    "alpha": ((lambda x: 0 <= x <= 1), "Give a share from 0 to 1."),
    "layer": least(-1, "Give the number of a block, or -1 for the middle."),
    "strength": ((lambda x: not math.isnan(x)), "Give a finite number."),
    "lr": least(0, "Give a finite learning rate of at least 0."),
    **dict.fromkeys(("epochs", "minutes", "scale", "sharpness", "ask_temperature"), ABOVE_0),
    **dict.fromkeys(("examples", "rounds", "question_tokens"), least(1)),
    "limit": least(0, "Give at least 1, or 0 for all."),
    **dict.fromkeys(
        ("steps", "tokens", "batch", "micro_tokens", "keep", "n", "prompts", "repeats", "questions", "top", "heldout", "beam"), least(1)
    ),
    **dict.fromkeys(("tries", "orders"), least(0, "Give at least 0; --tries 0 tries all candidates, --orders 0 keeps the order found.")),
    **dict.fromkeys(("max_tokens", "max_prompt_tokens", "max_completion_tokens"), least(1)),
    **dict.fromkeys(("warmup", "weight_decay", "max_grad_norm", "explode", "patience", "eval_every", "save_every"), least(0)),
    **dict.fromkeys(("budget", "max_kl", "per_round"), least(0)),
    "replies": least(2),
    "seed": least(0),
}


ANY: Rule = (lambda x: not math.isnan(x)), "Give a number."  # bounded by its method; a clip may be infinite


def check(options: Iterable[tuple[str, Any]]) -> None:
    """Refuse what cannot be used of a command's options, by flag."""
    named = dict(options)
    for flag, value in named.items():
        name = flag.rpartition(".")[2]
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            fits, mend = RULES.get(name, ANY)
            if not fits(value) or (name in RULES and math.isinf(value)):
                raise UserError(f"--{flag} is {value}", mend)
        if flag == "out" and value:
            usable(Path(str(value)), begun=bool(named.get("resume")))


def unused(out: Path, *, resume: bool | None) -> None:
    """Refuse a folder with something in it before anything is loaded, unless a run goes on there.   `resume`: None of what never does."""
    if resume or os.environ.get("RANK", "0") != "0":  # another rank may have begun the folder already
        return
    if out.is_dir() and any(resume is not None or not p.name.startswith(".") for p in out.iterdir()):
        mend = "Give an --out that is not there yet." if resume is None else "Pass --resume to go on with that run, or another --out."
        raise UserError(f"{out} is not empty", mend)


def usable(out: Path, *, begun: bool = False) -> None:
    """Refuse a folder (or file) to write that is a file already (unless it was `begun`), lies below one, or may not be written."""
    if out.is_file() and not begun:
        raise UserError(f"--out {out} is a file", "Give an --out that is not there yet.")
    there = next(place for place in (out, *out.absolute().parents) if place.exists() and not (begun and place == out and place.is_file()))
    if not there.is_dir():
        raise UserError(f"--out {out}: {there} is not a folder", "Give an --out that is not there yet.")
    if not os.access(there, os.W_OK):
        raise UserError(f"--out {out}: {there} may not be written", "Give an --out in a folder of yours.")
