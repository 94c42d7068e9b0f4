"""Anthropic Messages.

Usage stands in `usage` of the plain answer; in a stream in `message.usage` of message_start, then
overridden, field by field, by `usage` of each message_delta.  `input_tokens` excludes cache reads and
writes; `output_tokens` includes thinking.  `cache_creation` splits what was written by lifetime; only
message_start carries the split.  With server-side compaction the top-level numbers leave the compaction
passes out; `usage.iterations` lists them, and they are billed, too (Anthropic docs, "Compaction").
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from burncloud.adaptors.openai_chat import CacheCreation
from burncloud.adaptors.reading import Count, Reader, Tally, text_size, whole
from burncloud.domain.usage import Usage

PATHS: Final = ("usage", "message.usage")


class OutputDetails(msgspec.Struct, gc=False):
    """output_tokens_details."""

    thinking_tokens: Count = None


class Iteration(msgspec.Struct, gc=False):
    """One sampling pass of a request that took several."""

    type: str | None = None
    input_tokens: Count = None
    output_tokens: Count = None
    cache_read_input_tokens: Count = None
    cache_creation_input_tokens: Count = None


class MessagesUsage(msgspec.Struct, gc=False):
    """The usage object; in message_delta most of it is absent."""

    input_tokens: Count = None
    output_tokens: Count = None
    cache_read_input_tokens: Count = None
    cache_creation_input_tokens: Count = None
    cache_creation: CacheCreation | None = None
    output_tokens_details: OutputDetails | None = None
    iterations: list[Iteration] | None = None


def usage_of(stated: MessagesUsage, earlier: Usage | None = None) -> Usage | None:
    """Disjoint kinds; what `stated` leaves out stays as in `earlier`.  None if there is no count at all."""
    if stated.input_tokens is None and stated.output_tokens is None and earlier is None:
        return None
    usage = Usage() if earlier is None else earlier
    if stated.input_tokens is not None:
        usage.input = whole(stated.input_tokens)
    if stated.cache_read_input_tokens is not None:
        usage.cache_read = whole(stated.cache_read_input_tokens)
    split = stated.cache_creation
    written = stated.cache_creation_input_tokens
    if split is not None:
        usage.cache_write_1h = whole(split.ephemeral_1h_input_tokens)
        usage.cache_write = whole(split.ephemeral_5m_input_tokens)
    if written is not None:
        usage.cache_write_1h = min(usage.cache_write_1h, whole(written))
        usage.cache_write = whole(written) - usage.cache_write_1h
    if stated.output_tokens is not None:
        details = stated.output_tokens_details
        output = whole(stated.output_tokens)
        usage.reasoning = min(whole(details.thinking_tokens), output) if details is not None else 0
        usage.output = output - usage.reasoning
    for part in stated.iterations or ():
        if part.type == "compaction":
            usage.input += whole(part.input_tokens)
            usage.output += whole(part.output_tokens)
            usage.cache_read += whole(part.cache_read_input_tokens)
            usage.cache_write += whole(part.cache_creation_input_tokens)
    return usage


class Delta(msgspec.Struct, gc=False):
    """delta of content_block_delta and of message_delta."""

    text: str | None = None
    thinking: str | None = None
    partial_json: str | None = None
    stop_reason: str | None = None


class Block(msgspec.Struct, gc=False):
    """content_block of content_block_start."""

    type: str | None = None
    text: str | None = None
    thinking: str | None = None


class Body(msgspec.Struct, gc=False):
    """A plain answer, or the message inside message_start."""

    type: str | None = None
    usage: MessagesUsage | None = None
    stop_reason: str | None = None
    error: Any = None


class Chunk(msgspec.Struct, gc=False):
    """An event."""

    type: str | None = None
    delta: Delta | None = None
    content_block: Block | None = None
    message: Body | None = None
    usage: MessagesUsage | None = None
    error: Any = None


_SHELLS: Final = frozenset({"text", "thinking"})


def absorb_chunk(chunk: Chunk, tally: Tally) -> None:
    """Add one event of a stream."""
    kind, delta = chunk.type, chunk.delta
    if kind == "content_block_delta":
        tally.content = True
        if delta is not None:
            tally.text_bytes += text_size(delta.text or delta.thinking or delta.partial_json)
    elif kind == "content_block_start":
        block = chunk.content_block
        if block is not None and (block.type not in _SHELLS or block.text or block.thinking):
            tally.content = True
            tally.text_bytes += text_size(block.text or block.thinking)
    elif kind == "message_delta":
        if delta is not None and delta.stop_reason:
            tally.finish = delta.stop_reason
            tally.content = True
        if chunk.usage is not None:
            tally.usage = usage_of(chunk.usage, tally.usage)
    elif kind == "message_start":
        if chunk.message is not None and chunk.message.usage is not None:
            tally.usage = usage_of(chunk.message.usage)
    elif kind == "message_stop":
        tally.terminal = tally.content = True
    elif kind == "error" or chunk.error:
        tally.error = True


def absorb_body(body: Body, tally: Tally) -> None:
    """Add a plain answer (count_tokens answers `input_tokens` alone, which is no usage)."""
    tally.terminal = tally.content = True
    if body.error or body.type == "error":
        tally.error = True
    if body.stop_reason:
        tally.finish = body.stop_reason
    if body.usage is not None:
        tally.usage = usage_of(body.usage)


READER: Final = Reader(
    Chunk, absorb_chunk, Body, absorb_body, frozenset({"type", "usage", "stop_reason", "error"}), head_usage=True
)
