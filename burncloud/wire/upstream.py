"""One connection to an upstream: a request goes out, its answer is read and handed on.

Framing ends here: the parser de-chunks, so the floor above sees a status, fields and content.  One call of
the `Sink` a read at most.  A connection that misbehaves while idle, answers twice, or speaks in a transfer
coding of its own is cut off (DATAPLANE.md rules 1, 2, 12).
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Any, Final, Protocol

import httptools

from burncloud.wire.heads import AnswerHead, judge_answer

WRITE_HIGH: Final = 256 << 10
SILENT_BYTES_MAX: Final = 256 << 10
"""So much may come without content: interim answers and the head, chunk extensions and trailers."""
BUFFER_BYTES: Final = 512 << 10
"""Both loops stop reading a TLS socket at 256 KiB that nobody takes, and read as much at once."""
NO_HEAD: Final = AnswerHead()
ALL: Final = 1 << 62
NOTHING: Final = memoryview(b"")


class Sink(Protocol):
    """What a connection tells the floor above about the exchange that it carries."""

    def on_answer(self, x: Any, up: Upstream, content: bytes | None, ended: bool) -> None:
        """Content has come, or the answer ended, or (first call) its head is known."""

    def on_lost(self, x: Any, up: Upstream, reason: str) -> None:
        """The connection broke before the answer was complete."""

    def on_switch(self, x: Any, up: Upstream) -> bool:
        """The upstream switches protocols; True if that was asked for: all that comes now is content."""

    def on_writable(self, x: Any, up: Upstream, paused: bool) -> None:
        """The upstream takes the request more slowly than it is written (paused), or has caught up."""


class Switched:
    """In the place of the parser once the protocol is another: each read is content, and there is no end but EOF."""

    __slots__ = ("_up",)

    def __init__(self, up: Upstream) -> None:
        self._up = up

    def feed_data(self, data: bytes) -> None:
        """Bytes of the tunnel."""
        self._up.on_body(data)


class Upstream(asyncio.BaseProtocol):
    """The client side of one connection to an origin."""

    __slots__ = (
        "_fields",
        "_loop",
        "_more",
        "_parser",
        "_part",
        "_rest",
        "_silent_bytes",
        "_sink",
        "closed_properly",
        "exchange",
        "head",
        "head_known",
        "heard",
        "http10",
        "idle_since",
        "keep",
        "last",
        "lost",
        "messages",
        "no_body",
        "origin",
        "paused",
        "served",
        "status",
        "transport",
        "turn_bytes",
        "writable",
    )  # fmt: skip

    def __init__(self, sink: Sink, origin: Any, loop: asyncio.AbstractEventLoop) -> None:
        # Per-connection state
        self._sink = sink
        self._loop = loop
        self.origin = origin
        self.transport: Any = None
        self._parser: Any = None
        self.served = 0
        """Exchanges answered on this connection: > 0 means that it was reused."""
        self.idle_since = 0.0
        self.lost = False
        self.closed_properly = False
        self.paused = False
        self.writable = True
        # Per-request state
        self.exchange: Any = None
        self.no_body = False
        self.heard = False
        """A byte of the answer has come."""
        self.head_known = False
        self.status = 0
        self._fields: list[tuple[bytes, bytes]] = []
        self.head = NO_HEAD
        self.http10 = False
        self.keep = False
        self.messages = 0
        self.last = 0.0
        """Loop time of the last bytes, for the stall clock."""
        self._part: bytes | None = None
        self._more: list[bytes] = []
        self._silent_bytes = 0
        self.turn_bytes = ALL
        """So much of a read is handled in one turn of the loop; the rest waits for the next, and reading with it."""
        self._rest = NOTHING

    def __repr__(self) -> str:
        state = "lost" if self.lost else "busy" if self.exchange is not None else "idle"
        return f"<Upstream {state}, {self.served} served>"

    def begin(self, x: Any, no_body: bool = False) -> None:
        """Take on an exchange; the caller then writes the request.  `no_body`: HEAD is answered by a head alone."""
        self.exchange = x
        self.no_body = no_body
        self.heard = False
        self.head_known = False
        self.status = 0
        self._fields = []
        self.messages = 0
        self._part = None
        self._silent_bytes = 0
        self.turn_bytes = ALL

    def write(self, data: bytes) -> None:
        """Send bytes of the request."""
        self.transport.write(data)

    def pause(self) -> None:
        """Stop reading: the client is slower."""
        if not self.paused and not self.lost:
            self.paused = True
            self.transport.pause_reading()

    def resume(self) -> None:
        """Read on; the stall clock starts anew."""
        if self.paused and not self.lost:
            self.paused = False
            self.last = self._loop.time()
            if self._rest:
                self._loop.call_soon(self._next_turn)
            else:
                self.transport.resume_reading()

    def abort(self) -> None:
        """Cut the connection at once: the upstream stops working for nobody."""
        self.exchange = None
        self.lost = True
        if self.transport is not None:
            self.transport.abort()

    # Protocol interface

    def connection_made(self, transport: Any) -> None:
        """Connected (TLS included)."""
        self.transport = transport
        transport.set_write_buffer_limits(WRITE_HIGH)
        self._parser = httptools.HttpResponseParser(self)

    def data_received(self, data: bytes) -> None:
        """Bytes of the answer."""
        x = self.exchange
        if x is None:
            self.abort()
            return
        if len(data) > self.turn_bytes:
            self._rest = memoryview(data)
            self.transport.pause_reading()
            self._next_turn()
            return
        self.heard = True
        self.last = self._loop.time()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._switch(x, data[upgrade.args[0] :])
            return
        except httptools.HttpParserError:
            if not self.messages:
                self._fail("the upstream's answer is not well-formed HTTP")
                return
            self.keep = False
        if not self.head_known:
            self._count_silence(len(data))
            return
        part = self._part
        if part is not None:
            self._part = None
            if self._more:
                part = b"".join([part, *self._more])
                self._more = []
        elif not self.messages and self._count_silence(len(data)):
            return
        ended = self.messages > 0
        if self.no_body and not ended:
            # the parser cannot know that HEAD was asked and waits for content
            ended, self.keep = True, False
        if ended:
            self.exchange = None
            self.served += 1
            if self._rest:
                self.keep = False  # more than the answer came
        self._sink.on_answer(x, self, part, ended)

    def eof_received(self) -> None:
        """The upstream closed: the end of an answer without framing, or a break; connection_lost tells which."""
        if self.exchange is not None:
            self.closed_properly = self._said_goodbye()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, by whomever."""
        self.lost = True
        self._parser = None  # it holds this object: without it, both go at once
        self.origin.forget(self)
        x, self.exchange = self.exchange, None
        if x is None:
            return
        head = self.head
        unframed = head.length < 0 and not head.chunked and (self.http10 or head.close)
        if self.head_known and exc is None and unframed and self.closed_properly:
            self.keep = False
            self._sink.on_answer(x, self, None, True)
        else:
            self._sink.on_lost(x, self, "reset" if exc is not None else "closed")

    def pause_writing(self) -> None:
        """The upstream takes the request slowly."""
        self.writable = False
        if self.exchange is not None:
            self._sink.on_writable(self.exchange, self, True)

    def resume_writing(self) -> None:
        """The upstream has caught up."""
        self.writable = True
        if self.exchange is not None:
            self._sink.on_writable(self.exchange, self, False)

    # Parser callbacks

    def on_message_begin(self) -> None:
        """A message begins; one behind the answer ends the connection, and nothing of it is read."""
        if self.head_known:
            raise ValueError("a second answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the head, or a trailer, which is dropped."""
        if not self.head_known:
            self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        """The head is known; an interim answer (1xx) is swallowed."""
        parser = self._parser
        status = parser.get_status_code()
        if status < 200 and status != 101:
            return
        self.keep = parser.should_keep_alive()
        self.head = head = judge_answer(self._fields)
        self._fields = []
        length = head.length
        self.status = 0 if length == -2 or status > 599 else status
        # asked only where it matters: the parser makes a text of it
        self.http10 = length < 0 and parser.get_http_version() != "1.1"
        self.head_known = True

    def on_body(self, part: bytes) -> None:
        """Content, de-chunked; several parts may come in one read."""
        if self._part is None:
            self._part = part
        else:
            self._more.append(part)

    def on_message_complete(self) -> None:
        """The answer is complete (or an interim one was)."""
        if not self.head_known:
            self._fields = []
            return
        self.messages += 1

    # Own matters

    def _switch(self, x: Any, rest: bytes) -> None:
        """The upstream answered 101; `rest` came behind its head."""
        self.messages = 0
        if not self._sink.on_switch(x, self):
            self._fail("the upstream switched protocols unasked")
            return
        self._parser = Switched(self)
        if rest and self.exchange is x:
            self._sink.on_answer(x, self, rest, False)

    def _next_turn(self) -> None:
        """Handle as much of a long read as one turn may take, unless the client is slower."""
        if self.paused or self.lost or not self._rest:
            return
        data, self._rest = bytes(self._rest[: self.turn_bytes]), self._rest[self.turn_bytes :]
        if self._rest:
            self._loop.call_soon(self._next_turn)
        else:
            self.transport.resume_reading()
        self.data_received(data)

    def _count_silence(self, size: int) -> bool:
        """A read brought no content; True if that was once too often."""
        self._silent_bytes += size
        if self._silent_bytes <= SILENT_BYTES_MAX:
            return False
        self._fail("the upstream sends heads or trailers without end")
        return True

    def _said_goodbye(self) -> bool:
        """Whether an end of the connection is the upstream's own word: over TLS anybody on the way can send FIN."""
        tls = self.transport.get_extra_info("ssl_object")
        if tls is None:
            return True
        try:
            # b"" only if its close_notify has come
            return not tls.read(1)
        except ssl.SSLError:
            return False

    def _fail(self, reason: str) -> None:
        x = self.exchange
        self.abort()
        self._sink.on_lost(x, self, reason)


class TlsUpstream(Upstream, asyncio.BufferedProtocol):
    """The same over TLS, read into a buffer that all connections share.

    As a plain protocol it would get each read as an object of 256 KiB that is shrunk to what came: allocated where so
    much is free, and not where something as small was given back.
    """

    __slots__ = ("_buffer",)

    def __init__(self, sink: Sink, origin: Any, loop: asyncio.AbstractEventLoop, buffer: memoryview) -> None:
        """`buffer`: of the loop; it holds all that may have come while reading was paused (BUFFER_BYTES)."""
        super().__init__(sink, origin, loop)
        self._buffer = buffer

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next read goes; what it brought is taken out before anybody else reads."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes of the answer."""
        self.data_received(self._buffer[:nbytes].tobytes())

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, by whomever; uvloop lets go of its methods only for another's."""
        super().connection_lost(exc)
        self.transport.set_protocol(GONE)


GONE: Final = asyncio.BufferedProtocol()
"""In the place of a connection that is gone: else it would be a circle, of 40 KB, until the collector comes."""
