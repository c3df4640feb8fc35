"""Every command that writes a run, killed by SIGKILL while it writes and begun again, ends in the same bytes as one that was not.

Methods and protocols come from the registry: a new one is killed here without a line written for it.   A new command that takes
--resume must be named here, or the first test fails.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from killed import finish

from plumbline.cli.main import COMMANDS
from plumbline.core.protocols import load_protocol
from plumbline.core.registry import entries, load_method

ELSEWHERE = {  # commands that may be begun again, and where they are killed
    "rlhf": "tests/pipelines/test_rlhf.py",
    "quickstart": "tests/pipelines/test_quickstart.py",
    "world build": "tests/world_models/test_build.py",
    "claims": "tests/claims/test_board.py",
    "refine": "tests/pipelines/test_refine_runs.py",
    "w2s": "tests/pipelines/test_w2s.py",
}
AT_ONCE = ("list", "eval", "score", "sample", "export", "data check", "bench", "open")  # one answer, or one file that is there whole or not
SCRIPT = """
from plumbline.core.nouns import plain

def answers(ask):
    return "no." if len(plain(ask.context)) % 2 else "gladly."

def plays(ask):
    return ask.choices[len(plain(ask.context)) % 2] if ask.choices else f"<quote>Ada had the key</quote> {len(plain(ask.context))}."
"""
FILES = {
    "q.jsonl": [
        {"id": f"q{i}", "question": f"case {i}: who?", "sides": ["Ada", "Bob"], "passage": "Ada had the key.", "answer": "Ada"}
        for i in range(3)
    ],
    "p.jsonl": [{"prompt": f"where is the {word}?"} for word in ("mill", "tower", "station", "baker", "miller")],
    "demos.jsonl": [{"prompt": f"who is {a}?", "completion": f" {b}."} for a, b in ("ab", "cd", "ef", "gh", "ij", "kl")],
}
DATA = {"Demo": "demos", "Comparison": "comparisons", "Rating": "ratings", "Label": "labels", "Prompt": "prompts"}
QUICK = ["--threads", "1", "--device", "cpu", "--attn", "dense"]
STAGES = [
    word
    for stage in ("sft", "reward_model", "learn")
    for word in (f"--{stage}.steps", "2", f"--{stage}.batch", "4", f"--{stage}.save_every", "1")
]


def methods() -> Iterator[tuple[str, list[str]]]:
    for entry in entries("method"):
        method = load_method(entry.name)
        filled = {"reward": ["--reward", "regex:i"], "oracle": ["--oracle", "town"]}
        roles = [word for role in method.roles for word in filled.get(role, [])]
        roles += ["--eval_data", "town:prompts?split=validation&n=2"] if "policy" in method.roles else []
        short = ["--sampling.max_tokens", "5"] if "sampling" in method.defaults else []
        short += ["--proposals", "4", "--burn_in", "3"] if "proposals" in method.defaults else []
        yield (
            f"train {entry.name}",
            [
                *["train", entry.name, "--model", "{tiny}", "--data", f"town:{DATA[entry.data]}?n=12", "--steps", "3", "--batch", "4"],
                *["--save_every", "1", "--max_completion_tokens", "24", *short, *roles, *QUICK],
            ],
        )


def protocols() -> Iterator[tuple[str, list[str]]]:
    for entry in entries("protocol"):
        if entry.data == "Question":  # those of prompts are stages of cai
            asks = [word for role in load_protocol(entry.name).asks for word in (f"--{role}", "script:plays.py:plays")]
            yield f"play {entry.name}", ["play", entry.name, "--questions", "q.jsonl", "--at_once", "2", *asks]


def others() -> Iterator[tuple[str, list[str]]]:
    prompts = ["--model", "{tiny}", "--prompts", "p.jsonl", "--wording", "town", "--max_tokens", "6", "--at_once", "2"]
    yield "cai dpo", ["cai", *prompts, *STAGES, *QUICK]
    yield "cai slic", ["cai", *prompts, "--learner", "slic", "--limit", "3", *STAGES, *QUICK]
    yield "cai ppo", ["cai", *prompts, "--learner", "ppo", "--ppo.sampling.max_tokens", "5", *STAGES, *QUICK]
    target = ["--target", "script:plays.py:answers", "--attacker", "town-s", "--judge", "regex:no", "--wording", "town"]
    yield "redteam", ["redteam", *target, "--how", "rl", "--kl", "0.1", "--rounds", "2", "--n", "16", "--question_tokens", "24"]
    yield "icl", ["icl", "--model", "{tiny}", "--demos", "demos.jsonl", "--heldout", "2", "--k", "0..2", "--orders", "2", "--threads", "1"]
    yield "data curate", ["data", "curate", "town:demos?n=20&noise=0.5", "--keep", "5"]
    yield (
        "verify",
        ["verify", "--model", "{tiny}", "--values", "town", "--data", "town:comparisons?n=20", "--device", "cpu", "--threads", "1"],
    )


JOBS = {**dict(methods()), **dict(protocols()), **dict(others())}


def test_every_command_is_killed_here_or_where_it_is_said_to_be():
    here = {name for name in COMMANDS if any(job == name or job.startswith(f"{name} ") for job in JOBS)}
    told = {*here, *ELSEWHERE, *AT_ONCE}
    assert set(COMMANDS) - told == {name for name in COMMANDS if name.startswith("interp ")}  # a page, written once
    assert [file for name, file in ELSEWHERE.items() if name in COMMANDS and not (Path(__file__).parents[2] / file).is_file()] == []


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the jobs read."""
    folder = tmp_path_factory.mktemp("jobs")
    (folder / "plays.py").write_text(SCRIPT)
    for name, rows in FILES.items():
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def products(out: Path) -> dict[str, Any]:
    """What a user takes away, and every record without its seconds; not the command line, nor the checksums of a checkpoint."""
    found: dict[str, Any] = {}
    for file in sorted(p for p in [out, *out.rglob("*"), *out.parent.glob(f"{out.stem}.run/*")] if p.is_file()):
        if file.suffix == ".jsonl":
            rows = [json.loads(line) for line in file.read_text().splitlines()]
            found[file.name] = [{k: v for k, v in row.items() if k != "seconds"} for row in rows]
        elif file.suffix == ".safetensors":
            found[str(file.relative_to(out))] = file.read_bytes()
        elif file.parent in (out, out.parent) and file.suffix in (".md", ".yaml", ".json") and file.name != "config.yaml":
            found[file.name.removeprefix(out.name)] = file.read_text().replace(str(out), "")
    return found


@pytest.mark.parametrize("job", JOBS)
def test_killed_while_it_writes_and_begun_again(tiny: str, place: Path, tmp_path: Path, job: str):
    argv = [word.format(tiny=tiny) for word in JOBS[job]]
    end = ".yaml" if job == "icl" else ""
    again = [] if job in ("data curate", "verify") else ["--resume"]  # these two take no flag: the same command begins again
    whole, out = tmp_path / f"whole{end}", tmp_path / f"run{end}"
    code, writes = finish([*argv, "--out", str(whole)], place, tmp_path / "whole")
    assert code == 0
    for _ in range(2 if job.startswith(("cai", "play", "redteam")) else 1):  # a run of several parts is killed twice
        assert finish([*argv, "--out", str(out), *again], place, tmp_path / "run", last=max(1, writes // 3))[0] == -signal.SIGKILL
    assert finish([*argv, "--out", str(out), *again], place, tmp_path / "run")[0] == 0
    assert products(out) == products(whole) != {}
