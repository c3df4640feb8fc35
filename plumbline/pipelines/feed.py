"""How rows become what a method iterates: read, cut to what the model's context holds, tokenised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from plumbline.core.errors import UserError
from plumbline.core.nouns import Prompt
from plumbline.data import Plan, Prompts
from plumbline.pipelines import sources
from plumbline.pipelines.roles import Given, Trained

LONGEST = 4096  # tokens of a row where neither the model nor the user sets a limit


@dataclass(frozen=True)
class Feed:
    """How data is read.

    `eval_data`: held-out rows of the same kind, or town:prompts?split=validation for gold.   `max_prompt_tokens`: longer prompts lose
    their oldest messages (default: what the model's context leaves).   `max_completion_tokens`: longer completions are cut, and lose
    their end (default: half the model's context).   `skip_bad`: leave bad rows out, and list them in skipped.jsonl.
    """

    eval_data: str = ""
    max_prompt_tokens: int | None = None
    max_completion_tokens: int | None = None
    skip_bad: bool = False

    def limits(self, config: Any) -> tuple[int, int]:
        """Tokens of a prompt and of a completion, which together fit the model of this config."""
        for flag in ("max_prompt_tokens", "max_completion_tokens"):
            if (given := getattr(self, flag)) is not None and given < 1:
                raise UserError(f"--{flag} is {given}", "Give at least 1.")
        context = min(getattr(config, "max_position_embeddings", None) or LONGEST, LONGEST)
        completion = self.max_completion_tokens or (context - self.max_prompt_tokens if self.max_prompt_tokens else context // 2)
        prompt = self.max_prompt_tokens or context - completion
        if prompt < 1 or completion < 1 or (self.max_prompt_tokens and self.max_completion_tokens and prompt + completion > context):
            raise UserError(
                f"prompts of {max(prompt, 1)} and completions of {max(completion, 1)} tokens are more than the model's {context}",
                "Lower --max_prompt_tokens or --max_completion_tokens: together they may be as long as the model's context.",
            )
        return prompt, completion

    def plan(self, data: str | Sequence[Any], kind: type, policy: Trained) -> Given:
        """The rows as groups of token ids, or as prompts that fit."""
        rows = sources.items(data, kind, skip_bad=self.skip_bad) if isinstance(data, str) else data
        prompt, completion = self.limits(policy.config)
        if kind is Prompt:
            return Prompts(rows, policy.tokenizer, max_prompt_tokens=prompt, skip_bad=self.skip_bad)
        return Plan(rows, policy.tokenizer, max_prompt_tokens=prompt, max_completion_tokens=completion, skip_bad=self.skip_bad)
