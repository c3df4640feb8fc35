"""`plumbline interp …`: looking inside a model.   Every command takes a model by its name and a text."""

from __future__ import annotations

from typing import Any

from plumbline.cli.signature import Answer, need


def _open(model: str, device: str, threads: int) -> tuple[Any, Any]:
    """The model, and its insides."""
    from plumbline.models.hooks import Insides
    from plumbline.pipelines import sources

    sources.use_threads(threads)
    lm = sources.load(model, device=device)
    return lm, Insides.of(lm)


def _ids(lm: Any, text: str, chat: bool) -> list[int]:
    from plumbline.core.nouns import Message

    return lm.tokenizer.context_ids((Message("user", text),) if chat else text)


def lens(*, model: str = "", text: str = "", chat: bool = False, top: int = 5, device: str = "auto", threads: int = 0) -> Answer:
    """What a model would say if it stopped after each layer (logit lens).

    `model`: a model directory, hub name, run folder, or town, town-s, town-m, town-l.   `text`: what it reads.
    `chat`: the text is a user's message, and goes through the chat template.   `top`: tokens shown of each layer.
    `device`: cpu, cuda, or auto.   `threads`: CPU threads, 0 leaves them.
    """
    need("interp lens", model=model, text=text)
    from plumbline.interp.lens import logit_lens
    from plumbline.models.hooks import shown

    lm, insides = _open(model, device, threads)
    ids = _ids(lm, text, chat)
    found = logit_lens(insides, ids)
    p_SLK, token_SLK = found.top(top)
    rows = [
        [{"token": w, "p": round(p, 4)} for w, p in zip(shown(lm, t.tolist()), q.tolist(), strict=True)]
        for t, q in zip(token_SLK[:, -1], p_SLK[:, -1], strict=True)
    ]
    lines = [f"after {shown(lm, ids)[-1]!r}:"]
    lines += [f"{name:28}" + "  ".join(f"{r['token']} {r['p']:.2f}" for r in row) for name, row in zip(found.streams, rows, strict=True)]
    return {"tokens": shown(lm, ids), "last": dict(zip(found.streams, rows, strict=True))}, "\n".join(lines)
