"""The test upstream's server: one coroutine a connection over asyncio's plain transports.

It reads requests strictly (what a gateway must never send is an error here, kept in `Server.errors`), answers
them from the book, and notices at once when the other side leaves.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import socket
import ssl
import struct
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Final

from tests.upstream.cases import Book, Case
from tests.upstream.requests import RequestLog, Seen

HEAD_BYTES_MAX: Final = 1 << 17
REQUEST_LINE: Final = re.compile(rb"([A-Z]+) (/\S*) HTTP/(1\.[01])\r\n")
HEADER: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?([^\r\n]*)\r\n")
CHUNK_SIZE: Final = re.compile(rb"([0-9a-fA-F]+)\r\n")


class Gone(Exception):
    """The other side closed or reset the connection."""


class Malformed(Exception):
    """A request that no gateway may send."""


class Wire(asyncio.Protocol):
    """One connection: a buffer of what came, and whether the other side is still there."""

    def __init__(self, accept: Callable[[Wire], None]) -> None:
        self.buffer = bytearray()
        self.gone = False
        self.transport: asyncio.Transport
        self._accept = accept
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start serving it."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        if (raw := transport.get_extra_info("socket")) is not None:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._accept(self)

    def data_received(self, data: bytes) -> None:
        """Keep it."""
        self.buffer += data
        self._news.set()

    def eof_received(self) -> bool:
        """A half-closed connection counts as gone: no gateway half-closes."""
        self.connection_lost(None)
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """Wake whoever waits."""
        self.gone = True
        self._news.set()
        self._room.set()

    def pause_writing(self) -> None:
        """The other side reads slowly."""
        self._room.clear()

    def resume_writing(self) -> None:
        """It has caught up."""
        self._room.set()

    async def more(self) -> None:
        """Wait for further bytes.  Raises Gone."""
        if self.gone:
            raise Gone
        self._news.clear()
        await self._news.wait()

    async def until(self, end: bytes, most: int) -> bytes:
        """Take the bytes up to and with `end`."""
        while (found := self.buffer.find(end)) < 0:
            if len(self.buffer) > most:
                raise Malformed(f"no {end!r} within {most} bytes")
            await self.more()
        return self.take(found + len(end))

    async def exactly(self, count: int) -> bytes:
        """Take this many bytes."""
        while len(self.buffer) < count:
            await self.more()
        return self.take(count)

    def take(self, count: int) -> bytes:
        """Take bytes that are here."""
        taken = bytes(self.buffer[:count])
        del self.buffer[:count]
        return taken

    async def send(self, data: bytes, pause_ms: float = 0) -> None:
        """Write, wait for room, pause.  Raises Gone as soon as the other side left."""
        if self.gone:
            raise Gone
        self.transport.write(data)
        await self._room.wait()
        await self.pause(pause_ms)

    async def pause(self, pause_ms: float) -> None:
        """Let time pass; Gone ends it early."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause_ms / 1000):
                await self.until_gone()
        if self.gone:
            raise Gone

    async def until_gone(self) -> None:
        """Return when the other side has left."""
        while not self.gone:
            self._news.clear()
            await self._news.wait()

    def reset(self) -> None:
        """Close with RST."""
        if (raw := self.transport.get_extra_info("socket")) is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


class Visited:
    """Whoever is called on Wires: one task a connection, ended by `close` if it has not ended by itself."""

    def __init__(self) -> None:
        self.connections = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._listeners: list[asyncio.Server] = []

    async def listen(self, port: int = 0, tls: ssl.SSLContext | None = None) -> int:
        """Listen on loopback; the port."""
        loop = asyncio.get_running_loop()
        listener = await loop.create_server(lambda: Wire(self._accept), "127.0.0.1", port, ssl=tls, backlog=2048)
        self._listeners.append(listener)
        bound: int = listener.sockets[0].getsockname()[1]
        return bound

    async def close(self) -> None:
        """Stop listening and drop every connection."""
        for listener in self._listeners:
            listener.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, wire: Wire) -> None:
        self.connections += 1
        task = asyncio.get_running_loop().create_task(self._serve(wire, self.connections))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, wire: Wire, connection: int) -> None:
        raise NotImplementedError


class Server(Visited):
    """The upstream: give it cases, look at what it saw."""

    def __init__(self, book: Book, log: Path | None = None) -> None:
        super().__init__()
        self.book = book
        self.requests: list[Seen] = []
        self.errors: list[str] = []
        """What a gateway should never have sent."""
        self.open_connections = 0
        self._log = RequestLog(log)
        self._numbers = itertools.count(1)

    async def _serve(self, wire: Wire, connection: int) -> None:
        self.open_connections += 1
        try:
            for nth in itertools.count(1):
                if not await self._exchange(wire, connection, nth):
                    break
        except Gone:
            pass
        except Malformed as error:
            self.errors.append(str(error))
            wire.transport.write(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
        finally:
            self.open_connections -= 1
            wire.transport.close()

    async def _exchange(self, wire: Wire, connection: int, nth: int) -> bool:
        """One request and its answer; False when the connection is not to be used again."""
        head = await wire.until(b"\r\n\r\n", HEAD_BYTES_MAX)
        seen = parse_head(head, next(self._numbers), connection, nth)
        self.requests.append(seen)
        self._log.note("head", seen)
        try:
            case = self.book.before_body(seen.target, seen.headers)
            if case is None:
                await self._read_body(wire, seen)
                case = self.book.find(seen.target, seen.headers, seen.body)
            seen.case = case.name
            again = await self._answer(wire, seen, case)
            seen.end = "fault" if case.fault and not again else "answered"
            return again and seen.header("connection") != "close"
        except Gone:
            seen.end = "gone"
            raise
        finally:
            seen.ended_at = time.monotonic()
            self._log.note(seen.end or "fault", seen)

    async def _read_body(self, wire: Wire, seen: Seen) -> None:
        coding, length = seen.header("transfer-encoding"), seen.header("content-length")
        if coding is not None:
            if coding != "chunked" or length is not None:
                raise Malformed(f"transfer-encoding {coding!r} with content-length {length!r}")
            while size := int(_match(CHUNK_SIZE, await wire.until(b"\r\n", 100))[1], 16):
                seen.body += await wire.exactly(size)
                _match(re.compile(rb"\r\n"), await wire.exactly(2))
            _match(re.compile(rb"\r\n"), await wire.exactly(2))
        elif length is not None:
            try:
                seen.body = await wire.exactly(int(length))
            except Gone:
                seen.body = wire.take(len(wire.buffer))
                raise
        seen.complete = True
        self._log.note("request", seen)

    async def _answer(self, wire: Wire, seen: Seen, case: Case) -> bool:
        """Send the case; False when the connection is done with."""
        await wire.pause(case.first_byte_ms)
        if case.fault in ("reset", "refuse_body"):
            wire.reset()
            return False
        if case.fault == "eof" or (case.fault == "stale" and seen.nth > 1):
            return False
        if case.fault == "silent":
            await wire.until_gone()
            raise Gone
        framing = "close" if seen.version == "1.0" and case.framing == "chunked" else case.framing
        head = head_bytes(case, framing)
        if case.fault == "head":
            await wire.send(head[: len(head) // 2], 20)
            wire.reset()
            return False
        await self._send_body(wire, seen, case, head, framing)
        if case.fault in ("cut", "cut_eof"):
            await wire.pause(20)  # what was sent arrives before the RST overtakes it
            if case.fault == "cut":
                wire.reset()
            return False
        if case.fault == "stall":
            await wire.until_gone()
            raise Gone
        if case.fault == "extra":
            await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil", 20)
        return framing != "close" and not case.hang_up and case.fault != "early"

    async def _send_body(self, wire: Wire, seen: Seen, case: Case, head: bytes, framing: str) -> None:
        pieces = case.split()
        if case.fault in ("cut", "cut_eof", "stall"):
            whole = case.with_(body=case.body[: case.fault_at])
            pieces = whole.split()
        if seen.method == "HEAD":
            pieces = []
        first = True
        for piece in pieces:
            framed = b"%x\r\n%b\r\n" % (len(piece), piece) if framing == "chunked" else piece
            await wire.send(head + framed if first else framed, case.delay_ms)
            seen.body_bytes_sent += len(piece)
            first = False
        last = b"0\r\n\r\n" if framing == "chunked" and case.fault not in ("cut", "cut_eof", "stall") else b""
        if first or last:
            await wire.send((head if first else b"") + last)


def _match(pattern: re.Pattern[bytes], data: bytes) -> re.Match[bytes]:
    found = pattern.fullmatch(data)
    if not found:
        raise Malformed(f"{data!r} where {pattern.pattern!r} must stand")
    return found


def parse_head(head: bytes, n: int, connection: int, nth: int) -> Seen:
    """Read a request head strictly.  Raises Malformed."""
    line, _, rest = head.partition(b"\r\n")
    first = _match(REQUEST_LINE, line + b"\r\n")
    headers = []
    for field in rest[:-2].splitlines(keepends=True):
        found = _match(HEADER, field)
        headers.append((found[1].decode(), found[2].decode("latin-1")))
    seen = Seen(n, connection, nth, first[1].decode(), first[2].decode(), first[3].decode(), headers, head)
    if seen.version == "1.1" and seen.header("host") is None:
        raise Malformed("no Host header")
    return seen


def head_bytes(case: Case, framing: str) -> bytes:
    """The answer's head."""
    reason = HTTPStatus(case.status).phrase if case.status in HTTPStatus._value2member_map_ else "Unknown"
    lines = [f"HTTP/1.1 {case.status} {reason}", *(f"{name}: {value}" for name, value in case.headers)]
    if framing == "length":
        lines.append(f"content-length: {len(case.body)}")
    elif framing == "chunked":
        lines.append("transfer-encoding: chunked")
    if framing == "close" or case.hang_up or case.fault == "early":
        lines.append("connection: close")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
