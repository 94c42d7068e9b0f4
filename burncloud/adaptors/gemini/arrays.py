"""How Gemini streams: server-sent events, or, where nobody asks for alt=sse, the elements of a JSON array."""

from __future__ import annotations

import re
from typing import Final

from burncloud.adaptors.canon import Unreadable
from burncloud.adaptors.splitter import EVENT_BYTES_MAX, Splitter

_PLAIN: Final = re.compile(rb'["{}]')
_IN_STRING: Final = re.compile(rb'["\\]')


class Elements:
    """feed() bytes, get every object that they complete, however many arrays or commas stand around them."""

    __slots__ = ("_at", "_depth", "_held", "_in_string", "_start")

    def __init__(self) -> None:
        self._held = bytearray()
        self._at = 0
        """Up to here `_held` is read."""
        self._start = -1
        """Where the open object begins; −1 = there is none."""
        self._depth = 0
        self._in_string = False

    def feed(self, data: bytes) -> list[bytes]:
        """The objects that end in these bytes; Unreadable if one grows without end."""
        held = self._held
        held += data
        found: list[bytes] = []
        while True:
            match = (_IN_STRING if self._in_string else _PLAIN).search(held, self._at)
            if match is None:
                self._at = len(held)
                break
            mark, self._at = held[match.start()], match.end()
            if mark == 0x5C:  # a backslash: the next byte means nothing
                if self._at == len(held):
                    self._at -= 1
                    break
                self._at += 1
            elif mark == 0x22:
                self._in_string = not self._in_string
            elif mark == 0x7B:
                if not self._depth:
                    self._start = match.start()
                self._depth += 1
            elif self._depth:
                self._depth -= 1
                if not self._depth:
                    found.append(bytes(held[self._start : self._at]))
                    self._start = -1
        self._forget()
        return found

    def finish(self) -> list[bytes]:
        """An object that is not complete is none."""
        return []

    def _forget(self) -> None:
        """Let go of what is read and needed no more."""
        keep = self._start if self._start >= 0 else self._at
        if keep:
            del self._held[:keep]
            self._at -= keep
            self._start = 0 if self._start >= 0 else -1
        if len(self._held) > EVENT_BYTES_MAX:
            raise Unreadable("a chunk of the stream is too long")


class EventsOrArray:
    """feed() bytes, get the data of events or the elements of an array, as the first byte tells."""

    __slots__ = ("_inner",)

    def __init__(self) -> None:
        self._inner: Splitter | Elements | None = None

    def feed(self, data: bytes) -> list[bytes]:
        """The pieces that these bytes complete; Unreadable if one grows without end."""
        inner = self._inner
        if inner is None:
            first = data.lstrip()[:1]
            if not first:
                return []
            inner = self._inner = Elements() if first in (b"[", b"{") else Splitter()
        return inner.feed(data)

    def finish(self) -> list[bytes]:
        """A last event that lacks its empty line."""
        return [] if self._inner is None else self._inner.finish()
