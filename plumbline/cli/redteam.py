"""`plumbline redteam --target M --attacker M|FILE --judge J --out DIR`: questions that make a model misbehave, written by models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from plumbline.cli.signature import add_signature, answer, make_parser, need, parse
from plumbline.cli.stages import add_run

ABOUT = "Attack a model with questions that other models write, or with a file of them; count what a judge calls bad; train it away."


def redteam(argv: Sequence[str]) -> None:
    """Parse, attack, say what was found."""
    from plumbline.pipelines import sources
    from plumbline.pipelines.redteam import Attackers, AttackRecipes
    from plumbline.pipelines.redteam_mend import Mend
    from plumbline.pipelines.redteam_run import Given, run

    parser = make_parser("plumbline redteam", ABOUT)
    parser.add_argument("--out", type=str, default="", help="the run folder")
    add_run(parser)
    for group in (Given, Attackers, Mend):
        add_signature(parser, group)
    options = parse(parser, argv)
    need("redteam", target=options.target, attacker=options.attacker, judge=options.judge, out=options.out)
    given, attackers, mend = (_made(group, options) for group in (Given, Attackers, Mend))
    sources.use_threads(options.threads)
    found = run(given, attackers, AttackRecipes(), mend, out=options.out, resume=options.resume, fault=options.fault)
    answer(found, options.json)


def _made(group: Any, options: Any) -> Any:
    """The settings of a group, by their flags."""
    return group(**{f.name: options[f.name] for f in fields(group)})
