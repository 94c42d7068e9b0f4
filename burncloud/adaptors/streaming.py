"""What the dialects' readers and writers of streams share: bytes cut into pieces, pieces read, events written.

A dialect's reader says what one piece tells; its writer has a method for each kind of event, and writes deltas, which
are the hot path, by itself.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final, Generic, Protocol, TypeVar

import msgspec

from burncloud.adaptors import canon
from burncloud.adaptors.reading import BAD_JSON
from burncloud.domain.usage import Usage

Piece = TypeVar("Piece")


class Cutter(Protocol[Piece]):
    """Bytes in any portions in, whole pieces of a stream out."""

    def feed(self, data: bytes) -> list[Piece]:
        """The pieces that these bytes complete; Unreadable if one grows without end."""

    def finish(self) -> list[Piece]:
        """A last piece that lacks its end mark."""


class EventReader(Generic[Piece]):
    """feed() the bytes of the stream, or event() one piece of it where another framing carries it."""

    __slots__ = ("_over", "_split", "_started")
    dialect: ClassVar[str]

    def __init__(self, split: Cutter[Piece]) -> None:
        self._split = split
        self._started = False
        self._over = False

    def feed(self, data: bytes) -> list[canon.Event]:
        """The events that these bytes complete; Unreadable if they are not of this dialect."""
        found: list[canon.Event] = []
        for piece in self._split.feed(data):
            self._read(piece, found)
        return found

    def event(self, piece: Piece) -> list[canon.Event]:
        """The same from one whole piece."""
        found: list[canon.Event] = []
        self._read(piece, found)
        return found

    def finish(self) -> list[canon.Event]:
        """What is left at the end of the bytes; no Ended if the stream was cut."""
        found: list[canon.Event] = []
        for piece in self._split.finish():
            try:
                self._read(piece, found)
            except canon.Unreadable:
                break  # a piece that was cut off
        self._at_end(found)
        return found

    def _read(self, piece: Piece, found: list[canon.Event]) -> None:
        """What one piece tells."""
        raise NotImplementedError

    def _at_end(self, found: list[canon.Event]) -> None:
        """What is told when the bytes have ended."""

    def _head(self, found: list[canon.Event]) -> None:
        """A beginning for a stream that came without one."""
        if not self._started:
            self._started = True
            found.append(canon.Started("", "", dialect=self.dialect))


def whole_event(payload: bytes) -> dict[str, Any]:
    """All members of an event; Unreadable if it is no object."""
    try:
        value = msgspec.json.decode(payload)
    except BAD_JSON:
        value = None
    if type(value) is not dict:
        raise canon.Unreadable("the stream holds something that is no event")
    return value


def member_text(value: dict[str, Any], name: str) -> str:
    """A string in an object; "" if it is none."""
    found = value.get(name)
    return found if type(found) is str else ""


class EventWriter:
    """write() canonical events, get the bytes of the dialect's.  `model` is the name to show; "" = the upstream's."""

    __slots__ = ("_losses", "_model", "_usage")

    def __init__(self, model: str, losses: canon.Losses) -> None:
        self._model = model
        self._losses = losses
        self._usage: Usage | None = None

    def write(self, event: canon.Event) -> bytes:
        """The bytes that are due now; b"" where nothing is."""
        raise NotImplementedError

    def _step(self, event: canon.Event) -> bytes:
        """Any event but a Delta."""
        out: bytes = getattr(self, _STEPS[type(event)])(event)
        return out

    def _on_started(self, event: canon.Started) -> bytes:
        raise NotImplementedError

    def _on_opened(self, event: canon.Opened) -> bytes:
        raise NotImplementedError

    def _on_closed(self, event: canon.Closed) -> bytes:
        return b""

    def _on_stopped(self, event: canon.Stopped) -> bytes:
        raise NotImplementedError

    def _on_used(self, event: canon.Used) -> bytes:
        """The usage is told at the end."""
        self._usage = event.usage
        return b""

    def _on_ended(self, event: canon.Ended) -> bytes:
        raise NotImplementedError

    def _on_ping(self, event: canon.Ping) -> bytes:
        """A comment; some dialects have a word for it, or none."""
        return b": ping\n\n"

    def _on_failed(self, event: canon.Failed) -> bytes:
        raise NotImplementedError

    def _on_foreign(self, event: canon.Foreign) -> bytes:
        """Nobody else knows it."""
        if event.lost:
            self._losses.add(str(event.value.get("type") or event.dialect))
        return b""


_STEPS: Final[dict[type, str]] = {
    canon.Started: "_on_started",
    canon.Opened: "_on_opened",
    canon.Closed: "_on_closed",
    canon.Stopped: "_on_stopped",
    canon.Used: "_on_used",
    canon.Ended: "_on_ended",
    canon.Ping: "_on_ping",
    canon.Failed: "_on_failed",
    canon.Foreign: "_on_foreign",
}
