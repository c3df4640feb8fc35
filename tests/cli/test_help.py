"""Every option of every command says what it is, in words that end."""

from __future__ import annotations

import re

import jsonargparse
import pytest

from plumbline.cli.main import COMMANDS, dispatch
from plumbline.core.registry import entries

OF_ONE = {"train": [m.name for m in entries("method")], "play": [p.name for p in entries("protocol") if p.data == "Question"]}
LINES = [[*name.split(), *more] for name in COMMANDS for more in [[x] for x in OF_ONE.get(name, [])] or [[]]]
CUT = re.compile(r"^\W|\b(of|by|with|and|or|the|a|an|to|for|must|reach|says)$|[(,;:]$")


@pytest.mark.parametrize("line", LINES, ids=" ".join)
def test_help_says_what_every_option_is(line: list[str], monkeypatch: pytest.MonkeyPatch):
    seen: list[jsonargparse.ArgumentParser] = []
    monkeypatch.setattr(jsonargparse.ArgumentParser, "print_help", lambda parser, *_: seen.append(parser))
    with pytest.raises(SystemExit):
        dispatch([*line, "--help"])
    (parser,) = seen
    helps = {action.dest: str(action.help or "") for action in parser._actions if action.option_strings and action.help != "==SUPPRESS=="}
    bad = {name: said for name, said in helps.items() if len(said) < 4 or CUT.search(said) or said.count("(") != said.count(")")}
    assert not bad
    assert len(helps) > 2
