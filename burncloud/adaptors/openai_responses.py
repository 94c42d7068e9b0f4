"""OpenAI Responses.

Usage stands in `usage` of the plain answer and in `response.usage` of the event that ends a stream
(response.completed, .incomplete, .failed).  `input_tokens` includes cached and cache-written input,
`output_tokens` includes reasoning.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from burncloud.adaptors.openai_chat import CacheCreation, Details, disjoint
from burncloud.adaptors.reading import Count, Reader, Tally, text_size, whole
from burncloud.domain.usage import Usage

PATHS: Final = ("usage", "response.usage")

_NONE: Final = Details()


class ResponsesUsage(msgspec.Struct, gc=False):
    """The usage object; images and audio use it, too, with a misspelt name for the details."""

    input_tokens: Count = None
    output_tokens: Count = None
    total_tokens: Count = None
    input_tokens_details: Details | None = None
    input_token_details: Details | None = None
    output_tokens_details: Details | None = None
    output_token_details: Details | None = None
    cache_creation: CacheCreation | None = None
    """Anthropic's split of written cache, as our own translations tell it."""


def usage_of(usage: ResponsesUsage) -> Usage | None:
    """Disjoint kinds; None if the object states no count."""
    if usage.input_tokens is None and usage.output_tokens is None:
        return None
    inner = usage.input_tokens_details or usage.input_token_details or _NONE
    outer = usage.output_tokens_details or usage.output_token_details or _NONE
    return disjoint(
        whole(usage.input_tokens),
        whole(usage.output_tokens),
        whole(usage.total_tokens),
        whole(inner.cached_tokens),
        whole(inner.cache_write_tokens),
        0 if usage.cache_creation is None else whole(usage.cache_creation.ephemeral_1h_input_tokens),
        whole(inner.audio_tokens),
        whole(inner.image_tokens),
        whole(outer.reasoning_tokens),
        whole(outer.audio_tokens),
        whole(outer.image_tokens),
    )


class Reason(msgspec.Struct, gc=False):
    """incomplete_details."""

    reason: str | None = None


class Body(msgspec.Struct, gc=False):
    """A plain answer, or the response inside an event."""

    status: str | None = None
    usage: ResponsesUsage | None = None
    incomplete_details: Reason | None = None
    error: Any = None


class Item(msgspec.Struct, gc=False):
    """The item of an output_item event."""

    type: str | None = None


class Chunk(msgspec.Struct, gc=False):
    """An event; `delta` is text in all deltas that carry text."""

    type: str | None = None
    delta: str | None = None
    response: Body | None = None
    item: Item | None = None
    error: Any = None


TERMINAL: Final = frozenset({"response.completed", "response.incomplete", "response.failed", "response.done"})
NOT_CONTENT: Final = frozenset({
    "response.created", "response.queued", "response.in_progress", "response.output_item.added",
    "response.content_part.added", "response.reasoning_summary_part.added", "keepalive", "ping",
})  # fmt: skip
"""Events before the first word; output_item.added counts as content where the item is more than an empty shell."""
_SHELLS: Final = frozenset({"message", "reasoning", None})


def absorb_chunk(chunk: Chunk, tally: Tally) -> None:
    """Add one event of a stream."""
    kind = chunk.type
    if kind is None:
        if chunk.error:
            tally.error = True
        return
    if chunk.delta is not None:
        tally.content = True
        tally.text_bytes += text_size(chunk.delta)
        return
    if kind in TERMINAL:
        tally.terminal = tally.content = True
        if chunk.response is not None:
            _absorb(chunk.response, tally)
        elif not tally.finish:
            tally.finish = kind.removeprefix("response.")
        if kind == "response.failed":
            tally.error = True
    elif kind == "error":
        tally.error = True
    elif kind not in NOT_CONTENT or (chunk.item is not None and chunk.item.type not in _SHELLS):
        tally.content = True


def _absorb(body: Body, tally: Tally) -> None:
    if body.status:
        tally.finish = body.status
        if body.status == "incomplete" and body.incomplete_details is not None and body.incomplete_details.reason:
            tally.finish = f"incomplete:{body.incomplete_details.reason}"
    if body.error:
        tally.error = True
    if body.usage is not None:
        tally.usage = usage_of(body.usage)


def absorb_body(body: Body, tally: Tally) -> None:
    """Add a plain answer."""
    tally.terminal = tally.content = True
    _absorb(body, tally)


READER: Final = Reader(
    Chunk, absorb_chunk, Body, absorb_body, frozenset({"usage", "error", "status", "incomplete_details"})
)
