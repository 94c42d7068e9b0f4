"""Probes: requests of our own to one channel with one key, whatever its state, sent as a client's are.

The request comes in over a socket pair, as any other: peeked, translated, signed, journalled, metered and judged by the
same code.  The channel is lent to a group that nobody is in (World.lend), the price is nothing, and nobody pays
(docs/decisions/0110-a-probe-is-a-request-of-nobody.md).  The upstream's list of models is asked for by GET, on a
connection of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import re
import secrets
import socket
import sys
from collections.abc import Callable
from typing import Any, Final

import httptools
import msgspec

from burncloud.adaptors.vendors import VENDORS
from burncloud.config import Settings
from burncloud.domain.link import Probe, Probed
from burncloud.domain.snapshot import Token, User
from burncloud.router.gateway import Gateway
from burncloud.router.outlets import Key, Outlet
from burncloud.router.routes import target
from burncloud.wire.downstream import Downstream
from burncloud.wire.pool import Pool
from burncloud.wire.resolver import Resolver
from burncloud.wire.upstream import Upstream

NOBODY: Final = 0
"""User and token of a probe in the ledger."""
BODY_BYTES_MAX: Final = 2 << 20
"""More of an answer is not kept."""
PART_CHARS_MIN: Final = 8
"""Shorter parts of a key are words like Bearer."""
UNKNOWN: Final = "unknown"
READ_BYTES: Final = 64 << 10


class Reply:
    """Our own answer, as it comes."""

    def __init__(self) -> None:
        self.status = 0
        self.body = bytearray()
        self.first: float | None = None
        self.complete = False
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes, now: float) -> None:
        """Bytes that came at this loop time."""
        known = len(self.body)
        self._parser.feed_data(data)
        if self.first is None and len(self.body) > known:
            self.first = now

    def on_headers_complete(self) -> None:
        """The head is known."""
        self.status = self._parser.get_status_code()

    def on_body(self, part: bytes) -> None:
        """Content."""
        if len(self.body) < BODY_BYTES_MAX:
            self.body += part

    def on_message_complete(self) -> None:
        """It is all there."""
        self.complete = True


class Prober:
    """The probes of one worker."""

    def __init__(self, gateway: Gateway, settings: Settings, answer: Callable[[Probed], object]) -> None:
        self._gateway = gateway
        self._answer = answer
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        resolver = Resolver(settings.upstream_deny)
        self._pool = Pool(self, resolver, settings.connect_timeout_ms, settings.pool_idle_ms)

    def start(self, probe: Probe) -> None:
        """Begin one; what comes of it is answered."""
        task = self._loop.create_task(self._run(probe), name="probe")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, probe: Probe) -> None:
        begun = self._loop.time()
        key = self._key(probe)
        try:
            done = await (self._post(probe) if probe.model else self._get(probe))
        except TimeoutError:
            done = Probed(probe.n, 0, "timeout")
        except (OSError, httptools.HttpParserError) as error:
            done = Probed(probe.n, 0, "broken", body=str(error).encode())
        except Exception as error:
            done = Probed(probe.n, 0, "broken", body=repr(error).encode())
            raise
        finally:
            done.duration_us = int((self._loop.time() - begun) * 1_000_000)
            done.body = without(key.secret, done.body) if key is not None else done.body
            self._answer(done)

    def _key(self, probe: Probe) -> Key | None:
        own = self._gateway.world.outlets.get(probe.channel)
        return next((key for key in own.keys if key.id == probe.key), None) if own is not None else None

    # A request

    async def _post(self, probe: Probe) -> Probed:
        world = self._gateway.world
        group = f"probe:{probe.n}"
        outlet = world.lend(group, probe.channel, probe.key, probe.model)
        if outlet is None:
            return Probed(probe.n, 0, UNKNOWN)
        secret = secrets.token_hex(32).encode()
        known = hashlib.sha256(secret).digest()
        url = b"/probe/" + secret
        found = target(b"POST", probe.path.encode())
        assert found.endpoint is not None
        key, ability = outlet.keys[0], outlet.abilities[probe.model]
        key.breaker.fault = ability.breaker.fault = ("", 0)
        world.users.setdefault(NOBODY, User(NOBODY))
        world.tokens[known] = Token(NOBODY, known, NOBODY, group=group)
        free = msgspec.structs.replace(found.endpoint, free=True)
        self._gateway._targets[url] = msgspec.structs.replace(found, endpoint=free)
        self._gateway.health.resting.add(outlet)  # so that an answer counts for its state
        try:
            async with asyncio.timeout(probe.timeout_ms / 1000):
                reply, first_us = await self._ask(url, secret, probe.body)
        except TimeoutError:
            self._blame(group)
            raise
        finally:
            del world.tokens[known], self._gateway._targets[url]
            self._gateway.health.resting.discard(outlet)
            world.take_back(group, outlet)
        reason, status = key.breaker.fault if key.breaker.fault[0] else ability.breaker.fault
        ok = reply.status == 200 and reply.complete
        return Probed(probe.n, reply.status, "" if ok else reason, status, 0, first_us, bytes(reply.body))

    async def _ask(self, url: bytes, secret: bytes, body: bytes) -> tuple[Reply, int]:
        """Our own answer, and how long its first content took."""
        ours, theirs = socket.socketpair()
        gateway, loop = self._gateway, self._loop
        await loop.connect_accepted_socket(lambda: Downstream(gateway, loop), ours)
        reader, writer = await _connected(theirs)
        begun = loop.time()
        reply = Reply()
        try:
            writer.write(
                b"POST %b HTTP/1.1\r\nhost: probe\r\nauthorization: Bearer %b\r\ncontent-type: application/json\r\n"
                b"user-agent: burncloud-probe\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
                % (url, secret, len(body), body)
            )
            while data := await reader.read(READ_BYTES):
                reply.feed(data, loop.time())
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        return reply, int((reply.first - begun) * 1_000_000) if reply.first is not None else 0

    def _blame(self, group: str) -> None:
        """It took too long: that is the channel's fault."""
        health = self._gateway.health
        for x in list(self._gateway.live):
            if x.group == group and x.up is not None:
                health.failed(x, "timeout", 0, 0.0, self._loop.time())

    # The list of models

    async def _get(self, probe: Probe) -> Probed:
        own, key = self._gateway.world.outlets.get(probe.channel), self._key(probe)
        if own is None or key is None or not key.secret:
            return Probed(probe.n, 0, UNKNOWN)
        head = self._head(own, key.head, key.secret, probe.path.encode())
        done: asyncio.Future[Probed] = self._loop.create_future()
        origin = self._pool.origin(own.origin.key)
        asked: list[Upstream] = []

        def dialled(up: Upstream | None, reason: str) -> None:
            if up is None or done.done():
                if up is not None:
                    up.abort()
                elif not done.done():
                    done.set_result(Probed(probe.n, 0, "connect"))
                return
            asked.append(up)
            up.begin((done, bytearray(), probe.n))
            up.write(head)

        self._pool.dial(origin, dialled)
        try:
            async with asyncio.timeout(probe.timeout_ms / 1000):
                return await done
        finally:
            for up in asked:
                up.abort()

    def _head(self, outlet: Outlet, own: bytes, secret: str, path: bytes) -> bytes:
        fields = "".join(f"{name}: {value}\r\n" for name, value in VENDORS[outlet.vendor.name].headers).encode()
        place = outlet.path(path)
        if outlet.reach is not None:
            where, _, query = place.partition(b"?")
            place = outlet.reach.with_query(where, b"?" + query if query else b"")
            fields += outlet.reach.signature(secret, b"GET", place, ())
        return b"GET %b HTTP/1.1\r\n%b%baccept: application/json\r\nconnection: close\r\n\r\n" % (place, own, fields)

    # Of the connection that a list comes over (wire/upstream.py)

    def on_answer(self, x: Any, up: Upstream, content: bytes | None, ended: bool) -> None:
        """A part of a list."""
        done, body, n = x
        if content and len(body) < BODY_BYTES_MAX:
            body += content
        if ended and not done.done():
            done.set_result(Probed(n, up.status, "", up.status, body=bytes(body)))

    def on_lost(self, x: Any, up: Upstream, reason: str) -> None:
        """No list."""
        done, _, n = x
        if not done.done():
            done.set_result(Probed(n, 0, "lost"))

    def on_switch(self, x: Any, up: Upstream) -> bool:
        """Nobody asked for that."""
        return False

    def on_writable(self, x: Any, up: Upstream, paused: bool) -> None:
        """A head is always taken."""


def without(secret: str, said: bytes) -> bytes:
    """What an upstream says, without the key that it may repeat: it is going to be logged, kept and shown.

    A key of parts ("Bearer …", AWS's pair) may be repeated in parts.
    """
    parts = {secret, *(part for part in re.split(r"[\s:]", secret) if len(part) >= PART_CHARS_MIN)} - {""}
    for part in sorted(parts, key=len, reverse=True):
        for text in (part, json.dumps(part)[1:-1], part.replace("/", "\\/")):
            said = said.replace(text.encode(), "…".encode())
    return said


async def _connected(sock: socket.socket) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if sys.platform == "win32":  # a pair of loopback sockets
        return await asyncio.open_connection(sock=sock)
    return await asyncio.open_unix_connection(sock=sock)
