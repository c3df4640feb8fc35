"""`plumbline data check FILE`: what a file holds, before anything is trained on it."""

from __future__ import annotations

from plumbline.cli.signature import Answer
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
        from plumbline.pipelines.train import Feed

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
