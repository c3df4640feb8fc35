"""`plumbline sample M --prompts F --reward R --out FILE`: replies, the best of n, or pairs for DPO."""

from __future__ import annotations

from typing import Any

from plumbline.cli.signature import Answer, need


def sample(
    model: str,
    *,
    prompts: str = "",
    out: str = "",
    n: int = 1,
    reward: str = "",
    prompt: str = "",
    form: str = "replies",
    max_tokens: int = 64,
    temperature: float = 1.0,
    seed: int = 0,
    template: str = "",
    threads: int = 0,
    skip_bad: bool = False,
) -> Answer:
    """Draw replies of MODEL to prompts into a file: to read, or for training.

    `prompts`: a file of prompts (of other rows their prompts are taken), or town:prompts?n=100.   `out`: the JSONL file to write.
    `n`: replies to each prompt.   `reward`: what scores them: a reward model's directory or run, gold (on town), words:labels.tsv,
    rule:module:function, regex:…, json, http://…, or a .yaml of several.   `prompt`: a prompt file (of `plumbline icl`) to put before
    every prompt; the rows that are written have the prompts without it.   `form`: replies (every one, with its score), best (of n, as
    demonstrations), pairs (all that the reward tells apart, as comparisons).   `max_tokens`: where replies are cut.
    `temperature`: 0 is greedy.   `seed`: of the noise.   `template`: a chat template to force.   `threads`: CPU threads, 0 leaves
    them as they are.   `skip_bad`: leave bad rows of the file out.
    """
    need("sample", prompts=prompts, out=out)
    from plumbline.core.nouns import Prompt, Sampling
    from plumbline.pipelines import sample as pipeline
    from plumbline.pipelines import sources
    from plumbline.pipelines.icl_sources import before_all

    sources.use_threads(threads)
    answerer: Any = sources.answerer(model, template=template or None)  # local models and endpoints both draw samples
    judge = sources.reward(reward) if reward else None
    items = list(sources.items(prompts, Prompt, skip_bad=skip_bad))
    sampling = Sampling(temperature=temperature, max_tokens=max_tokens, seed=seed)
    if prompt:
        answerer = before_all(answerer, prompt)
    rows, figures = pipeline.sample(answerer, items, judge, n, form=form, sampling=sampling)
    pipeline.write(rows, out)
    scored = f", score {figures['score']['mean']:.3f}, of the best {figures['best']['mean']:.3f}" if judge else ""
    text = f"{out}: {len(rows)} {form} of {n} samples of {len(items)} prompts, {figures['cut']:.0%} cut at {max_tokens} tokens{scored}"
    return {"out": out, **figures}, text
