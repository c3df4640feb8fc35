"""What registered methods and protocols share: a generator function, and settings chosen so far.

dpo(beta=0.2)                     → the method with its settings
dpo(policy, reference, batches)   → what the function makes of these
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from plumbline.core.errors import UserError


@dataclass(frozen=True)
class Registered:
    """A generator function that eats `data` and comes from `paper`; its keyword-only parameters are its settings."""

    function: Callable[..., Any]
    data: type
    paper: str
    settings: Mapping[str, Any] = field(default_factory=dict, kw_only=True)

    def __post_init__(self) -> None:
        for name in functools.WRAPPER_ASSIGNMENTS:  # `functools.update_wrapper` assigns, which a frozen class forbids
            object.__setattr__(self, name, getattr(self.function, name))
        object.__setattr__(self, "__wrapped__", self.function)

    @property
    def name(self) -> str:
        """The function's name, which is the command's."""
        return self.function.__name__

    @property
    def defaults(self) -> dict[str, Any]:
        """The settings with their defaults: the command's flags."""
        parameters = inspect.signature(self.function).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}

    def __call__(self, *given: Any, **settings: Any) -> Any:
        """With something: what the function makes of it.   Without: this with more settings."""
        unknown = sorted(set(settings) - set(self.defaults))
        if unknown:
            raise UserError(f"{self.name} has no setting {unknown[0]!r}", f"Its settings are: {', '.join(self.defaults) or 'none'}.")
        chosen = {**self.settings, **settings}
        return self.function(*given, **chosen) if given else replace(self, settings=chosen)
