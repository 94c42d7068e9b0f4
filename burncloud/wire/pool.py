"""Upstream connections by origin: the idle ones kept ready, new ones dialled.

An `Origin` is everything two connections must share to be exchangeable: scheme, host, port, TLS setting and proxy
(DATAPLANE.md rule 6).  A request takes the connection that was idle for the shortest time.  Dialling goes
by address, a second address 250 ms after the first (rule 18); a connection to an address that its host has left is
used no more.  An origin has so many connections and no more; who finds them all in use waits in a line of his own, and
the lines take turns.
"""

from __future__ import annotations

import asyncio
import mmap
import socket
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from burncloud.wire.proxy import Proxy, tunnel
from burncloud.wire.resolver import Address, Resolver
from burncloud.wire.tls import TlsSetting, context
from burncloud.wire.upstream import BUFFER_BYTES, Sink, TlsUpstream, Upstream

STAGGER_S: Final = 0.25
RECEIVE_BUFFER_BYTES: Final = 64 << 10
IDLE_MAX: Final = 1024
FULL: Final = "full"
"""Why there is no connection: all that may be are in use, and none became free in time."""
LOOK_S: Final = 5.0
"""Where connections are open, names are looked at this often (and asked again when their answers are old)."""


class OriginKey(NamedTuple):
    """What makes connections exchangeable."""

    scheme: str
    """http · https · unix (`host` is then a path)."""
    host: str
    port: int
    tls: TlsSetting
    proxy: Proxy | None = None


def origin_key(
    base_url: str,
    tls: TlsSetting = TlsSetting(),  # noqa: B008 - immutable
    proxy: Proxy | None = None,
) -> OriginKey:
    """The origin of a base URL.  Raises ValueError, saying what is wrong with it."""
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{base_url!r} is not a base URL; write it like https://api.example.com/v1")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return OriginKey(parts.scheme, parts.hostname, port, tls if parts.scheme == "https" else TlsSetting(), proxy)


Done = Callable[["Upstream | None", str], None]


class Waiting(NamedTuple):
    """Somebody who wants a connection."""

    done: Done
    until: float
    """Loop time."""


def _nobody_waits(origin: Origin, up: Upstream | None) -> None:
    """Until somebody does."""


class Origin:
    """The connections to one origin."""

    __slots__ = ("_idle", "_users", "abandoned", "dialling", "key", "left", "lines", "open", "room")

    def __init__(self, key: OriginKey) -> None:
        self.key = key
        self._idle: list[Upstream] = []
        self._users = 0
        self.abandoned = False
        """Nobody who joined is left: connections are not kept any more."""
        self.left: frozenset[str] = frozenset()
        """Addresses that the host has no more."""
        self.open = 0
        self.dialling = 0
        self.lines: OrderedDict[int, deque[Waiting]] | None = None
        """Those who wait for a connection, by who they are; None = nobody does."""
        self.room: Callable[[Origin, Upstream | None], None] = _nobody_waits
        """Called while somebody waits: with a connection that is free, or since one is gone."""

    def __repr__(self) -> str:
        return f"<Origin {self.key.scheme}://{self.key.host}:{self.key.port}, {self.open} open, {len(self._idle)} idle>"

    def join(self) -> None:
        """Somebody (a channel) will ask for connections."""
        self._users += 1
        self.abandoned = False

    def leave(self) -> None:
        """Somebody who joined will ask no more."""
        self._users -= 1
        self.abandoned = not self._users

    def take(self) -> Upstream | None:
        """The connection idle for the shortest time, or None."""
        idle = self._idle
        while idle:
            up = idle.pop()
            if not up.lost and not up.transport.is_closing():
                return up
        return None

    def give(self, up: Upstream, now: float) -> None:
        """Take back a connection whose answer is complete; it is closed if it cannot be used again."""
        if up.lost:
            return
        if not up.keep or self.abandoned or len(self._idle) >= IDLE_MAX or (self.left and self._is_left(up)):
            # not close(), which would wait for an upload that the upstream no longer reads
            up.abort()
            return
        up.resume()
        up.idle_since = now
        if self.lines is not None:
            self.room(self, up)
            return
        self._idle.append(up)

    def forget(self, up: Upstream) -> None:
        """A connection is gone."""
        self.open -= 1
        if up in self._idle:
            self._idle.remove(up)
        if self.lines is not None:
            self.room(self, None)

    def next(self) -> Waiting | None:
        """The one whose turn it is; None = nobody waits any more."""
        lines = self.lines
        if not lines:
            return None
        who, line = lines.popitem(last=False)
        waiting = line.popleft()
        if line:
            lines[who] = line  # at the end: the others come first
        elif not lines:
            self.lines = None
        return waiting

    def leave_addresses(self, left: frozenset[str]) -> None:
        """The host has these no more: idle connections to them are closed, busy ones when they come back."""
        self.left = left
        if left:
            for up in [up for up in self._idle if self._is_left(up)]:
                self._idle.remove(up)
                up.transport.close()

    def _is_left(self, up: Upstream) -> bool:
        peer = up.transport.get_extra_info("peername")
        return isinstance(peer, tuple) and peer[0] in self.left

    def expire(self, older_than: float) -> None:
        """Close what has been idle since before this loop time."""
        while self._idle and self._idle[0].idle_since < older_than:
            self._idle.pop(0).transport.close()

    def close(self) -> None:
        """Close every idle connection."""
        for up in self._idle:
            up.transport.close()
        self._idle = []


class Pool:
    """All origins of a worker."""

    def __init__(
        self, sink: Sink, resolver: Resolver, connect_timeout_ms: int, idle_ms: int, most: int = 1 << 30
    ) -> None:
        """`most`: connections to one origin."""
        self._sink = sink
        self._most = most
        self._resolver = resolver
        self._connect_timeout_s = connect_timeout_ms / 1000
        self._idle_s = idle_ms / 1000
        self._origins: dict[OriginKey, Origin] = {}
        self._look_at = 0.0
        self._tls_buffer = memoryview(mmap.mmap(-1, BUFFER_BYTES))
        self._tasks: set[asyncio.Task[None]] = set()

    def origin(self, key: OriginKey) -> Origin:
        """The one Origin of a key."""
        origin = self._origins.get(key)
        if origin is None:
            origin = self._origins[key] = Origin(key)
        return origin

    def dial(self, origin: Origin, done: Done, who: int = 0) -> None:
        """Open a connection and call `done` with it, or with None and a reason (timeout, refused, tls, dns, full).

        Where an origin has all it may have, `who` waits in his line for as long as a connection may take.
        """
        if origin.open + origin.dialling >= self._most:
            until = asyncio.get_running_loop().time() + self._connect_timeout_s
            if origin.lines is None:
                origin.lines, origin.room = OrderedDict(), self._make_room
            origin.lines.setdefault(who, deque()).append(Waiting(done, until))
            return
        self._begin(origin, done)

    def _make_room(self, origin: Origin, up: Upstream | None) -> None:
        """A connection is free, or there is room for one: for the next in line."""
        waiting = origin.next()
        if waiting is None:
            return
        if up is None:
            self._begin(origin, waiting.done)
        else:  # in a turn of its own: who gives it back is in the middle of something
            asyncio.get_running_loop().call_soon(self._hand_over, origin, up, waiting.done)

    def _hand_over(self, origin: Origin, up: Upstream, done: Done) -> None:
        if up.lost:
            self.dial(origin, done)
        else:
            done(up, "")

    def _give_up(self, origin: Origin, now: float) -> None:
        """Those who have waited for too long."""
        for who, line in list((origin.lines or {}).items()):
            while line and line[0].until < now:
                line.popleft().done(None, FULL)
            if not line and origin.lines is not None:
                origin.lines.pop(who, None)
        if not origin.lines:
            origin.lines = None

    def _begin(self, origin: Origin, done: Done) -> None:
        origin.dialling += 1
        task = asyncio.get_running_loop().create_task(self._dial(origin, done), name="dial")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def sweep(self, now: float) -> None:
        """Close connections that have been idle for too long, and forget origins that nobody needs any more."""
        over: list[Origin] = []
        look = now >= self._look_at
        if look:
            self._look_at = now + LOOK_S
        for origin in self._origins.values():
            if origin.open:  # there may be ten thousand origins, and four sweeps a second
                origin.expire(now - self._idle_s)
                if look and origin.key.port:
                    self._look(origin)
            if origin.lines is not None:
                self._give_up(origin, now)
            if origin.abandoned:
                origin.close()
                if not origin.open and not origin.dialling:
                    over.append(origin)
        for origin in over:
            del self._origins[origin.key]

    def _look(self, origin: Origin) -> None:
        """Follow the host to where it is now."""
        hop = origin.key.proxy or origin.key
        self._resolver.look(hop.host, hop.port)
        left = self._resolver.left(hop.host, hop.port)
        if left != origin.left:
            origin.leave_addresses(left)

    def close(self) -> None:
        """Close every idle connection."""
        for origin in self._origins.values():
            origin.close()

    async def _dial(self, origin: Origin, done: Done) -> None:
        up: Upstream | None = None
        reason = ""
        try:
            up = await asyncio.wait_for(self._connect(origin), self._connect_timeout_s)
            origin.open += 1
        except TimeoutError:
            reason = "timeout"
        except socket.gaierror:
            reason = "dns"
        except OSError as error:
            reason = "tls" if type(error).__module__ == "ssl" else "refused"
        except UnicodeError:
            reason = "dns"
        finally:
            origin.dialling -= 1
            if up is None and origin.lines is not None:
                self._make_room(origin, None)
            done(up, reason)

    async def _connect(self, origin: Origin) -> Upstream:
        loop = asyncio.get_running_loop()
        key = origin.key

        def protocol() -> Upstream:
            if key.scheme == "https":
                return TlsUpstream(self._sink, origin, loop, self._tls_buffer)
            return Upstream(self._sink, origin, loop)

        if key.scheme == "unix":
            _, up = await loop.create_unix_connection(protocol, key.host)
            return up
        hop = key if key.proxy is None else key.proxy
        if key.proxy is not None:
            self._resolver.check(key.host)
        sock = await first_connected(await self._resolver.addresses(hop.host, hop.port))
        try:
            if key.proxy is not None:
                await tunnel(sock, key.proxy, key.host, key.port)
            ssl: Any = context(key.tls) if key.scheme == "https" else None
            _, up = await loop.create_connection(
                protocol, sock=sock, ssl=ssl, server_hostname=key.host if ssl is not None else None
            )
        except BaseException:
            sock.close()
            raise
        return up


async def first_connected(addresses: list[Address]) -> socket.socket:
    """A socket connected to the first address that answers, each next tried STAGGER_S after the one before.

    Raises the last OSError if none does.
    """
    if len(addresses) == 1:
        return await _connect_socket(addresses[0])
    tasks: list[asyncio.Task[socket.socket]] = []
    failure: BaseException = OSError("no address")
    loop = asyncio.get_running_loop()
    pending: set[asyncio.Task[socket.socket]] = set()
    queue = list(addresses)
    try:
        while queue or pending:
            if queue:
                task = loop.create_task(_connect_socket(queue.pop(0)), name="connect")
                tasks.append(task)
                pending.add(task)
            waiting: Awaitable[Any] = asyncio.wait(
                pending, timeout=STAGGER_S if queue else None, return_when=asyncio.FIRST_COMPLETED
            )
            done, pending = await waiting
            for finished in done:
                error = finished.exception()
                if error is None:
                    tasks.remove(finished)
                    sock: socket.socket = finished.result()
                    return sock
                failure = error
        raise failure
    finally:
        for task in tasks:
            if not task.done():
                task.cancel()
            elif not task.cancelled() and task.exception() is None:
                task.result().close()


async def _connect_socket(address: Address) -> socket.socket:
    family, host, port = address
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(sock, (host, port))
    except BaseException:
        sock.close()
        raise
    return sock
