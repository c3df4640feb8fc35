"""Pipelines: stages one after the other, each with its own recipe, optimisers and checkpoints; a finished one is never re-entered.

    def align(base, demos, comparisons):
        policy = yield Stage("sft", sft(base, demos), recipes.sft)
        policy = yield Stage("dpo", dpo(policy, policy.frozen(), comparisons), recipes.dpo)
        return policy

A stage's value is what its method returns, else the object that it updated.   Resumed, the pipeline runs from its first line; a stage
recorded in `stages.json` puts its final weights into the objects that it was given, and the pipeline goes on.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from typing import Any

from plumbline.core.errors import UserError
from plumbline.core.methods import Stage
from plumbline.engine.checkpoints import Checkpoint, write_atomically
from plumbline.engine.drive import Evaluate, Result, drive, roles_of
from plumbline.engine.faults import INERT, Faults
from plumbline.engine.loader import Stream
from plumbline.engine.progress import Progress
from plumbline.engine.runs import RunFolder

Pipeline = Generator[Stage[Any], Any, Any]


def run_pipeline(
    pipeline: Pipeline,
    run: RunFolder,
    *,
    evaluate: Mapping[str, Evaluate] | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    faults: Faults = INERT,
) -> Any:
    """Run the stages to the end; returns what the pipeline returns.   `evaluate` holds an evaluation by stage name."""
    done = finished(run)
    names: set[str] = set()
    answer: Any = None
    while True:
        try:
            stage = pipeline.send(answer)
        except StopIteration as end:
            return end.value
        if stage.name in names or not stage.name.replace("-", "").replace("_", "").isalnum():
            raise ValueError(f"stage name {stage.name!r} is used twice, or is no plain word")
        names.add(stage.name)
        roles = {k: v for k, v in roles_of(stage.steps).items() if not isinstance(v, Stream)}
        if stage.name in done:
            answer = _reenter(run, stage, roles, done[stage.name])
            continue
        progress = progress or Progress()
        progress.label, progress.gold = stage.name, None
        result = drive(
            stage.steps,
            recipe=stage.recipe,
            run=run.stage(stage.name),
            evaluate=(evaluate or {}).get(stage.name),
            resume=resume,
            progress=progress,
            faults=faults,
        )
        faults.at("stage")
        done[stage.name], answer = _value(stage, roles, result)
        if run.writes:
            write_atomically(run.path / "stages.json", json.dumps(done, indent=1).encode())


def finished(run: RunFolder) -> dict[str, Any]:
    """What is recorded of the stages that came to their end, by name."""
    file = run.path / "stages.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def _value(stage: Stage[Any], roles: Mapping[str, Any], result: Result) -> tuple[dict[str, Any], Any]:
    """What is recorded of a finished stage, and its value."""
    value = result.value
    record: dict[str, Any] = {"steps": result.steps, "checkpoint": result.checkpoint.name if result.checkpoint else None}
    if value is None:
        updated = [roles[name] for name in result.updated]
        return {**record, "roles": list(result.updated)}, updated[0] if len(updated) == 1 else tuple(updated)
    for name, role in roles.items():
        if role is value:
            return {**record, "role": name}, value
    try:
        json.dumps(value)
    except TypeError:
        raise ValueError(
            f"stage {stage.name} returns {type(value).__name__}: return a role, or plain JSON, so that it can resume"
        ) from None
    return {**record, "value": value}, value


def _reenter(run: RunFolder, stage: Stage[Any], roles: Mapping[str, Any], record: Mapping[str, Any]) -> Any:
    """The value of a stage that was finished earlier, its objects as they were at its end."""
    stage.steps.close()
    if record["checkpoint"]:
        found = run.stage(stage.name).checkpoints.latest()
        if found is None or found.path.name != record["checkpoint"]:
            raise UserError(f"the final checkpoint of stage {stage.name} is gone or damaged", "Begin again with another --out.")
        Checkpoint(found.path, found.step).restore(roles)
    if "value" in record:
        return record["value"]
    if "role" in record:
        return roles[record["role"]]
    updated = [roles[name] for name in record["roles"]]
    return updated[0] if len(updated) == 1 else tuple(updated)
