"""What a name stands for: a model (`town-s`, a run folder, a directory, a hub name), or feedback (a file, or a `town:` spec)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Unpack

from plumbline.core.errors import UserError
from plumbline.core.interfaces import Model, Reward
from plumbline.core.methods import Method
from plumbline.core.nouns import Rating
from plumbline.data import open_rows
from plumbline.data.sources import is_world
from plumbline.engine.runs import RunFolder
from plumbline.models.lm import LM
from plumbline.models.loading import Loading, is_classifier
from plumbline.models.scalar import ScalarLM
from plumbline.pipelines.gold import TownGold
from plumbline.pipelines.roles import criteria
from plumbline.rewards.spec import FORMS, parse
from plumbline.world import sources as world

PACKAGE = Path(__file__).parents[1]
SHIPPED = {"town": "s", "town-s": "s", "town-m": "m", "town-l": "l"}


def model_path(name: str, *, which: str = "best") -> str:
    """The directory (or hub name) that a model's name stands for; of a run folder its best checkpoint, else its last."""
    if name in SHIPPED:
        path = PACKAGE / "world" / "models" / SHIPPED[name]
        if not path.is_dir():
            raise UserError(f"the model {name!r} is not in this installation", f"`plumbline world build --size {SHIPPED[name]}` makes it.")
        return str(path)
    if (Path(name) / "config.yaml").is_file():
        return str(run_with("policy", name).model_dir(which=which))
    return name


def run_with(role: str, name: str, *, any_stage: bool = True) -> RunFolder:
    """A run folder; of a run of several stages, the last finished stage that trained this role, or the last of all if it did."""
    run = RunFolder(Path(name), writes=False)
    for stage in map(run.stage, reversed(run.stages() if any_stage else run.stages()[-1:])):
        latest = stage.checkpoints.latest()
        if latest is not None and (latest.path / role).is_dir():
            return stage
    return run


def placed(device: str) -> str:
    """The device that is named; auto: the GPU where there is one."""
    import torch

    return device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"


def use_threads(threads: int) -> None:
    """CPU threads for torch; 0 leaves them as they are."""
    import torch

    if threads < 0:
        raise UserError(f"--threads is {threads}", "Give a number of threads, or 0 to leave them as they are.")
    if threads:
        torch.set_num_threads(threads)


def load(
    model: str,
    *,
    lora: int = 0,
    load_4bit: bool = False,
    gradient_checkpointing: bool = False,
    device: str = "auto",
    attn: str = "auto",
    template: str | None = None,
    seed: int = 0,
) -> LM:
    """A model by its name, ready to train, score and sample.

    `lora`: rank of a new LoRA adapter, 0 trains all weights.   `load_4bit`: keep the base weights in 4 bits (needs bitsandbytes).
    `gradient_checkpointing`: compute activations twice to keep fewer.   `device`: cpu, cuda, or auto.
    `attn`: the kernel's backend; auto chooses by a check and a measurement.   `template`: a chat template (Jinja text or file) to force.
    `seed`: of the new adapter's weights.
    """
    if lora < 0:
        raise UserError(f"--lora is {lora}", "Give the rank of an adapter, or 0 to train all weights.")
    return LM.load(
        model_path(model),
        lora=lora,
        load_4bit=load_4bit,
        gradient_checkpointing=gradient_checkpointing,
        device=placed(device),
        attn=attn,
        template=template,
        name=Path(model).name or model,
        seed=seed,
    )


def answerer(model: str, *, device: str = "auto", template: str | None = None) -> Model:
    """Anything that answers: an endpoint (`http://host/v1`, `http://host/v1#model`), or a local model."""
    if model.startswith(("http://", "https://")):
        from plumbline.models.remote import RemoteModel

        url, _, name = model.partition("#")
        return RemoteModel(url, model=name)
    return load(model, device=device, template=template)


def load_for(
    method: Method,
    model: str,
    *,
    data: str = "",
    skip_bad: bool = False,
    seed: int = 0,
    **how: Unpack[Loading],
) -> LM | ScalarLM:
    """What a method trains: a language model, or for methods of rewards the same with heads (named as the criteria in `data`)."""
    if "model" not in method.roles:
        return load(model, seed=seed, **how)
    own = reward_path(model)
    rated = method.data is Rating and data and not own
    how["device"] = placed(how.get("device", "auto"))
    heads = criteria(items(data, Rating, skip_bad=skip_bad)) if rated else ()
    return ScalarLM.load(own or model_path(model), heads=heads, seed=seed, **how)


def reward_path(name: str, *, any_stage: bool = False) -> str:
    """The directory of a reward model: one of sequence classification, or the best checkpoint of a run that trained one; else "".

    A run of several stages is a reward if its last stage trained one; `any_stage`: if any did.
    """
    if (Path(name) / "config.yaml").is_file():
        run = run_with("model", name, any_stage=any_stage)
        latest = run.checkpoints.latest()
        return str(run.model_dir("model", "best")) if latest is not None and (latest.path / "model").is_dir() else ""
    return name if name not in SHIPPED and is_classifier(name) else ""


def reward(spec: str, *, device: str = "auto") -> Reward:
    """A reward by its name: gold, a reward model's directory or run, or what `rewards.spec` reads."""
    return parse(spec, other=lambda name: _model_reward(name, placed(device)))


def _model_reward(name: str, device: str) -> Reward:
    if name == "gold":
        return TownGold()
    path = reward_path(name, any_stage=True)
    if not path:
        raise UserError(f"--reward {name}: no reward model is there", f"Train one with `plumbline train reward`. {FORMS}")
    return ScalarLM.load(path, device=device).frozen()


def items(spec: str, kind: type, *, skip_bad: bool = False) -> Sequence[Any]:
    """What a spec names, feedback or prompts, as items of one kind."""
    if not is_world(spec):
        return open_rows(spec, kind, skip_bad=skip_bad)
    items = world.load(spec)
    wanted: list[Any] = [item for item in items if isinstance(item, kind)]
    if len(wanted) < len(items):
        is_now, wants = spec.removeprefix("town:").partition("?")[0], kind.__name__.lower() + "s"
        raise UserError(f"{spec} gives {is_now}, but {wants} are wanted", f"Write town:{wants}?n=1000&seed=1, or take another method.")
    return wanted
