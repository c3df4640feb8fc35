"""`plumbline interp …`: looking inside a model.   Every command takes a model by its name and a text that it reads.

A text is raw, or with `chat` a user's message in the model's template; `reply` is how the answer begins.
"""

from __future__ import annotations

from plumbline.cli.signature import Answer, need


def lens(
    *,
    model: str = "",
    text: str = "",
    chat: bool = False,
    reply: str = "",
    top: int = 5,
    device: str = "auto",
    threads: int = 0,
) -> Answer:
    """What a model would say if it stopped after each layer (logit lens).

    `model`: a model directory, hub name, run folder, or town, town-s, town-m, town-l.   `text`: what it reads.
    `chat`: the text is a user's message, and goes through the chat template.   `reply`: how the answer begins.
    `top`: tokens shown of each layer.   `device`: cpu, cuda, or auto.   `threads`: CPU threads, 0 leaves them.
    """
    need("interp lens", model=model, text=text)
    from plumbline.pipelines import insides

    return insides.lens(insides.opened(model, device, threads), text, chat=chat, reply=reply, top=top)


def attribution(
    *,
    model: str = "",
    text: str = "",
    chat: bool = False,
    reply: str = "",
    answer: str = "",
    against: str = "",
    top: int = 12,
    device: str = "auto",
    threads: int = 0,
) -> Answer:
    """Which parts of a model make the logit of its next token: heads, MLPs, embeddings, biases, summing to the logit.

    `model`: a model directory, hub name, run folder, or town, town-s, town-m, town-l.   `text`: what it reads.
    `chat`: the text is a user's message, and goes through the chat template.   `reply`: how the answer begins.
    `answer`: the next word (the model's likeliest if not given).   `against`: a word whose logit is subtracted.
    `top`: parts shown.   `device`: cpu, cuda, or auto.   `threads`: CPU threads, 0 leaves them.
    """
    need("interp attribution", model=model, text=text)
    from plumbline.pipelines import insides

    return insides.attribution(
        insides.opened(model, device, threads), text, chat=chat, reply=reply, answer=answer, against=against, top=top
    )


def patch(
    *,
    model: str = "",
    text: str = "",
    corrupted: str = "",
    chat: bool = False,
    reply: str = "",
    corrupted_reply: str = "",
    what: str = "resid_pre",
    device: str = "auto",
    threads: int = 0,
) -> Answer:
    """Where a model keeps what tells two texts apart: one activation at a time of TEXT is put into the run on CORRUPTED.

    `model`: a model directory, hub name, run folder, or town, town-s, town-m, town-l.   `text`: the clean text.
    `corrupted`: a text of as many tokens with another answer.   `chat`: both are a user's message, and go through the chat template.
    `reply`: how the answer begins.   `corrupted_reply`: how it begins after the corrupted text, if otherwise.
    `what`: resid_pre, resid_mid, resid_post, attn_out or mlp_out (by position); z, pattern, rot_q, rot_k or v (by head).
    `device`: cpu, cuda, or auto.   `threads`: CPU threads, 0 leaves them.
    """
    need("interp patch", model=model, text=text, corrupted=corrupted)
    from plumbline.pipelines import insides

    pair = ((text, reply), (corrupted, corrupted_reply or reply))
    return insides.patch(insides.opened(model, device, threads), pair, chat=chat, what=what)


def probe(
    *,
    model: str = "",
    data: str = "",
    held_out: float = 0.3,
    seed: int = 0,
    device: str = "auto",
    threads: int = 0,
    skip_bad: bool = False,
) -> Answer:
    """How well a linear probe of each layer's stream tells thumbs up from thumbs down, and how much of that is its own memory.

    `model`: a model directory, hub name, run folder, or town, town-s, town-m, town-l.   `data`: labels: prompt, completion, label.
    `held_out`: share of rows that score.   `seed`: of the split and of the control's labels.   `device`: cpu, cuda, or auto.
    `threads`: CPU threads, 0 leaves them.   `skip_bad`: leave bad rows out.
    """
    need("interp probe", model=model, data=data)
    from plumbline.pipelines import insides

    return insides.probe(insides.opened(model, device, threads), data, held_out=held_out, seed=seed, skip_bad=skip_bad)


def steer(
    *,
    model: str = "",
    toward: str = "",
    away: str = "",
    prompts: str = "",
    layer: int = -1,
    strength: float = 1.0,
    ablate: bool = False,
    max_tokens: int = 24,
    device: str = "auto",
    threads: int = 0,
) -> Answer:
    """What a model writes with a direction in its stream: the mean difference between two sets of prompts, added or taken out.

    `model`: a model directory, hub name, run folder, or town, town-s, town-m, town-l.   `toward`, `away`: prompts (a file, or
    town:prompts?…) whose mean states make the direction.   `prompts`: what is answered, with and without it.
    `layer`: the block before which it is read and added; −1: in the middle.   `strength`: how often it is added; below 0, its opposite.
    `ablate`: take it out of everything that is written, instead.   `max_tokens`: where replies are cut.
    `device`: cpu, cuda, or auto.   `threads`: CPU threads, 0 leaves them.
    """
    need("interp steer", model=model, toward=toward, away=away, prompts=prompts)
    from plumbline.pipelines import insides

    opened = insides.opened(model, device, threads)
    return insides.steer(opened, (toward, away), prompts, layer=layer, scale=None if ablate else strength, most=max_tokens)


def page(
    *,
    model: str = "",
    text: str = "",
    corrupted: str = "",
    chat: bool = False,
    reply: str = "",
    corrupted_reply: str = "",
    out: str = "",
    device: str = "auto",
    threads: int = 0,
) -> Answer:
    """One self-contained page on how a model reads a text: lens, attention of every head, attribution, and patching.

    `model`: a model directory, hub name, run folder, or town, town-s, town-m, town-l.   `text`: what it reads.
    `corrupted`: a text of as many tokens with another answer, for patching.   `chat`: both go through the chat template.
    `reply`: how the answer begins.   `corrupted_reply`: how it begins after the corrupted text, if otherwise.
    `out`: the folder that gets report.html.   `device`: cpu, cuda, or auto.   `threads`: CPU threads, 0 leaves them.
    """
    need("interp page", model=model, text=text, out=out)
    from plumbline.pipelines import insides, insides_page

    opened = insides.opened(model, device, threads)
    path = insides_page.write(opened, (text, reply), (corrupted, corrupted_reply or reply), chat=chat, out=out)
    return {"report": str(path)}, str(path)
