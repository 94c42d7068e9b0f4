"""Claude's own stream in InvokeModelWithResponseStream: each frame holds one of Anthropic's events in Base64.

So a Messages client can be served by Bedrock with nothing translated but the framing, and a stream of InvokeModel can
be read into the canonical form by the Messages reader.  The request is Anthropic's, too, but for three members.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from typing import Final

import msgspec

from burncloud.adaptors import canon
from burncloud.adaptors.converse.stream import failure_of_frame
from burncloud.adaptors.eventstream import Decoder, Frame, framed, write_headers
from burncloud.adaptors.messages.answer import write_failure
from burncloud.adaptors.messages.stream import StreamReader, StreamWriter
from burncloud.adaptors.reading import BAD_JSON
from burncloud.adaptors.splitter import Splitter
from burncloud.errors import INVALID_REQUEST, Refusal

VERSION: Final = "bedrock-2023-05-31"
"""anthropic_version in the body: the only one there is (AWS docs, "Anthropic Claude Messages API")."""


class _Chunk(msgspec.Struct, gc=False):
    bytes: str = ""


_decode: Final = msgspec.json.Decoder(_Chunk).decode
_TYPE: Final = re.compile(rb'"type"\s*:\s*"([a-z_]{1,40})"')


def event_of(frame: Frame) -> bytes:
    """The data of the event in a frame; b"" if it holds none; Unreadable if it is no such frame."""
    try:
        return base64.b64decode(_decode(frame.payload).bytes)
    except BAD_JSON:
        raise canon.Unreadable("the stream holds something that is no event") from None


class InvokeStreamReader:
    """Wire bytes of a stream in, canonical events out."""

    __slots__ = ("_frames", "_inner", "_over")

    def __init__(self) -> None:
        self._frames = Decoder()
        self._inner = StreamReader()
        self._over = False

    def feed(self, data: bytes) -> list[canon.Event]:
        """The events that these bytes complete; Unreadable if they are not of this dialect."""
        found: list[canon.Event] = []
        for frame in self._frames.feed(data):
            if self._over:
                break
            failure = failure_of_frame(frame)
            if failure is not None:
                self._over = True
                found.append(canon.Failed(failure))
                break
            event = event_of(frame)
            if event:
                found += self._inner.event(event)
        return found

    def finish(self) -> list[canon.Event]:
        """What is left at the end of the bytes."""
        return [] if self._over else self._inner.finish()


class InvokeStreamWriter:
    """Canonical events in, frames out."""

    __slots__ = ("_inner", "_split")

    def __init__(self, model: str, include_usage: bool, losses: canon.Losses) -> None:
        self._inner = StreamWriter(model, include_usage, losses)
        self._split = Splitter()

    def write(self, event: canon.Event) -> bytes:
        """The bytes that are due now; b"" where nothing is."""
        return wrapped(self._split.feed(self._inner.write(event)))


class Unwrapper:
    """feed() frames, get the same events as Anthropic streams them (server-sent events)."""

    __slots__ = ("_frames",)

    def __init__(self) -> None:
        self._frames = Decoder()

    def feed(self, data: bytes) -> bytes:
        """The events that these bytes complete; Unreadable if they are not of this dialect."""
        return b"".join([_sse(frame) for frame in self._frames.feed(data)])


def _sse(frame: Frame) -> bytes:
    failure = failure_of_frame(frame)
    if failure is not None:
        return b"event: error\ndata: %b\n\n" % write_failure(failure)
    event = event_of(frame)
    if not event:
        return b""
    kind = _TYPE.search(event)
    return b"event: %b\ndata: %b\n\n" % (b"message" if kind is None else kind[1], event)


_HEAD: Final = write_headers({
    ":event-type": "chunk", ":content-type": "application/json", ":message-type": "event",
})  # fmt: skip


def wrapped(events: Iterable[bytes]) -> bytes:
    """The data of events, in frames."""
    return b"".join([framed(_HEAD, b'{"bytes":"%b"}' % base64.b64encode(event)) for event in events])


_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def invoke_body(body: bytes, betas: Iterable[str] = ()) -> bytes:
    """A Messages request as InvokeModel takes it: model and stream stand in the path, version and betas in the body.

    `betas`: the names in the header anthropic-beta.  Every other member keeps its bytes.
    """
    try:
        members = _members(body)
    except BAD_JSON:
        raise Refusal(INVALID_REQUEST, "the request body is not a JSON object") from None
    for name in ("model", "stream"):
        members.pop(name, None)
    members.setdefault("anthropic_version", msgspec.Raw(msgspec.json.encode(VERSION)))
    names = [name.strip() for name in betas if name.strip()]
    if names:
        members.setdefault("anthropic_beta", msgspec.Raw(msgspec.json.encode(names)))
    return msgspec.json.encode(members)
