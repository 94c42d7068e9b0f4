"""The meter beside an AWS event stream: the same readings as meter.py gives, of frames instead of server-sent events.

Every frame is looked at as it passes: what it says is known at once, and nothing is held but a frame in progress.
"""

from __future__ import annotations

from typing import Final

from burncloud.adaptors.canon import Unreadable
from burncloud.adaptors.converse.invoke import event_of
from burncloud.adaptors.dialects import reader_of
from burncloud.adaptors.estimate import output_tokens
from burncloud.adaptors.eventstream import Decoder, Frame
from burncloud.adaptors.reading import Reading, Tally

EVENT_STREAM: Final = "application/vnd.amazon.eventstream"


class FrameMeter:
    """feed() every piece of the de-chunked answer, then finish() once.

    `endpoint`: "converse" or "invoke" (the payloads hold Anthropic's events), of the dialect "bedrock".
    """

    __slots__ = ("_broken", "_frames", "_reader", "_tally")

    def __init__(self, endpoint: str) -> None:
        self._reader = reader_of("bedrock", endpoint)
        self._frames = Decoder()
        self._tally = Tally()
        self._broken = False

    def feed(self, data: bytes) -> None:
        """Read the frames that these bytes complete."""
        if self._broken:
            return
        try:
            for frame in self._frames.feed(data):
                self._read(frame)
        except Unreadable:
            self._broken = True

    def _read(self, frame: Frame) -> None:
        if frame.headers.get(":message-type", "event") != "event":
            self._tally.error = True
            return
        kind = frame.headers.get(":event-type")
        if kind == "chunk":
            self._reader.event(event_of(frame), self._tally)
        elif type(kind) is str and kind.isalpha():
            self._reader.event(b'{"%b":%b}' % (kind.encode(), frame.payload), self._tally)

    def finish(self) -> Reading:
        """What was seen."""
        tally = self._tally
        estimate = output_tokens(tally.text_bytes) if tally.usage is None or not tally.terminal else 0
        return Reading(tally.usage, tally.terminal, tally.finish, tally.error, estimate)
