"""Run folders: who may write where, and that nothing is recorded twice."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from plumbline.core.errors import UserError
from plumbline.engine.runs import RunFolder


def test_an_existing_folder_is_refused_without_resume(tmp_path: Path) -> None:
    RunFolder.open(tmp_path / "run").close()
    with pytest.raises(UserError, match="is not empty"):
        RunFolder.open(tmp_path / "run")
    RunFolder.open(tmp_path / "run", resume=True).close()


def test_a_file_is_no_run_folder(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(UserError, match="is a file"):
        RunFolder.open(tmp_path / "run")


def test_the_lock_keeps_two_runs_out_and_dies_with_its_process(tmp_path: Path) -> None:
    hold = (
        "import fcntl, sys; f = open(sys.argv[1], 'a'); fcntl.flock(f, 2); f.write('4711'); f.flush(); print('held', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path / "lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(UserError, match="in use by process 4711"):
            RunFolder.open(tmp_path, resume=True)
        other.kill()
    # The lock file is still there, its process is not.
    assert (tmp_path / "lock").read_text() == "4711"
    RunFolder.open(tmp_path, resume=True).close()


def test_another_rank_reads_and_never_writes(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path / "run"):
        second = RunFolder.open(tmp_path / "run", rank=1)
        second.append("metrics", {"loss": 1.0})
        second.write_config({"seed": 1})
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["lock"]


def test_rewinding_forgets_later_steps_of_this_stage_only(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path / "run") as run:
        one, two = run.stage("one"), run.stage("two")
        for folder, step in ((one, 1), (one, 2), (two, 1), (two, 2), (two, 3)):
            folder.step = step
            folder.append("metrics", {"loss": float("nan"), "text": "line\u2028separator"})
        with (tmp_path / "run" / "metrics.jsonl").open("a") as file:
            file.write('{"step": 4, "sta')  # a crash in the middle of a line
        two.rewind(1)
        assert [(r["stage"], r["step"]) for r in run.read("metrics")] == [("one", 1), ("one", 2), ("two", 1)]
        assert (tmp_path / "run" / "metrics.jsonl").read_text().endswith("\n")


def test_config_has_versions_and_command(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path / "run") as run:
        run.write_config({"method": "sft", "data": {"sha256": "0"}})
        config = run.config()
    assert config["method"] == "sft"
    assert config["command"] == sys.argv
    assert {"python", "torch"} <= set(config["versions"])


def test_records_are_json_lines_with_step_and_stage(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path / "run") as run:
        run.step = 3
        run.append("samples", {"reply": "ja\u2028"})
        run.stage("dpo").append("samples", {"step": 9, "reply": ""})
    lines = (tmp_path / "run" / "samples.jsonl").read_text().split("\n")
    assert [json.loads(line) for line in lines if line] == [{"step": 3, "reply": "ja\u2028"}, {"step": 9, "stage": "dpo", "reply": ""}]
