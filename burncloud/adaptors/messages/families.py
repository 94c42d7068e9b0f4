"""What the families of Claude models accept, as far as a translated request must mind it.

Facts from Anthropic's documentation ("Adaptive thinking", "Effort", "Structured outputs", "Mid-conversation system
messages", the migration guides) and from error answers that people met.  A model that is no Claude (Kimi, GLM,
DeepSeek, MiniMax behind a Messages endpoint) takes all of the older form, and thinking without a signature.
"""

from __future__ import annotations

import functools
import re
from typing import Final

import msgspec


class Family(msgspec.Struct, frozen=True):
    """What may be sent to a model."""

    budget: bool = True
    """thinking: enabled with budget_tokens."""
    adaptive: bool = False
    """thinking: adaptive, with output_config.effort."""
    efforts: tuple[str, ...] = ()
    """Words of output_config.effort, least first."""
    can_disable: bool = True
    """thinking: disabled is accepted."""
    sampling: bool = True
    """temperature, top_p and top_k are accepted."""
    both_sampling: bool = True
    """temperature and top_p are accepted together."""
    structured: bool = True
    """output_config.format and strict tools."""
    system_turns: bool = False
    """Turns of the role system, right after a user's."""
    signed: bool = True
    """Thinking is accepted only with the vendor's own signature."""


_EFFORTS: Final = ("low", "medium", "high", "max")
_EFFORTS_FINE: Final = ("low", "medium", "high", "xhigh", "max")

OTHER: Final = Family(signed=False)
_ANCIENT: Final = Family(budget=False, structured=False)
_TABLE: Final[tuple[tuple[tuple[int, int], Family], ...]] = (
    ((4, 7), Family(False, True, _EFFORTS_FINE, sampling=False, both_sampling=False)),
    ((4, 6), Family(True, True, _EFFORTS, both_sampling=False)),
    ((4, 5), Family(both_sampling=False)),
    ((4, 1), Family(both_sampling=False, structured=False)),
    ((3, 7), Family(structured=False)),
)
"""(version from which it holds, what holds), newest first."""

_SYSTEM_TURNS: Final = {"opus": (4, 8), "fable": (5, 0), "mythos": (5, 0)}
_ALWAYS_THINKING: Final = ("fable", "mythos")
_NAME: Final = re.compile(r"claude-(?:([a-z]+)-)?(\d{1,2})(?:[-.](\d{1,2}))?(?!\d)(?:-([a-z]+))?")


@functools.lru_cache(1024)
def family_of(model: str) -> Family:
    """The family of a model by its name at any vendor ("us.anthropic.claude-sonnet-4-5-20250929-v1:0")."""
    found = _NAME.search(model.lower())
    if found is None:
        return OTHER if "claude" not in model.lower() else Family()
    name = found[1] or found[4] or ""
    version = (int(found[2]), int(found[3] or 0))
    family = next((row for since, row in _TABLE if version >= since), _ANCIENT)
    since = _SYSTEM_TURNS.get(name)
    if since is not None and version >= since:
        family = msgspec.structs.replace(family, system_turns=True, can_disable=name not in _ALWAYS_THINKING)
    return family
