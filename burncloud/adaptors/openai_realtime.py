"""OpenAI Realtime: what a session used, read off its events.

A session is one exchange with many answers.  `response.done` states the usage of each; so does the event that ends
a transcription of the user's speech, where that is billed in tokens (whisper-1's seconds state none).
`input_tokens` includes cached, audio and image input, and the cached tokens are split by the same kinds.
"""

from __future__ import annotations

from operator import add
from typing import Final

import msgspec

from burncloud.adaptors.openai_chat import disjoint
from burncloud.adaptors.reading import TOKENS_MAX, Count, Reader, Reading, Tally, whole
from burncloud.domain.usage import Usage

MESSAGE_BYTES_MAX: Final = 16 << 20
"""A longer message is passed on and not read: those with usage hold no sound."""


class Cached(msgspec.Struct, gc=False):
    """cached_tokens_details: the cached part of each kind."""

    audio_tokens: Count = None
    image_tokens: Count = None


class Details(msgspec.Struct, gc=False):
    """input_token_details or output_token_details."""

    cached_tokens: Count = None
    audio_tokens: Count = None
    image_tokens: Count = None
    reasoning_tokens: Count = None
    cached_tokens_details: Cached | None = None


class RealtimeUsage(msgspec.Struct, gc=False):
    """The usage object; others who speak this API spell the details like the Responses API."""

    input_tokens: Count = None
    output_tokens: Count = None
    total_tokens: Count = None
    input_token_details: Details | None = None
    output_token_details: Details | None = None
    input_tokens_details: Details | None = None
    output_tokens_details: Details | None = None


class Response(msgspec.Struct, gc=False):
    """The response inside an event."""

    usage: RealtimeUsage | None = None


class Event(msgspec.Struct, gc=False):
    """A server's event."""

    type: str | None = None
    response: Response | None = None
    usage: RealtimeUsage | None = None


_NONE: Final = Details()
_NONE_CACHED: Final = Cached()
TRANSCRIBED: Final = "conversation.item.input_audio_transcription.completed"


def usage_of(usage: RealtimeUsage) -> Usage | None:
    """Disjoint kinds; None if the object states no count."""
    if usage.input_tokens is None and usage.output_tokens is None:
        return None
    inner = usage.input_token_details or usage.input_tokens_details or _NONE
    outer = usage.output_token_details or usage.output_tokens_details or _NONE
    cached = inner.cached_tokens_details or _NONE_CACHED
    return disjoint(
        whole(usage.input_tokens),
        whole(usage.output_tokens),
        whole(usage.total_tokens),
        cached=whole(inner.cached_tokens),
        audio_input=max(0, whole(inner.audio_tokens) - whole(cached.audio_tokens)),
        image_input=max(0, whole(inner.image_tokens) - whole(cached.image_tokens)),
        reasoning=whole(outer.reasoning_tokens),
        audio_output=whole(outer.audio_tokens),
        image_output=whole(outer.image_tokens),
    )


def absorb(event: Event, tally: Tally) -> None:
    """The usage of one event."""
    if event.type == "response.done":
        stated = event.response.usage if event.response is not None else None
    else:
        stated = event.usage if event.type == TRANSCRIBED else None
    if stated is not None:
        tally.usage = usage_of(stated)


READER: Final = Reader(Event, absorb, Event, absorb, frozenset({"usage"}))


class RealtimeMeter:
    """The sum of a session."""

    __slots__ = ("usage",)

    def __init__(self) -> None:
        self.usage = Usage()
        """Never changed in place: records of the journal hold it."""

    def feed(self, message: bytes) -> bool:
        """A message of the upstream; True if it brought usage."""
        if b'"usage"' not in message:
            return False
        tally = Tally()
        READER.event(message, tally)
        if tally.usage is None or not tally.usage.total():
            return False
        sums = map(add, msgspec.structs.astuple(self.usage), msgspec.structs.astuple(tally.usage))
        self.usage = Usage(*(min(count, TOKENS_MAX) for count in sums))
        return True

    def reading(self) -> Reading:
        """What a receipt says of it."""
        return Reading(self.usage, True, "", False, 0)
