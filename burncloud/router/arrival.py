"""The body of a request on its way in: room before it is read, limits while it comes, a look at what it says.

A body takes its length from a budget of the worker before any byte of it is read; who does not fit waits in
order.  What is large goes to a spool file and is read for routing slice by slice as it comes, one read of the
connection and one slice a turn of the loop: left alone, the loop would take up to 32 reads of 256 KiB at once
(DATAPLANE.md rule 8).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from burncloud.adaptors.multipart import Form, boundary
from burncloud.adaptors.peek import SlicedPeek
from burncloud.config import Settings
from burncloud.errors import REQUEST_TOO_LARGE, SERVICE_UNAVAILABLE, Refusal
from burncloud.router.exchange import ARRIVING, Exchange
from burncloud.router.translate import SEALED
from burncloud.wire.body import SPOOL_FROM, Body, Budget

SMALL_BODY_BYTES: Final = 64 << 10
RELAYED_BYTES_MAX: Final = 8 << 20
"""Longest body of a management request."""
SLICE_BYTES: Final = 128 << 10
"""So much of a large body is read for routing in one turn of the loop."""


class Arrivals:
    """The bodies of all requests of a worker."""

    def __init__(
        self,
        settings: Settings,
        loop: asyncio.AbstractEventLoop,
        refuse: Callable[[Exchange, Refusal], None],
        complete: Callable[[Exchange], None],
    ) -> None:
        self._settings = settings
        self._loop = loop
        self._refuse = refuse
        self._complete = complete
        self._small = min(SMALL_BODY_BYTES, settings.body_bytes_max)
        self._memory = Budget(settings.body_memory_bytes)
        self._spool = Budget(settings.spool_bytes)
        self.resting: set[Exchange] = set()
        """Large bodies whose connection is not read until the next turn of the loop."""

    @property
    def files(self) -> Budget:
        """What may lie in files."""
        return self._spool

    def make_room(self, x: Exchange) -> None:
        """Room for the body before any of it is read; then it may come.  Raises Refusal."""
        length = x.length
        if 0 < length <= self._small and self._memory.take(length):
            x.room = length
            if x.head.expect:
                self._invite(x)
            return
        limit = RELAYED_BYTES_MAX if x.relay else self._settings.body_bytes_max
        if length < 0:
            length = min(SPOOL_FROM, limit) if x.head.chunked else 0
        if length > limit:
            raise Refusal(REQUEST_TOO_LARGE, f"The request body is larger than {limit} bytes")
        if length:
            budget = self._memory
            if length > SPOOL_FROM:
                x.spooling = True
                budget = self._spool
            if not budget.take(length):
                x.no_room = True
                x.client.transport.pause_reading()
                x.unwait = budget.wait(length, lambda: self._roomy(x, length))
                return
            x.room = length
        self._invite(x)

    def _invite(self, x: Exchange) -> None:
        """Let a client that asked first send its body."""
        if x.head.expect and x.http11 and not x.complete:
            x.client.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _roomy(self, x: Exchange, length: int) -> None:
        """Room has come for a body that waited."""
        x.room = length
        x.no_room = False
        x.touched = self._loop.time()
        x.client.transport.resume_reading()
        self._invite(x)
        if x.complete:
            self._complete(x)

    def on_piece(self, x: Exchange, piece: bytes) -> None:
        """Bytes of the body."""
        if x.state is not ARRIVING or x.done:
            return
        body = x.body
        if body is None:
            if len(piece) == x.length <= self._small and not x.head.multipart:
                x.body = Body(piece)  # the usual request, whole in one read
                return
            body = x.body = Body()
            if not x.relay and x.head.multipart:
                try:
                    x.form = Form(boundary(x.head.content_type))
                except Refusal as refusal:
                    self._refuse(x, refusal)
                    return
        try:
            body.add(piece)
            if body.size > len(piece) or x.length < 0:
                self._more_body(x, body)
            if x.form is not None:
                x.form.feed(piece)
            elif body.spooled and not x.relay and x.sliced is None:
                endpoint = x.target.endpoint
                assert endpoint is not None
                x.sliced = SlicedPeek(endpoint.dialect, SEALED.get(endpoint.conversation, b""))
            if body.spooled and x not in self.resting:
                self.resting.add(x)
                x.client.transport.pause_reading()
                self._loop.call_soon(self._go_on, x)
        except Refusal as refusal:
            self._refuse(x, refusal)
        except OSError:
            self._refuse(x, Refusal(SERVICE_UNAVAILABLE, "There is no room for the request body", 5))

    def _more_body(self, x: Exchange, body: Body) -> None:
        """Of a body that comes in pieces: it is alive; one that did not say its length may turn out a large one."""
        x.touched = self._loop.time()
        if x.length >= 0:
            return
        limit = RELAYED_BYTES_MAX if x.relay else self._settings.body_bytes_max
        if body.size > limit:
            raise Refusal(REQUEST_TOO_LARGE, f"The request body is larger than {limit} bytes")
        if body.spooled and not x.spooling:
            self._memory.give(x.room)
            x.room, x.spooling = 0, True
            if not self._spool.take(limit):
                raise Refusal(SERVICE_UNAVAILABLE, "There is no room for the request body", 5)
            x.room = limit

    def _go_on(self, x: Exchange) -> None:
        """The next turn: read a slice of a large body's top level; when all that came is read, let more come."""
        body, sliced = x.body, x.sliced
        try:
            if (
                sliced is not None
                and body is not None
                and x.state is ARRIVING
                and not x.done
                and sliced.fed < body.size
            ):
                sliced.feed(body.read(sliced.fed, SLICE_BYTES))
                if sliced.fed < body.size:
                    self._loop.call_soon(self._go_on, x)
                    return
        except Refusal as refusal:
            self._refuse(x, refusal)
        self.resting.discard(x)
        if not x.no_room:
            x.client.transport.resume_reading()
        if x.complete:
            self._complete(x)

    def is_roomy(self) -> bool:
        """Whether there is so much room that bodies may be kept for longer than they must be."""
        return 2 * self._memory.free >= self._memory.total

    def drop(self, x: Exchange) -> None:
        """The request's body is not needed any more."""
        body = x.body
        if body is not None:
            x.body = None
            if body.spooled:
                body.close()
        room = x.room
        if room:
            x.room = 0
            (self._spool if x.spooling else self._memory).give(room)
        x.pump = None
