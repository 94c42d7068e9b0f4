"""The stage of a dialogue (tests/dialogue.py): a loop, a clock and transports that only move when told to."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable
from typing import Any, Final

START_S: Final = 1000.0


class Loop:
    """An event loop that only moves when told to, with its own clock (seconds)."""

    def __init__(self) -> None:
        self.now = START_S
        self._ready: list[Callable[[], object]] = []
        self._later: list[tuple[float, int, Timer]] = []
        self._count = itertools.count()

    def time(self) -> float:
        """Loop time."""
        return self.now

    def call_soon(self, call: Callable[..., object], *args: Any) -> None:
        """At the next tick."""
        self._ready.append(lambda: call(*args))

    call_soon_threadsafe = call_soon

    def call_later(self, delay_s: float, call: Callable[..., object], *args: Any) -> Timer:
        """When the clock has moved on."""
        timer = Timer(lambda: call(*args))
        heapq.heappush(self._later, (self.now + delay_s, next(self._count), timer))
        return timer

    def run_in_executor(self, executor: None, call: Callable[..., object], *args: Any) -> Done:
        """At once: there are no threads here."""
        return Done(call, args)

    def tick(self) -> None:
        """Run what is ready, and what that makes ready."""
        for _ in range(1000):
            ready, self._ready = self._ready, []
            if not ready:
                return
            for call in ready:
                call()
        raise AssertionError("the loop never gets idle")

    def advance(self, seconds: float) -> None:
        """Let time pass, timer by timer."""
        until = self.now + seconds
        self.tick()
        while self._later and self._later[0][0] <= until:
            self.now, _, timer = heapq.heappop(self._later)
            if not timer.cancelled:
                timer.call()
            self.tick()
        self.now = until


class Timer:
    """A handle of `call_later`."""

    def __init__(self, call: Callable[[], object]) -> None:
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        """Not any more."""
        self.cancelled = True


class Done:
    """A future that was done before anybody asked."""

    def __init__(self, call: Callable[..., object], args: tuple[Any, ...]) -> None:
        self._result: Any = None
        self._error: BaseException | None = None
        try:
            self._result = call(*args)
        except OSError as error:
            self._error = error

    def add_done_callback(self, call: Callable[[Any], object]) -> None:
        """Call it now."""
        call(self)

    def cancelled(self) -> bool:
        """Never."""
        return False

    def exception(self) -> BaseException | None:
        """What went wrong."""
        return self._error

    def result(self) -> Any:
        """What came out."""
        if self._error is not None:
            raise self._error
        return self._result


class Transport:
    """The worker's end of a connection: keeps what is written, and tells the protocol of room and of the end."""

    def __init__(self, loop: Loop, events: list[tuple[str, bytes]], side: str, protocol: Any, peer: str) -> None:
        self._loop = loop
        self._events = events
        self._side = side
        self._peer = peer
        self.protocol = protocol
        self.sent = bytearray()
        self.unsent = 0
        """Bytes that the other side does not take while it is `slow`."""
        self.slow = False
        self.reading = True
        self.closing = False
        self.aborted = False
        self.half_closed = False
        self.lost = False
        self._high, self._low = 64 << 10, 16 << 10
        self._paused = False

    def write(self, data: bytes) -> None:
        """Bytes from the worker."""
        if self.lost or self.aborted:
            return
        assert not self.closing, f"{self._side}: written after close(): {bytes(data)[:80]!r}"
        assert not self.half_closed, f"{self._side}: written after write_eof()"
        if data:
            self._events.append((self._side, bytes(data)))
            self.sent += data
        if self.slow:
            self.unsent += len(data)
            if self.unsent > self._high and not self._paused:
                self._paused = True
                self.protocol.pause_writing()

    def writelines(self, parts: Iterable[bytes]) -> None:
        """Several at once."""
        self.write(b"".join(parts))

    def take(self, count: int) -> None:
        """The other side has read this many of the unsent bytes."""
        self.unsent = max(0, self.unsent - count)
        if self._paused and self.unsent <= self._low:
            self._paused = False
            self.protocol.resume_writing()
        if self.closing and not self.unsent:
            self._loop.call_soon(self.lose, None)

    def close(self) -> None:
        """Close once everything is sent."""
        if not self.closing:
            self.closing = True
            if not self.unsent:
                self._loop.call_soon(self.lose, None)

    def abort(self) -> None:
        """Close now."""
        self.closing = self.aborted = True
        self.unsent = 0
        self._loop.call_soon(self.lose, None)

    def lose(self, error: Exception | None) -> None:
        """The connection is gone."""
        if not self.lost:
            self.lost = self.closing = True
            self.protocol.connection_lost(error)

    def write_eof(self) -> None:
        """Send FIN, read on."""
        self.half_closed = True

    def can_write_eof(self) -> bool:
        """Sockets can."""
        return True

    def get_write_buffer_size(self) -> int:
        """What the other side has not taken."""
        return self.unsent

    def set_write_buffer_limits(self, high: int, low: int | None = None) -> None:
        """Marks for pause_writing and resume_writing."""
        self._high, self._low = high, high // 4 if low is None else low

    def get_extra_info(self, name: str) -> Any:
        """Only the peer's address is known."""
        return (self._peer, 4711) if name == "peername" else None

    def is_closing(self) -> bool:
        """Whether close() or abort() was called."""
        return self.closing

    def pause_reading(self) -> None:
        """The other side is not heard."""
        self.reading = False

    def resume_reading(self) -> None:
        """It is heard again."""
        self.reading = True
