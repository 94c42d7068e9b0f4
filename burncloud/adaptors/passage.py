"""Claude through InvokeModel for a client that speaks Messages: nothing is translated but the framing.

The same face as a Translation (translation.py), so that the way back is the same: a stream is unwrapped, a whole
answer passes as its bytes, and an error, which AWS says in its own shape, is written in Anthropic's.
"""

from __future__ import annotations

from typing import Final

import msgspec

from burncloud.adaptors.canon import Failure, Losses, Unreadable
from burncloud.adaptors.converse.invoke import InvokeStreamReader, Unwrapper
from burncloud.adaptors.encodings import Inflater
from burncloud.adaptors.failures import failure_of
from burncloud.adaptors.framed import EVENT_STREAM
from burncloud.adaptors.meter import first_content
from burncloud.adaptors.spoken import SPOKEN, Dialect
from burncloud.errors import SERVICE_UNAVAILABLE

FRAMES: Final = EVENT_STREAM.encode()
INVOKE: Final[Dialect] = msgspec.structs.replace(
    SPOKEN["messages"],
    family="bedrock",
    endpoint="invoke",
    reader=lambda asked: InvokeStreamReader(),
    stream_type=FRAMES,
)
"""Messages as InvokeModel frames it: what a translation to Claude there reads."""
LOOK_BYTES_MAX: Final = 16 << 10


class Passage:
    """The answer of one attempt; see Translation."""

    __slots__ = (
        "_error", "_inflater", "_look", "_unwrapper", "content", "ended", "failure", "framing", "losses", "upstream",
        "withholds",
    )  # fmt: skip

    def __init__(self) -> None:
        self.upstream = INVOKE
        self.losses = Losses()
        self.framing = ""
        self.content = False
        self.ended = False
        self.failure: Failure | None = None
        self._unwrapper = Unwrapper()
        self._inflater: Inflater | None = None
        self._look = b""
        self._error = b""
        self.withholds = False
        """As in Translation."""

    def encoded(self, encoding: str) -> None:
        """The upstream compressed its answer though it was asked not to."""
        if encoding:
            self._inflater = Inflater(encoding)

    def strip(self, data: bytes) -> bytes:
        """Bytes of the upstream's stream → server-sent events."""
        try:
            events = self._unwrapper.feed(self._plain(data))
        except Unreadable:
            return b""
        if b"event: error\n" in events:
            self.failure = Failure(SERVICE_UNAVAILABLE.status, "The upstream failed")
            if self.withholds:
                at = events.index(b"event: error\n")
                events, self._error = events[:at], events[at:]
        if b"event: message_stop\n" in events:
            self.ended = self.content = True
        if not self.content and events:
            self._look += events
            self.content = (
                len(self._look) > LOOK_BYTES_MAX or first_content(self._look, "anthropic", "messages") == "content"
            )
        return events

    def finish(self) -> bytes:
        """Nothing is held back."""
        return b""

    def cut(self, text: str) -> bytes:
        """The upstream broke off: an error event."""
        if self.ended or (self.failure is not None and not self.withholds):
            return b""
        if self._error:
            return self._error
        failure = self.failure or Failure(SERVICE_UNAVAILABLE.status, text)
        return b"event: error\ndata: %b\n\n" % self.upstream.write_failure(failure)

    def whole(self, body: bytes) -> bytes:
        """A plain answer: as it is."""
        return self._plain(body)

    def collected(self) -> bytes:
        """A stream that nobody asked for."""
        raise Unreadable("the upstream streams although it was not asked to")

    def failed(self, status: int, body: bytes) -> bytes:
        """The body of an error answer, in Anthropic's shape."""
        body = self._plain(body)
        return body if body.startswith(b'{"type":"error"') else self.upstream.write_failure(failure_of(status, body))

    def _plain(self, body: bytes) -> bytes:
        return body if self._inflater is None else self._inflater.feed(body)
