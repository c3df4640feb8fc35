"""A model directory, opened with errors that say what to do: nothing here is specific to any method."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypedDict

import torch

from plumbline.core.errors import UserError
from plumbline.models.tokenizer import HFTokenizer

log = logging.getLogger("plumbline")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
OTHER_HEADS = ("Classification", "QuestionAnswering", "MultipleChoice", "ForMaskedLM", "RewardModel")
HUB_SECONDS = 3.0  # for a first answer of the hub
LARGEST_MISFIT = 2  # a model whose vocabulary is more than this many times the tokenizer's was made with another one


class Loading(TypedDict, total=False):
    """How any model is loaded, by name, for whatever passes the settings of `LM.load` on; a test keeps the two in step."""

    lora: int
    load_4bit: bool
    gradient_checkpointing: bool
    device: str
    attn: str
    template: str | None


def is_adapter(path: str | os.PathLike[str]) -> bool:
    """True for a directory that PEFT wrote: an adapter, not a model."""
    return (Path(path) / "adapter_config.json").is_file()


def adapter_base(path: str | os.PathLike[str]) -> str:
    """The model that an adapter directory belongs to."""
    said = json.loads((Path(path) / "adapter_config.json").read_text(encoding="utf-8"))
    if said.get("task_type") == "SEQ_CLS":
        raise UserError(
            f"{path}: an adapter for sequence classification, whose head is not read", "Merge it into its base: merge_and_unload, save."
        )
    base = said.get("base_model_name_or_path")
    if not base:
        raise UserError(f"{path}: adapter_config.json names no base model", 'Set "base_model_name_or_path" there.')
    return str(base)


def is_classifier(path: str | os.PathLike[str]) -> bool:
    """True for a directory (or hub name) of sequence classification: a trunk with a head that scores a text."""
    saved = getattr(config_of(path, speaks=False), "architectures", None) or []
    return any(name.endswith("ForSequenceClassification") for name in saved)


def config_of(path: str | os.PathLike[str], *, speaks: bool = True) -> Any:
    """The config of a model directory (or hub name) that may hold a causal language model (`speaks`), or a classifier."""
    from transformers import AutoConfig

    _look(path)
    try:
        with quiet():
            config = AutoConfig.from_pretrained(path)
    except Exception as error:
        raise UserError(f"{path}: its config.json cannot be used ({_line(error)})", _no_config(path)) from error
    if speaks:
        _speaks(config, path)
    return config


def causal_lm(path: str | os.PathLike[str], *, dtype: str, device: str, load_4bit: bool) -> Any:
    """The model, in eval mode, without dropout."""
    from transformers import AutoModelForCausalLM

    model, info = _opened(path, AutoModelForCausalLM, "causal language model", dtype=dtype, device=device, load_4bit=load_4bit)
    missing = sorted(info.get("missing_keys", ()))
    if missing:
        raise UserError(
            f"{path}: the weights lack {missing[0]!r} ({len(missing)} missing)", "They would be random: this is not a causal LM's file."
        )
    return model


def classifier(path: str | os.PathLike[str], *, dtype: str, device: str, load_4bit: bool) -> Any:
    """A decoder with a linear, bias-free `score` head, in eval mode, without dropout."""
    from torch import nn
    from transformers import AutoModelForSequenceClassification

    model, info = _opened(path, AutoModelForSequenceClassification, "sequence classifier", dtype=dtype, device=device, load_4bit=load_4bit)
    odd = sorted([*info.get("missing_keys", ()), *(k for k in info.get("unexpected_keys", ()) if k.startswith("score"))])
    if odd or not isinstance(getattr(model, "score", None), nn.Linear) or model.score.bias is not None:
        what = f"its weights and its config differ in {odd[0]!r}" if odd else f"a {type(model).__name__} has no linear `score` head"
        raise UserError(f"{path}: {what}", "plumbline reads decoders with one bias-free linear head, as transformers writes them.")
    return model


def _opened(path: str | os.PathLike[str], auto: Any, kind: str, *, dtype: str, device: str, load_4bit: bool) -> tuple[Any, dict[str, Any]]:
    """A model of transformers, in eval mode, without dropout, and what was odd about its weights."""
    if dtype not in DTYPES:
        raise UserError(f"--dtype {dtype}: not known", f"One of: {', '.join(DTYPES)}.")
    config = config_of(path, speaks=kind == "causal language model")
    check_device(device)
    without_dropout(config)
    options: dict[str, Any] = {"config": config, "dtype": DTYPES[dtype]}
    if load_4bit:
        options |= _four_bit(DTYPES[dtype])
    try:
        with quiet():
            model, info = auto.from_pretrained(path, output_loading_info=True, **options)
    except Exception as error:
        raise UserError(f"{path}: not a {kind} that transformers can load ({_line(error)})", _mend(error)) from error
    return (model.eval() if load_4bit else model.to(device).eval()), info


def check_device(device: str) -> None:
    """Refuse a device that this machine has not, before weights are read."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UserError(f"--device {device} cannot be used here ({_line(error)})", "Write cpu, or cuda where torch sees a GPU.") from error


def without_dropout(config: Any) -> None:
    """Set every dropout of a config to 0: an optimiser should see the loss, not noise."""
    for part in {id(c): c for c in (config, config.get_text_config())}.values():
        for name, value in list(vars(part).items()):
            if ("dropout" in name or "pdrop" in name or name == "layerdrop") and isinstance(value, float):
                setattr(part, name, 0.0)


def check_fit(tokenizer: HFTokenizer, vocabulary: int, path: str | os.PathLike[str]) -> None:
    """Refuse a tokenizer whose ids the model does not have, or that knows far fewer tokens than the model."""
    plain = [i for i in tokenizer.hf.get_vocab().values() if i >= vocabulary and i not in tokenizer.special_ids]
    named = [i for i in (tokenizer.bos_id, tokenizer.eos_id) if i is not None and i >= vocabulary]
    if plain or named or tokenizer.vocab_size * LARGEST_MISFIT < vocabulary:
        raise UserError(
            f"{path}: the tokenizer has {tokenizer.vocab_size} tokens, the model {vocabulary}; they do not belong together",
            "Put the tokenizer that the model was trained with into the directory.",
        )


def _look(path: str | os.PathLike[str]) -> None:
    place = Path(path)
    if place.is_dir():
        if not (place / "config.json").is_file():
            found = ", ".join(sorted(p.name for p in place.iterdir())[:6]) or "nothing"
            raise UserError(
                f"{path}: no config.json in this directory (it holds {found})", "Give the directory that `save_pretrained` wrote."
            )
    elif place.is_file():
        raise UserError(f"{path} is a file, not a model directory", "Give the directory that holds config.json and model.safetensors.")
    elif place.exists() or place.is_absolute() or place.parent.is_dir() or str(path).count("/") != 1:
        raise UserError(f"{path}: no such model directory", "Give a directory with config.json, a hub name (owner/name), or `town`.")
    else:
        _reach(str(path))


def _reach(name: str) -> None:
    """Ask the hub for a model's config once, unless it is kept here from earlier: transformers would try for a minute to reach no hub."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(try_to_load_from_cache(name, "config.json"), str):
        return
    try:
        get_hf_file_metadata(hf_hub_url(name, "config.json"), timeout=HUB_SECONDS)
    except HfHubHTTPError:
        return  # it answered: what it has against the name is said when the config is asked for
    except Exception as error:
        raise UserError(
            f"{name}: there is no such directory, and the hub cannot be reached ({_line(error)})",
            "Give the directory of a model that is on this machine, or `town`.",
        ) from error


def _speaks(config: Any, path: str | os.PathLike[str]) -> None:
    """Refuse what was saved with another head: transformers would load it, and its tied embeddings would stand in for a head."""
    saved = getattr(config, "architectures", None) or []
    if saved and all(name.endswith(OTHER_HEADS) for name in saved):
        raise UserError(f"{path} holds a {saved[0]}, which does not write text", "Give a causal language model (…ForCausalLM).")


def _no_config(path: str | os.PathLike[str]) -> str:
    if Path(path).is_dir():
        return "Is it a model directory of transformers?"
    return "There is no directory of this name here, so it was looked for on the hub. Check the path, the name and the network."


def _four_bit(dtype: torch.dtype) -> dict[str, Any]:
    if importlib.util.find_spec("bitsandbytes") is None:
        raise UserError("--load_4bit needs bitsandbytes, which is not installed", "pip install bitsandbytes, or leave --load_4bit out.")
    from transformers import BitsAndBytesConfig

    plan = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype)
    return {"quantization_config": plan, "device_map": {"": 0} if torch.cuda.is_available() else None}


def end_ids(model: Any) -> frozenset[int]:
    """Every id that the model's own generation config takes for an end; none of a trunk, which generates nothing."""
    ends = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    return frozenset(ends if isinstance(ends, list) else [] if ends is None else [ends])


@contextmanager
def quiet() -> Iterator[None]:
    """Within: no progress bars and no advice from transformers, nor from the hub."""
    from huggingface_hub.utils import logging as hub
    from transformers.utils import logging as theirs

    shown = theirs.is_progress_bar_enabled()
    level, hubs = theirs.get_verbosity(), hub.get_verbosity()
    theirs.disable_progress_bar()
    theirs.set_verbosity_error()
    hub.set_verbosity_error()
    try:
        yield
    finally:
        theirs.set_verbosity(level)
        hub.set_verbosity(hubs)
        if shown:
            theirs.enable_progress_bar()


def _line(error: Exception) -> str:
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {first[:200]}"


def _mend(error: Exception) -> str:
    if isinstance(error, OSError) or type(error).__name__ == "SafetensorError":
        return "Is there a model.safetensors in it, whole and readable?"
    return "plumbline trains decoder-only models (AutoModelForCausalLM); encoders and encoder-decoders are not supported."
