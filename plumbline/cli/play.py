"""`plumbline play PROTOCOL --questions F --debater M --judge J --out DIR`: its flags are the protocol's settings, and a model per role."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path

from plumbline.cli.bounds import unused
from plumbline.cli.signature import add_signature, answer, make_parser, need, parse
from plumbline.core.errors import UserError
from plumbline.core.nouns import Question
from plumbline.core.protocols import load_protocol
from plumbline.core.registry import entries

MODEL = "a model directory, hub name, run folder, town, town-s, town-m, town-l, http://host/v1, or script:file.py:function"
QUESTIONS = 'rows {"question", "sides": [two texts], "passage", "answer"}: a file, or town:questions?n=60&split=heldout'
HELP = """usage: plumbline play PROTOCOL --questions F --judge J --out DIR [options]

protocols:
{protocols}

`plumbline play PROTOCOL --help` lists the options."""


def play(argv: Sequence[str]) -> None:
    """Parse the protocol's flags, play, and say how often the judge was right."""
    if not argv or argv[0].startswith("-"):
        print(HELP.format(protocols="\n".join(f"  {e.name:12} {e.summary}" for e in entries("protocol") if e.data == "Question")))
        return
    name = argv[0]
    rules = load_protocol(name)
    if rules.data is not Question:
        raise UserError(f"{name} plays prompts, not questions", "`plumbline cai` plays critique and ai_feedback, and trains on them.")
    from plumbline.pipelines import sources
    from plumbline.pipelines.play_questions import Options, play_questions

    parser = make_parser(f"plumbline play {name}", inspect.getdoc(rules.function) or "")
    parser.add_argument("--questions", type=str, default="", help=QUESTIONS)
    for role in rules.asks:
        parser.add_argument(f"--{role}", type=str, default="", help=MODEL)
    parser.add_argument("--out", type=str, default="", help="the folder that gets config.yaml and games.jsonl")
    parser.add_argument("--resume", type=bool, default=False, help="go on with the games of --out that are not played yet")
    parser.add_argument("--skip_bad", type=bool, default=False, help="leave bad rows out, and list them in skipped.jsonl")
    parser.add_argument("--template", type=str, default="", help="a chat template (Jinja text or file) to force")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads, 0 leaves them as they are")
    settings = [key for key in rules.defaults if key not in (*rules.each, "wording")]
    add_signature(parser, rules.function, skip=(*inspect.signature(rules.function).parameters.keys() - set(settings),))
    add_signature(parser, Options)
    options = parse(parser, argv[1:])
    named = {role: options[role] for role in rules.asks}
    need(f"play {name}", questions=options.questions, **named, out=options.out)
    unused(Path(options.out), resume=options.resume)
    sources.use_threads(options.threads)
    how = Options(**{key: options[key] for key in Options.__annotations__})
    chosen = rules(**{key: options[key] for key in settings})
    found, lines = play_questions(
        chosen, options.questions, named, options.out, how, resume=options.resume, skip_bad=options.skip_bad, template=options.template
    )
    answer(({"protocol": name, **found.figures(), "games_file": f"{options.out}/games.jsonl"}, "\n".join(lines)), options.json)
