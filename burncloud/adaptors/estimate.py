"""Token counts where nobody counted (skeleton)."""

from __future__ import annotations


def prompt_tokens(body: bytes) -> int:
    """For the reserve: rarely below the truth."""
    raise NotImplementedError


def prompt_tokens_billed(body: bytes) -> int:
    """For a bill without usage from the upstream: the likeliest figure."""
    raise NotImplementedError


def output_tokens(text_bytes: int) -> int:
    """Tokens of delivered text of this many UTF-8 bytes."""
    raise NotImplementedError
