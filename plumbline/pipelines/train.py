"""`train`: one method, one model, one source of data.   Names become objects, the method's roles are filled, the engine drives.

run = pl.train(pl.dpo(beta=0.1), "town", "town:comparisons?n=1000&seed=1", epochs=1, out="runs/a")
run.model, run.result.eval
"""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, TypedDict, Unpack

from plumbline.core.batches import Group
from plumbline.core.errors import UserError
from plumbline.core.interfaces import Oracle, Reward
from plumbline.core.methods import Method
from plumbline.core.nouns import Demo, Label
from plumbline.core.registry import load_method
from plumbline.data import Plan, Prompts, Rows, write_skipped
from plumbline.data.sources import data_hash, is_world
from plumbline.engine.drive import Result, drive
from plumbline.engine.faults import Faults
from plumbline.engine.progress import Progress
from plumbline.engine.ranks import Ranks
from plumbline.engine.recipe import Recipe, limit_steps
from plumbline.engine.runs import RunFolder
from plumbline.models.cache import CachedReference
from plumbline.models.lm import LM
from plumbline.pipelines import oracles, run_report, sources, validation
from plumbline.pipelines.feed import Feed
from plumbline.pipelines.roles import Given, Hands, Trained, fill
from plumbline.pipelines.watched import watched
from plumbline.rewards.items import check

TOWN_GOLD = "town:prompts?split=validation&n=64"


class Settings(TypedDict, total=False):
    """The settings of `Recipe` and `Feed` by name, for `train(…, epochs=1)`; a test keeps the three in step."""

    epochs: float | None
    steps: int | None
    tokens: int | None
    minutes: float | None
    batch: int
    micro_tokens: int
    lr: float | str | Mapping[str, float]
    warmup: float
    schedule: str
    weight_decay: float
    betas: tuple[float, float]
    max_grad_norm: float
    seed: int
    dtype: str
    eval_every: int
    save_every: int
    keep: int
    best: str
    patience: int
    explode: float
    track: str
    ignore_memory: bool
    eval_data: str
    max_prompt_tokens: int | None
    max_completion_tokens: int | None
    skip_bad: bool


@dataclass(frozen=True)
class Run:
    """A finished training.   `model` is the trained policy, or the trained reward; `counts` says what of the data was cut how."""

    model: Any
    result: Result
    path: Path | None
    counts: Mapping[str, int]


def train(
    method: Method | str,
    model: Trained | str,
    data: str | Sequence[Any],
    *,
    reward: Reward | str = "",
    demos: str | Sequence[Demo] = "",
    oracle: Oracle | str = "",
    out: str = "",
    resume: bool = False,
    threads: int = 0,
    reference: LM | None = None,
    **settings: Unpack[Settings],
) -> Run:
    """Train `model` by `method` on `data`, in memory or into the run folder `out`.

    A model that is passed stays as it is: its copy is trained.   `reference` stands in for the policy as it is now.   `reward`, for
    methods that have that role: any callable from games to scores, or what `--reward` takes.   `oracle`: likewise, who compares.
    `demos` join the updates of ppo.
    """
    method = load_method(method) if isinstance(method, str) else method
    trained = sources.load_for(method, model) if isinstance(model, str) else model.copy()
    named = {"model": model if isinstance(model, str) else trained.name, "data": data if isinstance(data, str) else ""}
    beside = {name: x for name, x in (("reward", reward), ("demos", demos), ("oracle", oracle)) if isinstance(x, str) and x}
    asked = {**named, **beside, **settings}
    run: Settings = settings
    return train_policy(
        method,
        trained,
        data,
        reward=reward,
        demos=demos,
        oracle=oracle,
        out=out,
        resume=resume,
        threads=threads,
        reference=reference,
        asked=asked,
        **run,
    )


def train_policy(
    method: Method | str,
    policy: Trained,
    data: str | Sequence[Any],
    *,
    reward: Reward | str = "",
    demos: str | Sequence[Demo] = "",
    oracle: Oracle | str = "",
    out: str = "",
    resume: bool = False,
    threads: int = 0,
    fault: str = "",
    reference: LM | CachedReference | None = None,
    asked: Mapping[str, Any] | None = None,
    **settings: Unpack[Settings],
) -> Run:
    """Train `policy` itself.

    `reward`: a reward model's directory or run, gold (on town), rule:module:function, regex:…, json, http://…, or a .yaml of several.
    `demos`: demonstrations that join the updates of ppo: a file, or town:demos?n=600.
    `oracle`: town (or town:ben+cleo?noise=0.1), a file of comparisons, or queue:FOLDER for people; each answer is kept in asked.jsonl.
    `out`: the run folder; without one nothing is written.   `resume`: go on with the run that is in it.   `threads`: CPU threads, 0
    leaves them as they are.   `fault`: kill the process at a fault point, to test resuming (docs/resume.md).

    `asked` is what config.yaml says was asked for; `settings` are those of `Recipe` and `Feed`.
    """
    method = load_method(method) if isinstance(method, str) else method
    recipe, feed = split_settings(settings)
    sources.use_threads(threads)
    given = feed.plan(data, method.data, policy)
    judge = sources.reward(reward, device=str(policy.device)) if isinstance(reward, str) and reward else reward or None
    if judge is not None and isinstance(given, Prompts):
        check(judge, given.rows[:2])
        judge = watched(judge, town=isinstance(data, str) and is_world(data))
    faults, progress = Faults.parse(fault), Progress()
    with contextlib.ExitStack() as stack:
        run = stack.enter_context(RunFolder.open(out, resume=resume, rank=Ranks.join(policy.device).rank, faults=faults)) if out else None
        if run is not None:
            begin(run, policy, described(data, given), {"method": method.name, "options": {**(asked or {}), **plain_settings(method)}})
        write_down(run, given, progress)
        if reference is None and "reference" in method.roles:
            reread = isinstance(given, Plan) and rereads(recipe, len(given))
            reference = _reference(Hands(policy, given).policy, run, rereads=reread)
        people = oracles.kept(oracle, given, run, seed=recipe.seed, skip_bad=feed.skip_bad) if oracle else None
        hands = fill(method, Hands(policy, given, reference, judge, recipe.seed, beside(demos, method, policy, feed), people))
        evaluate = _evaluation(method, hands, data, feed, recipe, run)
        result = drive(method(*hands.values()), recipe=recipe, run=run, evaluate=evaluate, resume=resume, progress=progress, faults=faults)
    if run is not None and run.writes:
        run_report.write(run.path)
    return Run(next(iter(hands.values())), result, Path(out) if out else None, given.counts)


def beside(demos: str | Sequence[Demo], method: Method, policy: Trained, feed: Feed) -> Sequence[Group]:
    """Demonstrations as rows that join a method's updates; refused where it has no place for them."""
    if not demos:
        return ()
    if "ptx" not in method.defaults:
        raise UserError(f"{method.name} learns from nothing beside its rows", "Leave --demos out, or train by ppo.")
    given = feed.plan(demos, Demo, policy)
    assert isinstance(given, Plan)
    return given


def plain_settings(method: Method) -> dict[str, Any]:
    """A method's settings as config.yaml holds them."""
    groups = {name: asdict(value) for name, value in method.settings.items() if is_dataclass(value) and not isinstance(value, type)}
    return {**method.settings, **groups}


def rereads(recipe: Recipe, rows: int) -> bool:
    """Whether a recipe reads some of its rows more than once."""
    return limit_steps(recipe, -(-rows // recipe.batch)) * recipe.batch > rows


def _reference(policy: LM, run: RunFolder | None, *, rereads: bool) -> LM | CachedReference:
    """The policy as it is now; its numbers are kept on disk where a run reads its rows more than once."""
    frozen = policy.frozen()
    return CachedReference(frozen, run.path / "reference") if run is not None and rereads else frozen


def begin(run: RunFolder, policy: Trained, data: dict[str, Any], asked: dict[str, Any]) -> None:
    """Write config.yaml; or, resumed, refuse other data or weights than the run began with, and take the kernel that it began with."""
    recorded, weights = run.config(), policy.fingerprint()
    speaker = policy if isinstance(policy, LM) else policy.trunk
    if not recorded:
        run.write_config({**asked, "data": data, "weights": {"sha256": weights, "backend": speaker.backend}})
        return
    for what, now in (("data", data.get("sha256")), ("weights", weights)):
        if recorded[what].get("sha256") != now:
            raise UserError(f"{run.path} began with other {what} than these", "Resume with what config.yaml names, or use another --out.")
    if speaker.attn == "auto":
        speaker.attn = recorded["weights"]["backend"]


def _evaluation(
    method: Method, hands: dict[str, Any], data: Any, feed: Feed, recipe: Recipe, run: RunFolder | None
) -> validation.Evaluate | None:
    """Gold on town's validation prompts, the reward on other prompts, or the method's own loss on rows of `eval_data`."""
    speaks = "policy" in hands
    spec = feed.eval_data or (TOWN_GOLD if speaks and isinstance(data, str) and is_world(data) else "")
    prompts = validation.prompts_of(spec) if speaks else None
    if prompts is not None:
        return validation.town_gold(hands["policy"], prompts, run, seed=recipe.seed)
    if not spec:
        return None
    given = feed.plan(spec, method.data, next(iter(hands.values())))
    if isinstance(given, Prompts) and "reward" not in hands:
        raise UserError(f"--eval_data {spec}: {method.name} has no reward to score prompts by", "Take town:prompts?split=validation&n=64.")
    if isinstance(given, Prompts):
        return validation.rewarded(hands["policy"], hands["reward"], given, run, seed=recipe.seed)
    return validation.held_out(method, hands, given, micro_tokens=recipe.micro_tokens)


def split_settings(settings: Mapping[str, Any]) -> tuple[Recipe, Feed]:
    """The recipe and the feed of these settings; an unknown name is refused with the nearest."""
    feeds, recipes = ([f.name for f in fields(c)] for c in (Feed, Recipe))
    for name in settings:
        if name not in (*feeds, *recipes):
            near = difflib.get_close_matches(name, [*feeds, *recipes], n=1)
            raise UserError(f"train has no setting {name!r}", f"Did you mean {near[0]!r}?" if near else f"It has {', '.join(recipes)}.")
    mine = {name: {k: v for k, v in settings.items() if k in keys} for name, keys in (("feed", feeds), ("recipe", recipes))}
    return Recipe(**mine["recipe"]), Feed(**mine["feed"])


def described(data: str | Sequence[Any], groups: Given) -> dict[str, Any]:
    """What config.yaml says of the data: counts and hash."""
    about = {"rows": len(groups), "cut": dict(groups.counts), "skipped": len(groups.skipped)}
    file = isinstance(data, str) and not is_world(data)
    return {**about, **({"sha256": data_hash(str(data))} if file else {})}


def write_down(run: RunFolder | None, groups: Given, progress: Progress) -> None:
    """Say what of the data was cut or left out, and list the rows that were."""
    for line in groups.summary():
        progress.note(line)
    thumbs = {row.desirable for row in groups.rows if isinstance(row, Label)}
    if len(thumbs) == 1:
        up = thumbs.pop()
        progress.note(f"every thumb is {'up' if up else 'down'}: nothing is told apart, and accuracy says only how far replies were moved")
    skipped = [*groups.skipped, *(groups.rows.skipped if isinstance(groups.rows, Rows) else [])]
    if run is not None and run.writes and skipped:
        (run.path / "skipped.jsonl").unlink(missing_ok=True)
        write_skipped(run.path / "skipped.jsonl", skipped)
