"""`plumbline icl --model M --demos F --out prompt.yaml`: align by a prompt, without training."""

from __future__ import annotations

from pathlib import Path

from plumbline.cli.bounds import unused
from plumbline.cli.signature import Answer, need


def icl(
    *,
    model: str = "",
    demos: str = "",
    principles: str = "",
    out: str = "",
    k: str = "0..8",
    on: str = "",
    reward: str = "",
    heldout: int = 32,
    prompts: int = 104,
    tries: int = 16,
    beam: int = 1,
    orders: int = 24,
    seed: int = 0,
    temperature: float = 1.0,
    max_completion_tokens: int = 96,
    template: str = "",
    threads: int = 0,
    skip_bad: bool = False,
    resume: bool = False,
) -> Answer:
    """Choose examples for MODEL's prompt, and their order, by a validation score, and write them as a prompt file.

    `model`: a run folder, a model directory, town, town-s|m|l, or with --reward or --on town an endpoint (http://host/v1).
    `demos`: demonstrations to choose from.   `principles`: a text file with a principle a line.   `out`: the prompt file to write
    (prompt.yaml), for --prompt of eval and sample; beside it a folder keeps every score.
    `k`: how many examples: a number, or a range of which the best is taken.   `on`: what scores a prompt: nothing (a part of the
    demonstrations that is held out, by log-likelihood), a file of demonstrations, town (gold of replies to its validation prompts),
    or with --reward a file of prompts.   `reward`: what scores replies to them, as `sample` takes it.   `heldout`: demonstrations
    held out for the score, and as many for the check.   `prompts`: prompts for the score, and as many for the check.
    `tries`: candidates tried for each place, 0 for all.   `beam`: prompts that go on from each size.   `orders`: orders of the best
    prompt that are tried.   `seed`: of what is held out, drawn and sampled.   `temperature`, `max_completion_tokens`: of replies.
    `template`: a chat template to force.   `threads`: CPU threads, 0 leaves them as they are.   `skip_bad`: leave bad rows out.
    `resume`: go on with a search that was stopped; no prompt is scored twice.
    """
    need("icl", model=model, demos=demos, out=out)
    from plumbline.core.nouns import Sampling
    from plumbline.pipelines import icl_sources, sources
    from plumbline.pipelines.icl_search import Plan, sizes

    unused(icl_sources.places(Path(out))[1], resume=resume)
    sources.use_threads(threads)
    sampling = Sampling(temperature=temperature, max_tokens=max_completion_tokens, seed=seed)
    wanted = icl_sources.Wanted(model, demos, principles, on, reward, heldout, prompts, sampling, template, skip_bad)
    chosen, lines = icl_sources.run(wanted, Plan(*sizes(k), tries, beam, orders, seed), Path(out), resume=resume)
    return {"out": lines[-1], **chosen.figures()}, "\n".join(lines)
