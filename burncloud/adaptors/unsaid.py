"""Members of a request that a dialect has no word for: named in the losses, where they ask for something at all."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Final

from burncloud.adaptors import canon

_ASKING: Final[dict[str, Callable[[Any], bool]]] = {
    "n": lambda n: n > 1,
    "modalities": lambda modalities: any(modality != "text" for modality in modalities),
    "verbosity": lambda verbosity: verbosity != "medium",
}
"""Whether a value that is not empty asks for something; of other members it always does."""
_SUMMARIES: Final = ("concise", "detailed")
"""What is asked of the summary of the thinking, beyond that there be one."""


def name_unsaid(request: canon.Request, members: Collection[str], losses: canon.Losses) -> None:
    """Name those of `members` that ask for something, and whatever only the request's own dialect knows."""
    for name in members:
        value = getattr(request, name, None)
        if value and (name not in _ASKING or _ASKING[name](value)):
            losses.add(name)
    if request.seed == 0 and "seed" in members:  # a seed like any other
        losses.add("seed")
    if "summary" in members and request.thinking is not None and request.thinking.summary in _SUMMARIES:
        losses.add("reasoning_summary")
    if request.extra:
        losses.extra({name: value for name, value in request.extra.items() if value is not None})
