"""A stream of server-sent events, cut into the data of each, however its bytes were cut on their way."""

from __future__ import annotations

from typing import Final

from burncloud.adaptors.canon import Unreadable
from burncloud.adaptors.events import BOM, payloads, unify

EVENT_BYTES_MAX: Final = 16 << 20
"""A longer event is no event: an upstream that never ends a line must not fill the memory."""


class Splitter:
    """feed() bytes, get the data of every event that they complete; finish() at the end of the stream."""

    __slots__ = ("_after_cr", "_fresh", "_held")

    def __init__(self) -> None:
        self._held = bytearray()
        self._after_cr = False
        self._fresh = True

    def feed(self, data: bytes) -> list[bytes]:
        """The data of the events that end in these bytes, in order; Unreadable if one grows without end."""
        if not self._held and data[-2:] == b"\n\n" and not self._fresh and not self._after_cr and b"\r" not in data:
            return payloads(data)
        return self._slowly(data)

    def finish(self) -> list[bytes]:
        """The data of a last event that lacks its empty line (several servers leave it out)."""
        left = bytes(self._held)
        self._held.clear()
        return payloads(left.strip(b"\n"))

    def _slowly(self, data: bytes) -> list[bytes]:
        if self._after_cr and data:
            self._after_cr = False
            if data[0] == 0x0A:  # the second half of a CR LF whose CR was an end of line already
                data = data[1:]
        if data[-1:] == b"\r":
            self._after_cr = True
        held = self._held
        searched = max(0, len(held) - 1)
        held += unify(data)
        if self._fresh:
            if BOM.startswith(held):
                if len(held) == len(BOM):
                    held.clear()
                    self._fresh = False
                return []
            self._fresh = False
            if held.startswith(BOM):
                del held[: len(BOM)]
        end = held.rfind(b"\n\n", searched)
        if end < 0:
            if len(held) > EVENT_BYTES_MAX:
                raise Unreadable("an event of the stream is too long")
            return []
        block = bytes(held[: end + 2])
        del held[: end + 2]
        return payloads(block)
