"""What an exchange used, in kinds that never overlap.

Providers count in their own ways (cached input inside input or beside it, reasoning inside
output or beside it); the adaptors turn each into these disjoint kinds, so that pricing can
multiply and add without ever charging a token twice.
"""

from __future__ import annotations

from typing import Final

import msgspec


class Usage(msgspec.Struct, array_like=True, gc=False):
    """Token counts by kind, all disjoint, all ≥ 0."""

    input: int = 0
    """Uncached text (and other unpriced-apart) input tokens."""
    output: int = 0
    """Visible output tokens: without reasoning, audio and image output."""
    cache_read: int = 0
    cache_write: int = 0
    """Written to a prompt cache with the provider's shortest lifetime (Anthropic: 5 minutes)."""
    cache_write_1h: int = 0
    reasoning: int = 0
    audio_input: int = 0
    audio_output: int = 0
    image_input: int = 0
    image_output: int = 0

    def total(self) -> int:
        """All tokens of all kinds."""
        return sum(msgspec.structs.astuple(self))


KINDS: Final[tuple[str, ...]] = Usage.__struct_fields__
"""The kinds in their one order: that of Usage, of Price and of the ledger's columns."""
