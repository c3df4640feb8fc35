"""`plumbline quickstart`: the shipped model, aligned and scored, with a report."""

from __future__ import annotations

from plumbline.cli.signature import Answer


def quickstart(
    *,
    model: str = "town",
    seeds: int = 3,
    demos: int = 200,
    comparisons: int = 4000,
    prompts: int = 1040,
    seed: int = 0,
    threads: int = 0,
    out: str = "",
    resume: bool = False,
) -> Answer:
    """Align the shipped model by SFT and DPO, and by SFT, a reward model and PPO; score all of them on held-out prompts.

    `model`: town, town-s, town-m, town-l, or any model that speaks town.   `seeds`: trainings, each with its own data.
    `demos`: demonstrations per training.   `comparisons`: prompts per training whose four replies are ranked.
    `prompts`: held-out prompts to score on.   `seed`: the first seed.   `threads`: CPU threads, 0 leaves them as they are.
    `out`: the run folder (default: the first free runs/quickstart…).   `resume`: go on with the run in `out`.
    """
    from plumbline.pipelines import quickstart as pipeline
    from plumbline.pipelines import sources

    sources.use_threads(threads)
    budget = pipeline.Budget(seeds=seeds, demos=demos, comparisons=comparisons, prompts=prompts, seed=seed)
    measured, report = pipeline.quickstart(budget, model=model, out=out, resume=resume)
    return pipeline.as_json(measured, report), pipeline.as_text(measured, report)
