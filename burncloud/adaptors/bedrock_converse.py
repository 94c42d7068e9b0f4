"""Bedrock Converse and ConverseStream.

Usage stands in `usage` of the plain answer and of the stream's last event, metadata.  `inputTokens` excludes cache
reads and writes; `outputTokens` includes thinking; `cacheDetails` splits what was written by lifetime.  A stream is
read as the payloads of its frames, each with its event type around it: {"messageStop": {"stopReason": "end_turn"}}.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from burncloud.adaptors.reading import Count, Reader, Tally, text_size, whole
from burncloud.domain.usage import Usage

PATHS: Final = ("usage", "metadata.usage")


class CacheDetail(msgspec.Struct, gc=False):
    """Tokens written to the cache for a lifetime."""

    ttl: str | None = None
    inputTokens: Count = None


class ConverseUsage(msgspec.Struct, gc=False):
    """The usage object; some models say the cache's counts under an older name."""

    inputTokens: Count = None
    outputTokens: Count = None
    totalTokens: Count = None
    cacheReadInputTokens: Count = None
    cacheWriteInputTokens: Count = None
    cacheReadInputTokenCount: Count = None
    cacheWriteInputTokenCount: Count = None
    cacheDetails: list[CacheDetail] | None = None


def usage_of(stated: ConverseUsage) -> Usage | None:
    """Disjoint kinds; None if there is no count at all."""
    if stated.inputTokens is None and stated.outputTokens is None:
        return None
    read = stated.cacheReadInputTokens
    written = stated.cacheWriteInputTokens
    details = stated.cacheDetails or ()
    long = sum(whole(part.inputTokens) for part in details if part.ttl == "1h")
    short = sum(whole(part.inputTokens) for part in details if part.ttl != "1h")
    total = whole(stated.cacheWriteInputTokenCount if written is None else written)
    if written is None and total == 0:
        total = long + short
    long = min(long, total)
    return Usage(
        whole(stated.inputTokens),
        whole(stated.outputTokens),
        whole(stated.cacheReadInputTokenCount if read is None else read),
        total - long,
        long,
    )


class Reasoning(msgspec.Struct, gc=False):
    """Thinking in a delta."""

    text: str | None = None


class ToolInput(msgspec.Struct, gc=False):
    """A piece of a call's arguments."""

    input: str | None = None


class Delta(msgspec.Struct, gc=False):
    """delta of contentBlockDelta."""

    text: str | None = None
    reasoningContent: Reasoning | None = None
    toolUse: ToolInput | None = None


class BlockDelta(msgspec.Struct, gc=False):
    """contentBlockDelta."""

    delta: Delta | None = None


class Stop(msgspec.Struct, gc=False):
    """messageStop."""

    stopReason: str | None = None


class Metadata(msgspec.Struct, gc=False):
    """metadata."""

    usage: ConverseUsage | None = None


class Chunk(msgspec.Struct, gc=False):
    """An event, under its type."""

    contentBlockDelta: BlockDelta | None = None
    contentBlockStart: Any = None
    messageStop: Stop | None = None
    metadata: Metadata | None = None
    error: Any = None


class Body(msgspec.Struct, gc=False):
    """A plain answer."""

    usage: ConverseUsage | None = None
    stopReason: str | None = None
    error: Any = None


def absorb_chunk(chunk: Chunk, tally: Tally) -> None:
    """Add one event of a stream."""
    if chunk.contentBlockDelta is not None:
        tally.content = True
        delta = chunk.contentBlockDelta.delta
        if delta is not None:
            thought, call = delta.reasoningContent, delta.toolUse
            tally.text_bytes += text_size(delta.text)
            tally.text_bytes += text_size(None if thought is None else thought.text)
            tally.text_bytes += text_size(None if call is None else call.input)
    elif chunk.contentBlockStart is not None:
        tally.content = True
    elif chunk.messageStop is not None:
        tally.content = True
        tally.finish = chunk.messageStop.stopReason or tally.finish
    elif chunk.metadata is not None:
        tally.terminal = tally.content = True
        if chunk.metadata.usage is not None:
            tally.usage = usage_of(chunk.metadata.usage)
    elif chunk.error is not None:
        tally.error = True


def absorb_body(body: Body, tally: Tally) -> None:
    """Add a plain answer."""
    tally.terminal = tally.content = True
    if body.error:
        tally.error = True
    if body.stopReason:
        tally.finish = body.stopReason
    if body.usage is not None:
        tally.usage = usage_of(body.usage)


READER: Final = Reader(Chunk, absorb_chunk, Body, absorb_body, frozenset({"usage", "stopReason", "error"}))
