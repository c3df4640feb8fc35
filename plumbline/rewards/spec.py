"""A reward by its name on the command line, as text.

    rule:package.module:name     rule:file.py:name     regex:…     fullmatch:…     json     json:key1,key2     http://…     https://…
    words:labels.jsonl           a bag of words fitted to a file of labels
    rewards.yaml                 several together, by name:

        rewards:
          polite: {reward: 'regex:(?i)please', weight: 0.7}
          format: {reward: json, weight: 0.3}             # weight 1 where none is stated
        constraints:                                      # optional: what holds while the sum above is maximised
          safe: {reward: 'rule:mine.py:safe', at_least: 0.9}
        rate: 0.1                                         # of the multipliers, per round

Everything after `regex:` is the expression, whatever it contains.   So several rewards have no syntax on one line: any sign that could
join them is also part of some expression, while a file says plainly where each ends, and replays exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from plumbline.core.errors import UserError
from plumbline.core.interfaces import Reward
from plumbline.rewards import rules
from plumbline.rewards.combined import subject_to, weighted
from plumbline.rewards.http import HttpReward
from plumbline.rewards.words import Words

FORMS = (
    "Rewards: rule:module:function, rule:file.py:function, regex:…, fullmatch:…, json, json:key1,key2, words:labels.tsv, http://…, a .yaml."
)
FILES = (".yaml", ".yml", ".json")
Open = Callable[[str], Reward]


def is_spec(text: str) -> bool:
    """Whether a text names a reward of this folder rather than, say, a model directory."""
    return text.partition(":")[0] in _BY_HEAD or _is_list(text)


def _is_list(text: str) -> bool:
    return text.lower().endswith(FILES) and text.partition(":")[0] not in _BY_HEAD


def parse(spec: str, *, other: Open | None = None) -> Reward:
    """The reward that a spec names; `other` opens what is none of the above (a trained model's directory)."""
    if not is_spec(spec):
        if other is not None:
            return other(spec)
        raise UserError(f"{spec!r} names no reward", FORMS)
    if _is_list(spec):
        return several(Path(spec), other=other)
    head, _, rest = spec.partition(":")
    return _BY_HEAD[head](spec, rest)


def several(path: Path, *, other: Open | None = None) -> Reward:
    """The rewards that a file lists, weighted, subject to its constraints if it has some."""
    listed = _read(path)
    objective = weighted({name: _part(path, "rewards", name, entry, "weight", other) for name, entry in _named(path, listed, "rewards")})
    bounds = {name: _part(path, "constraints", name, entry, "at_least", other) for name, entry in _named(path, listed, "constraints")}
    if not bounds:
        return objective
    return subject_to(objective, bounds, rate=_float(listed.get("rate", 0.1), f"{path}: rate"))


class _Once(yaml.SafeLoader):
    """YAML in which a name stands once: the usual reader keeps the last and says nothing."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value]
        for key, _ in node.value:
            if names.count(key.value) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} stands twice", node.value[-1][0].start_mark)
        return super().construct_mapping(node, deep)


def _read(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise UserError(f"{path} does not exist", "Check the path (relative to the current folder).")
    try:
        listed = yaml.load(path.read_text(encoding="utf-8"), Loader=_Once)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}", "Put expressions in single quotes: 'regex:^\\d+'.") from None
    if not isinstance(listed, Mapping) or not listed.get("rewards"):
        raise UserError(f"{path} lists no rewards", "Write `rewards:` and under it a name and {reward: …, weight: …} for each.")
    odd = sorted(map(str, set(listed) - {"rewards", "constraints", "rate"}))
    if odd:
        raise UserError(f"{path} has {odd[0]!r}, which is not known", "Known: rewards, constraints, rate.")
    return listed


def _named(path: Path, listed: Mapping[str, Any], section: str) -> list[tuple[str, Any]]:
    entries = listed.get(section) or {}
    if not isinstance(entries, Mapping):
        raise UserError(f"{path}: {section} is not a list by name", "Write a name and {reward: …} for each.")
    return [(str(name), entry) for name, entry in entries.items()]


def _part(path: Path, section: str, name: str, entry: Any, number: str, other: Open | None) -> tuple[Reward, float]:
    """One entry: its reward, and its weight (1 where none is stated) or bound (which must be)."""
    place = f"{path}: {section}.{name}"
    entry = {"reward": entry} if isinstance(entry, str) else entry
    if not isinstance(entry, Mapping) or not isinstance(entry.get("reward"), str) or set(entry) - {"reward", number}:
        raise UserError(f"{place} is {str(entry)[:80]!r}", f"Write {{reward: '…', {number}: 1.0}}.")
    if number == "at_least" and number not in entry:
        raise UserError(f"{place} has no bound", "Write at_least: what the mean of this reward must reach.")
    if _is_list(entry["reward"]):
        raise UserError(f"{place} names another list, {entry['reward']!r}", "List its rewards here.")
    try:
        return parse(entry["reward"], other=other), _float(entry.get(number, 1.0), f"{place}.{number}")
    except UserError as error:
        raise UserError(f"{place}: {error.message}", error.mend) from error


def _float(value: Any, whose: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value or abs(value) == float("inf"):
        raise UserError(f"{whose} is {value!r}, not a number", "Write a number such as 0.5.")
    return float(value)


def _rule(spec: str, rest: str) -> Reward:
    try:
        return rules.function(rest)
    except UserError as error:
        raise UserError(f"--reward {spec}: {error.message}", error.mend) from error


def _expression(whole: bool) -> Callable[[str, str], Reward]:
    def read(spec: str, rest: str) -> Reward:
        if not rest:
            raise UserError(f"{spec!r} has no expression", "Write it after the colon, as in regex:^(yes|no).")
        return rules.pattern(rest, whole=whole)

    return read


def _json(spec: str, rest: str) -> Reward:
    keys = [key.strip() for key in rest.split(",")] if rest else []
    if not all(keys) or spec == "json:":
        raise UserError(f"{spec!r} has an empty key", "Write json, or json:key1,key2.")
    return rules.valid_json(*keys)


def _words(spec: str, rest: str) -> Reward:
    return Words.read(rest)


def _http(spec: str, rest: str) -> Reward:
    return HttpReward(spec)


_BY_HEAD: Mapping[str, Callable[[str, str], Reward]] = {
    "rule": _rule,
    "regex": _expression(whole=False),
    "fullmatch": _expression(whole=True),
    "json": _json,
    "words": _words,
    "http": _http,
    "https": _http,
}
