"""`plumbline data check FILE`: what a file holds, before anything is trained on it.   `data curate`: which of its rows to train on."""

from __future__ import annotations

from plumbline.cli.signature import Answer, need
from plumbline.core import nouns
from plumbline.core.errors import UserError

KINDS = ("Demo", "Comparison", "Rating", "Label", "Prompt")


def check(
    file: str,
    *,
    kind: str = "",
    model: str = "",
    template: str | None = None,
    eval_data: str = "",
    max_prompt_tokens: int | None = None,
    max_completion_tokens: int | None = None,
) -> Answer:
    """What a file of feedback holds: kind, columns, three rows as they are trained on, lengths, what would be cut, duplicates.

    `file`: JSON, JSONL, CSV or Parquet, plain or .gz, or a saved `datasets` folder.   `kind`: Demo, Comparison, Rating, Label or
    Prompt (default: what the first row is).   `model`: count its tokens, not words, and cut as training it would.
    `template`: a chat template to force.   `eval_data`: an evaluation file, to look for rows that are in both.
    `max_prompt_tokens`: as in train.   `max_completion_tokens`: as in train.
    """
    if kind and kind.capitalize() not in KINDS:
        raise UserError(f"there is no kind {kind!r}", f"Kinds: {', '.join(KINDS)}.")
    from plumbline.data.check import check as run_check

    tokenizer, limits = None, (max_prompt_tokens, max_completion_tokens)
    if model:
        from plumbline.models.loading import config_of
        from plumbline.models.tokenizer import HFTokenizer
        from plumbline.pipelines import sources
        from plumbline.pipelines.feed import Feed

        path = sources.model_path(model)
        limits = Feed(max_prompt_tokens=max_prompt_tokens, max_completion_tokens=max_completion_tokens).limits(config_of(path))
        tokenizer = HFTokenizer.load(path, template)
    found = run_check(
        file,
        kind=getattr(nouns, kind.capitalize()) if kind else None,
        tokenizer=tokenizer,
        eval_path=eval_data or None,
        max_prompt_tokens=limits[0],
        max_completion_tokens=limits[1],
    )
    return found.record(), found.text()


def curate(
    data: str,
    *,
    out: str = "",
    keep: int | str = "10%",
    near: float = 0.8,
    diversity: float = 0.5,
    min_quality: float = 0.0,
    ignore: str = "",
    reward: str = "",
    model: str = "",
    skip_bad: bool = False,
) -> Answer:
    """The rows of a file worth training on: good, unlike one another, as many as asked for; with a reason for every row kept or dropped.

    `data`: a file of demonstrations or comparisons in any format that train reads, or town:demos?n=1000&noise=0.5.   `out`: a new folder
    for the kept rows (unchanged, in the file's own format), reasons.jsonl and a summary.   `keep`: a number of rows, or a share (10%).
    `near`: from this Jaccard similarity of runs of three words on a row counts as a duplicate; above 1 none does.   `diversity`: 0 chooses
    by quality alone, 1 by quality times novelty.   `min_quality`: drop poorer rows, from 0 to 1.   `ignore`: signals to leave out, joined
    by commas (empty, length, ending, repetition, refusal, boilerplate, copying, off_topic, garbage).   `reward`: a reward model or rule
    whose ranking of the rows is one more signal.   `model`: or a language model, whose likelihood of the answers is.
    `skip_bad`: leave out rows that cannot be read.
    """
    need("data curate", out=out)
    from plumbline.data.curate import Wish
    from plumbline.pipelines.curate import run

    signals = tuple(name.strip() for name in ignore.split(",") if name.strip())
    return run(data, out, Wish(keep, near, diversity, min_quality, signals), reward=reward, model=model, skip_bad=skip_bad)
