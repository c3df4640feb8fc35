"""`plumbline eval MODEL`: a model measured, alone or against another."""

from __future__ import annotations

from plumbline.cli.signature import Answer


def evaluate(
    model: str,
    *,
    against: str = "",
    on: str = "town",
    split: str = "heldout",
    prompts: int = 520,
    seed: int = 0,
    temperature: float = 1.0,
    max_completion_tokens: int = 96,
    train: str = "",
    judge: str = "",
    reward: str = "",
    prompt: str = "",
    template: str = "",
    skip_bad: bool = False,
    threads: int = 0,
    out: str = "",
) -> Answer:
    """Measure MODEL: a run folder, a model directory, town, town-s|m|l, an endpoint (http://host/v1), or a reward (words:labels.tsv).

    `against`: another model; differences are paired.   `on`: town, town-open (the facts in the prompt, for any model), or a file of
    held-out comparisons, demonstrations or prompts (of a reward: comparisons or labels).   `split`: of town's prompts: train,
    validation, heldout, shifted.
    `prompts`: how many of them.   `seed`: which prompts, and the noise of the replies.   `temperature`: 0 is greedy.
    `max_completion_tokens`: where replies are cut.   `train`: comparisons that a bag of words is fitted on, as a baseline.
    `judge`: a model that says which reply is better, over `against` or over the file's own.
    `reward`: what scores the replies to a file's prompts, as `train ppo` takes it.   `prompt`: a prompt file (of `plumbline icl`) to
    put before everything that MODEL is asked; `against` is asked without it.   `template`: a chat template to force.
    `skip_bad`: leave bad rows of a file out; how many is printed.   `threads`: CPU threads, 0 leaves them as they
    are.   `out`: where evals.jsonl and the report go (default: MODEL, if it is a run folder).
    """
    from pathlib import Path

    from plumbline.pipelines import evaluate as pipeline
    from plumbline.pipelines import icl_sources, run_report, sources

    sources.use_threads(threads)
    options = pipeline.Options(on, split, prompts, seed, temperature, max_completion_tokens, train, judge, reward, template, skip_bad)
    asked = icl_sources.prompted(model, prompt, options, against) if prompt else model
    found = pipeline.evaluate(asked, against, options)
    is_run = (Path(model) / "config.yaml").is_file()
    folder = Path(out) if out else Path(model) if is_run else None
    lines = list(found.lines)
    if folder is not None:
        pipeline.write(found, folder, {"model": model, "against": against, "on": on, "seed": seed, "prompt": prompt})
        if folder == Path(model):
            lines.append(f"report: {run_report.write(folder)}")
    return found.figures, "\n".join(lines)
