"""`plumbline score --model M --data F --out D`: D/scores.jsonl, a line per row of F."""

from __future__ import annotations

from plumbline.cli.signature import Answer, need


def score(
    *,
    model: str = "",
    data: str = "",
    out: str = "",
    device: str = "auto",
    attn: str = "auto",
    template: str | None = None,
    micro_tokens: int = 8192,
    threads: int = 0,
    skip_bad: bool = False,
) -> Answer:
    """The log-probability of every completion in a file under a model, in nats.

    `model`: a model directory, hub name, run folder, or town, town-s, town-m, town-l.   `data`: a file of any kind of feedback.
    `out`: the folder that gets scores.jsonl.   `device`: cpu, cuda, or auto.   `attn`: the kernel's backend; auto measures.
    `template`: a chat template to force.   `micro_tokens`: positions computed at once.   `threads`: CPU threads, 0 leaves them.
    `skip_bad`: leave bad rows out, and list them in skipped.jsonl.
    """
    need("score", model=model, data=data, out=out)
    from plumbline.pipelines import sources
    from plumbline.pipelines.score import score as run_scoring

    sources.use_threads(threads)
    lm = sources.load(model, device=device, attn=attn, template=template)
    path = run_scoring(lm, data, out, micro_tokens=micro_tokens, skip_bad=skip_bad)
    return {"scores": str(path)}, str(path)
