"""One client connection: requests parsed as they come, answered one at a time, in order.

`Downstream` is the asyncio protocol; it turns bytes into `Inbound` exchanges and hands them to the floor
above (`App`) at two moments, when the head is known and when the body is complete.  Later requests on the
connection are parsed and queued behind the active one, within small bounds (DATAPLANE.md rules 8-11).
The connection is read even while an exchange runs: only so is a client that left noticed.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any, Final, NamedTuple, Protocol

import httptools

from burncloud.errors import HEAD_TOO_LARGE, INVALID_REQUEST, REQUEST_TIMEOUT, ErrorRow, error_body
from burncloud.wire.body import Body
from burncloud.wire.heads import HEAD_BYTES_MAX, STATUS_LINES, Head, judge, method_error, target_error
from burncloud.wire.websocket import offer_of

HEAD_TEXT: Final = f"The request head is larger than {HEAD_BYTES_MAX >> 10} KiB"
PIPELINE_REQUESTS_MAX: Final = 8
PIPELINE_BYTES_MAX: Final = 64 << 10
WRITE_HIGH: Final = 64 << 10
WRITE_LOW: Final = 16 << 10
DISCARD_BYTES_MAX: Final = 1 << 20
"""A refused request's body is read and thrown away up to here; a longer one costs the connection."""
SILENT_BYTES_MAX: Final = 64 << 10
"""So much of a chunked request may pass without any content: chunk extensions and trailers."""
LINGER_S: Final = 5.0
"""A client that is still sending when its connection must end is listened to for this long: closing at once would
reset the connection, and the reset may overtake the answer."""


class Inbound:
    """One request of a client and where its answer stands; the router's Exchange adds the LLM side."""

    __slots__ = (
        "answered", "body", "client", "complete", "discard", "done", "head", "http11", "keep_alive",
        "length", "method", "url",
    )  # fmt: skip

    def __init__(self, client: Downstream, method: bytes, url: bytes, head: Head, length: int) -> None:
        self.client = client
        self.method = method
        self.url = url
        self.head = head
        self.length = length
        """Content-Length; −1 = chunked or none."""
        self.http11 = client.http11
        self.keep_alive = client.keep_alive
        self.body: Body | None = None
        self.complete = False
        """The request has fully arrived."""
        self.discard = False
        """The rest of the body is of no interest."""
        self.answered = False
        """The head of the answer went out."""
        self.done = False
        """The answer is over, or nobody waits for it any more."""


class Again(NamedTuple):
    """The last head, for recognising it when it comes again."""

    prefix: bytes
    """Up to the digits of Content-Length."""
    suffix: bytes
    """From behind them to the end of the head."""
    method: bytes
    url: bytes
    head: Head


_LENGTH_FIELD: Final = re.compile(rb"\r\ncontent-length: ?(\d{1,9})(?=\r\n)", re.IGNORECASE)


class Tunnel(Protocol):
    """What takes a client's bytes once its request asked for another protocol."""

    def on_client(self, data: bytes) -> None:
        """Bytes from the client."""


class App(Protocol):
    """What a connection asks of the floor above."""

    def exchange(self, client: Downstream, method: bytes, url: bytes, head: Head, length: int) -> Inbound:
        """A new exchange for a request whose head is acceptable HTTP."""

    def on_head(self, x: Any) -> None:
        """The exchange is the active one: its body may be asked for, or it may be refused at once."""

    def on_piece(self, x: Any, piece: bytes) -> None:
        """Body bytes have come."""

    def on_complete(self, x: Any) -> None:
        """The body is complete."""

    def on_gone(self, x: Any) -> None:
        """The client left while its exchange was active."""

    def on_drained(self, x: Any, paused: bool) -> None:
        """The client reads too slowly (paused), or has caught up."""

    def joined(self, client: Downstream) -> bool:
        """A connection was accepted; False = there is no room for it."""

    def left(self, client: Downstream) -> None:
        """A connection is gone."""


class Downstream(asyncio.Protocol):
    """The server side of one client connection."""

    __slots__ = (
        "_again", "_app", "_begun", "_fields", "_fresh", "_head_bytes", "_in_head", "_incoming", "_last_words",
        "_length", "_loop", "_missing", "_offered", "_parser", "_queue", "_queued_bytes", "_silent_bytes", "_url",
        "active", "closing", "deadline", "http11", "keep_alive", "last", "paused", "paused_at", "peer", "transport",
        "tunnel", "unsent", "upgrading",
    )  # fmt: skip

    def __init__(self, app: App, loop: asyncio.AbstractEventLoop) -> None:
        # Global state
        self._app = app
        self._loop = loop
        # Per-connection state
        self.transport: Any = None
        self.peer = ""
        self._parser: Any = None
        self._again: Again | None = None
        self._fresh = True
        """The parser stands between two requests."""
        self._begun = 0
        """Requests that began in this read: the head of only one can be remembered by the bytes of the read."""
        self._missing = 0
        """Bytes still to come of a body that does not go through the parser."""
        self.active: Inbound | None = None
        self._queue: list[Inbound] = []
        self._queued_bytes = 0
        self.closing = False
        self.last = False
        """The next request is the last one that is served here."""
        self._last_words = b""
        """The answer to a request that cannot be understood, while there are others before it."""
        self.paused = False
        self.paused_at = 0.0
        """Loop time at which it last took some of what waits for it."""
        self.unsent = 0
        """How much waited then, bytes."""
        self.deadline = 0.0
        """Loop time at which an idle connection or an unfinished head is given up; 0 = none."""
        self.upgrading = False
        self._offered = False
        """The head that comes next asked for a WebSocket."""
        self.tunnel: Tunnel | None = None
        """Who takes what comes behind the active request; the connection serves no other after it."""
        # Per-request state
        self._in_head = True
        self._head_bytes = 0
        self._url = b""
        self._fields: list[tuple[bytes, bytes]] = []
        self._length = -1
        self._silent_bytes = 0
        self._incoming: Inbound | None = None
        self.http11 = True
        self.keep_alive = True

    def __repr__(self) -> str:
        state = "closing" if self.closing else "active" if self.active else "idle"
        return f"<Downstream {state}, {len(self._queue)} queued>"

    # Protocol interface

    def connection_made(self, transport: Any) -> None:
        """A client connected."""
        self.transport = transport
        self._parser = httptools.HttpRequestParser(self)
        transport.set_write_buffer_limits(WRITE_HIGH, WRITE_LOW)
        name = transport.get_extra_info("peername")
        self.peer = str(name[0]).removeprefix("::ffff:") if isinstance(name, tuple) else ""
        if not self._app.joined(self):
            self.closing = True
            transport.write(plain_error(503, b"retry-after: 1\r\n"))
            transport.close()

    def data_received(self, data: bytes) -> None:
        """Bytes from the client, at any time."""
        if self.closing:
            return
        fresh = self._fresh
        active = self.active
        if active is None:
            if fresh and self._again is not None and self._serve_again(self._again, data):
                return
        elif self._missing:
            data = self._take_missing(active, data)
            if not data:
                return
        elif active.complete:
            if self.tunnel is not None:
                self.tunnel.on_client(data)
                return
            self._queued_bytes += len(data)
            if self._queued_bytes > PIPELINE_BYTES_MAX:
                self.closing = True
                return
        if self._in_head:
            if len(data) > HEAD_BYTES_MAX and data.find(b"\r\n\r\n", 0, HEAD_BYTES_MAX) < 0:
                self._take_slices(data)
                return
            self._head_bytes += len(data)
        elif self._length < 0:
            self._silent_bytes += len(data)
        self._begun = 0
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._serve_plainly(data[upgrade.args[0] :])
        except httptools.HttpParserCallbackError as error:
            raise error.__context__ or error from None
        except httptools.HttpParserError:
            if not self.closing:
                self._refuse_connection(INVALID_REQUEST, "The request is not well-formed HTTP/1.1")
        if self._in_head and self._head_bytes > HEAD_BYTES_MAX and not self.closing:
            self._refuse_connection(HEAD_TOO_LARGE, HEAD_TEXT)
        elif self._silent_bytes > SILENT_BYTES_MAX and not self.closing:
            self._refuse_connection(HEAD_TOO_LARGE, "The request's trailers or chunk extensions are larger than 64 KiB")
        if fresh and self._begun == 1 and (self._fresh or not self._in_head) and not self.closing:
            self._again = self._remember(data)

    def eof_received(self) -> None:
        """The client closed its side: during an exchange that counts as gone (rule 10)."""
        if self.active is not None and not self.active.done:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, by whomever."""
        self.closing = True
        self._queue.clear()
        active, self.active = self.active, None
        self._incoming = None
        self._parser = self._again = None  # the parser holds this object: without it, both go at once
        self._app.left(self)
        if active is not None and not active.done:
            active.done = True
            self._app.on_gone(active)

    def pause_writing(self) -> None:
        """The client reads more slowly than the upstream sends."""
        self.paused = True
        self.paused_at = self._loop.time()
        self.unsent = 0
        if self.active is not None:
            self._app.on_drained(self.active, True)

    def resume_writing(self) -> None:
        """The client has caught up."""
        self.paused = False
        if self.active is not None:
            self._app.on_drained(self.active, False)

    # Parser callbacks

    def on_message_begin(self) -> None:
        """A request begins."""
        self._begun += 1
        self._in_head = True
        self._fresh = False
        self._url = b""
        self._fields = []
        self._length = -1
        self._silent_bytes = 0
        self.deadline = 0.0

    def on_url(self, url: bytes) -> None:
        """A part of the request target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the head, or a trailer, which is ignored."""
        if not self._in_head:
            return
        if len(name) == 14 and name.lower() == b"content-length":
            self._length = int(value)
            return
        self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        """The head is known: judge it, and start the exchange if it is its turn."""
        parser = self._parser
        self._in_head = False
        if parser.should_upgrade():
            self.upgrading = True
            return
        head_bytes, self._head_bytes = self._head_bytes, 0
        if self.closing:
            return
        version = parser.get_http_version()
        self.keep_alive = parser.should_keep_alive() and not self.last
        self.http11 = version == "1.1"
        self._again = None
        fields, self._fields = self._fields, []
        head = judge(fields, self.http11)
        if self._offered:
            self._offered = False
            head.offer = offer_of(fields)
        if not self.http11 and version != "1.0":
            head.refuse(INVALID_REQUEST, "HTTP/1.0 and HTTP/1.1 are served here")
        if (head_bytes > HEAD_BYTES_MAX or self.active is not None) and self._head_size(fields) > HEAD_BYTES_MAX:
            head.refuse(HEAD_TOO_LARGE, HEAD_TEXT)
        method = parser.get_method()
        text = target_error(self._url)
        row = head.error or method_error(method) or (INVALID_REQUEST if text else None)
        if row is not None:
            self._refuse_connection(row, head.error_text or text)
            return
        x = self._app.exchange(self, method, self._url, head, self._length)
        self._incoming = x
        if self.active is None:
            self.active = x
            self._app.on_head(x)
        elif len(self._queue) >= PIPELINE_REQUESTS_MAX:
            self.closing = True
        else:
            self._queue.append(x)

    def on_body(self, piece: bytes) -> None:
        """A part of the body, de-chunked."""
        self._silent_bytes = 0
        x = self._incoming
        if x is None or x.discard:
            return
        if x is self.active:
            self._app.on_piece(x, piece)
            return
        if x.body is None:
            x.body = Body()
        x.body.add(piece)

    def on_message_complete(self) -> None:
        """The request has fully arrived."""
        if self.upgrading or self.closing:
            return
        x = self._incoming
        self._in_head = True
        self._fresh = True
        if x is None:
            return
        x.complete = True
        if x is self.active:
            if x.done:
                self.deadline = 0.0
                self._next()
            elif not x.discard:
                self._app.on_complete(x)

    # For the floor above

    def finished(self, x: Inbound) -> None:
        """The answer to the active exchange has been written whole."""
        if x is not self.active:
            return
        x.done = True
        if x.complete:
            if self._queue or self.closing or not x.keep_alive:
                self._next()
            else:
                self.active = None
                self._queued_bytes = 0
        elif not x.keep_alive or x.length > DISCARD_BYTES_MAX or (x.length < 0 and x.head.chunked) or x.head.expect:
            self.active = None
            self._linger()
        else:
            x.discard = True

    def hang_up(self, x: Inbound) -> None:
        """The active exchange was a tunnel, and is over: what is written goes out, what comes is thrown away."""
        x.done = True
        self.active = self.tunnel = None
        self._linger()

    def close(self) -> None:
        """Close after what is written has gone out."""
        self.closing = True
        if self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        """Close at once; what is unsent is thrown away (close() would keep it in memory)."""
        self.closing = True
        if self.transport is not None:
            self.transport.abort()

    def wait(self, now: float, idle_s: float, head_s: float) -> None:
        """Nothing is being served: in time, an idle connection closes quietly, an unfinished head with 408."""
        if not self.deadline:
            self.deadline = now + (head_s if self._in_head and not self._fresh else idle_s)
        elif now <= self.deadline:
            return
        elif self.closing:
            self.abort()
        elif self._in_head and not self._fresh and self.active is None:
            self._refuse_connection(REQUEST_TIMEOUT, "")
        else:
            self.close()

    def drain(self) -> None:
        """Serve what is active, then close."""
        if self.active is None or self.active.done:
            self.close()
        else:
            self.active.keep_alive = False
            self._queue.clear()

    def retire(self, now: float, idle_s: float, quiet_s: float) -> None:
        """Serve one more request, whose answer says `Connection: close`; close where none has come for `quiet_s`.

        To close an idle connection at once would now and then meet a request on its way.  `idle_s`: as in `wait`.
        """
        self.last = True
        self._again = None  # heads go through the parser again, which reads `last`
        if self.active is None and self._fresh and self.deadline and now - (self.deadline - idle_s) > quiet_s:
            self.close()

    # Own matters

    def _take_slices(self, data: bytes) -> None:
        """A read longer than any head: in slices, so that a head is counted while it is fed."""
        for at in range(0, len(data), HEAD_BYTES_MAX):
            self.data_received(data[at : at + HEAD_BYTES_MAX])

    def _head_size(self, fields: list[tuple[bytes, bytes]]) -> int:
        """The bytes of the head just read."""
        return len(self._url) + sum(len(name) + len(value) + 4 for name, value in fields)

    def _remember(self, data: bytes) -> Again | None:
        """What a request like the one that `data` begins with begins with, whatever its Content-Length."""
        x = self._incoming
        found = _LENGTH_FIELD.search(data)
        if x is None or found is None or not (self.keep_alive and self.http11) or x.head.expect or x.head.chunked:
            return None
        end = data.find(b"\r\n\r\n") + 4
        if found.end() > end or len(data) - end > x.length:
            return None
        return Again(data[: found.start(1)], data[found.end(1) : end], x.method, x.url, x.head)

    def _serve_again(self, again: Again, data: bytes) -> bool:
        """Serve a request whose head is, but for Content-Length, byte for byte one that the parser accepted.

        The parser is not asked again: the same bytes give the same verdict (DATAPLANE.md rule 20).  False = it is
        not such a request, or it did not come in one piece.
        """
        prefix, suffix, method, url, head = again
        if not data.startswith(prefix):
            return False
        start = len(prefix)
        end = data.find(b"\r", start, start + 10)
        if end < 0 or not data.startswith(suffix, end):
            return False
        digits = data[start:end]
        if not digits.isdigit():
            return False
        length = int(digits)
        body = data[end + len(suffix) :]
        missing = length - len(body)
        if missing < 0:
            return False
        self.deadline = 0.0
        app = self._app
        self.active = x = app.exchange(self, method, url, head, length)
        self._missing = missing
        if not missing:
            x.complete = True
        app.on_head(x)
        if body and not (x.done or x.discard):
            app.on_piece(x, body)
        if not (missing or x.done or x.discard):
            app.on_complete(x)
        return True

    def _take_missing(self, x: Inbound, data: bytes) -> bytes:
        """The rest of a body whose head `_serve_again` knew, past the parser; what follows it is returned."""
        missing = self._missing
        piece = data if len(data) <= missing else data[:missing]
        self._missing = missing = missing - len(piece)
        if not (x.done or x.discard):
            self._app.on_piece(x, piece)
        if not missing:
            x.complete = True
            if x.done:
                self.deadline = 0.0
                self._next()
            elif not x.discard:
                self._app.on_complete(x)
        return data[len(piece) :]

    def _next(self) -> None:
        x = self.active
        self.active = None
        if self.closing and not (self._queue and self._last_words):
            if self._last_words and x is not None and x.keep_alive:
                self.transport.write(self._last_words)
            self._linger()
            return
        if x is None or not x.keep_alive:
            self.close()
            return
        if not self._queue:
            self._queued_bytes = 0
            return
        self.active = x = self._queue.pop(0)
        self._queued_bytes = sum(waiting.body.size for waiting in self._queue if waiting.body is not None)
        body, x.body = x.body, None
        self._app.on_head(x)
        if x.done or not self._serves(x):
            return
        if body is not None and not x.discard:
            self._app.on_piece(x, body.whole())
        if self._serves(x) and x.complete and not x.discard and not x.done:
            self._app.on_complete(x)

    def _serves(self, x: Inbound) -> bool:
        """Whether `x` is still the active one (asked in a method of its own: mypyc keeps what mypy narrowed)."""
        return self.active is x

    def _serve_plainly(self, rest: bytes) -> None:
        """An Upgrade: the same request again without it (rule 11).  That it offered a WebSocket is noted in its head.

        llhttp stops at the head of such a message; Java's client offers h2c on every POST.
        """
        method = self._parser.get_method()
        if method == b"CONNECT":
            self._refuse_connection(method_error(method) or INVALID_REQUEST, "")
            return
        version = self._parser.get_http_version()
        wanted = [value.strip().lower() for name, value in self._fields if name.lower() == b"upgrade"]
        self._offered = method == b"GET" and version == "1.1" and wanted == [b"websocket"]
        lines = [b"%b %b HTTP/%b\r\n" % (method, self._url, version.encode())]
        lines += [b"%b: %b\r\n" % field for field in self._fields if field[0].lower() != b"upgrade"]
        if self._length >= 0:
            lines.append(b"content-length: %d\r\n" % self._length)
        self.upgrading = False
        self._incoming = None
        self._parser = httptools.HttpRequestParser(self)
        self.data_received(b"".join([*lines, b"\r\n"]))
        if rest:
            self.data_received(rest)

    def _refuse_connection(self, row: ErrorRow, text: str) -> None:
        """Answer a request that cannot be understood, and close: what follows it cannot be trusted."""
        active = self.active
        body = error_body(row, text)
        answer = b"%bcontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b" % (
            STATUS_LINES[row.status], len(body), body,
        )  # fmt: skip
        if active is not None and not active.done:
            if active.complete:
                # answers go out in order: those to the requests before this one first
                self.closing, self._last_words, self._incoming = True, answer, None
                if self._queue and not self._queue[-1].complete:
                    self._queue.pop()  # it is the one that cannot be understood
                return
            if active.answered:
                self.abort()
                return
        self.transport.write(answer)
        self.active = None
        self._linger()
        if active is not None and not active.done:
            active.done = True
            self._app.on_gone(active)

    def _linger(self) -> None:
        """Say that nothing more comes, and listen on for a while: the client may be in the middle of a request."""
        self.closing = True
        self.deadline = self._loop.time() + LINGER_S
        self.transport.write_eof()


def plain_error(status: int, extra: bytes = b"") -> bytes:
    """A whole bodiless answer for a connection that is not served at all."""
    return b"%bcontent-length: 0\r\nconnection: close\r\n%b\r\n" % (STATUS_LINES[status], extra)
