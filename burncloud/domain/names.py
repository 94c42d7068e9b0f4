"""Names of models with a star: which of them a model fits, and what the star carries over to another name.

One star at most, anywhere: `claude-*`, `*-latest`, `openai/*`, `*`.  Where several fit, the one that says the most of
the name wins; a name without a star is only itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

STAR: Final = "*"
EXACT: Final = 1 << 20
"""How much a name without a star says: more than any with one."""


def fits(pattern: str, model: str) -> bool:
    """Whether the model is one of those that the pattern means."""
    return starred(pattern, model) is not None


def starred(pattern: str, model: str) -> str | None:
    """What the star stands for ("" in a name without one); None = it does not fit."""
    before, star, after = pattern.partition(STAR)
    if not star:
        return "" if pattern == model else None
    if len(model) < len(before) + len(after) or not (model.startswith(before) and model.endswith(after)):
        return None
    return model[len(before) : len(model) - len(after)]


def weight_of(pattern: str) -> int:
    """How much it says of the name: the more, the sooner it wins."""
    return len(pattern) - 1 if STAR in pattern else EXACT


def most_specific(patterns: Iterable[str], model: str) -> str | None:
    """The pattern that says the most of this model; of those that say as much, the first in the alphabet."""
    return min((one for one in patterns if fits(one, model)), key=lambda one: (-weight_of(one), one), default=None)


def carried(pattern: str, target: str, model: str) -> str:
    """The name that `target` has for a model which fits the pattern: `claude-*`, `anthropic/claude-*`."""
    return target.replace(STAR, starred(pattern, model) or "", 1) if STAR in pattern else target


def among(patterns: Iterable[str], model: str) -> bool:
    """Whether any of them means the model."""
    return any(fits(one, model) for one in patterns)
