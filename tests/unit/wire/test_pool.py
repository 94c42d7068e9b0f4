"""Connections to upstreams: which one is taken, when one is dialled, and how dialling fails."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from burncloud import clock
from burncloud.wire import pool as module
from burncloud.wire.pool import IDLE_MAX, Origin, OriginKey, Pool, first_connected, origin_key
from burncloud.wire.resolver import Address, Resolver
from burncloud.wire.tls import TlsSetting
from burncloud.wire.upstream import Upstream
from tests.ports import free_port


class Sink:
    """Hears nothing."""

    def on_answer(self, x: Any, up: Upstream, content: bytes | None, ended: bool) -> None:
        """Not here."""

    def on_lost(self, x: Any, up: Upstream, reason: str) -> None:
        """Not here."""

    def on_switch(self, x: Any, up: Upstream) -> bool:
        """Nobody asked."""
        return False

    def on_writable(self, x: Any, up: Upstream, paused: bool) -> None:
        """Not here."""


class Stub:
    """A connection as an Origin sees it."""

    def __init__(self) -> None:
        self.lost = False
        self.keep = True
        self.idle_since = 0.0
        self.resumed = self.closed = self.aborted = False
        self.transport = self

    def is_closing(self) -> bool:
        """Whether it was closed."""
        return self.closed

    def resume(self) -> None:
        """Read again."""
        self.resumed = True

    def close(self) -> None:
        """Close."""
        self.closed = True

    def abort(self) -> None:
        """Cut."""
        self.aborted = True


def origin(count: int = 0) -> tuple[Origin, list[Any]]:
    """An origin with so many idle connections, given back one second after the other."""
    made = Origin(OriginKey("http", "h", 80, TlsSetting()))
    stubs: list[Any] = [Stub() for _ in range(count)]
    for n, stub in enumerate(stubs):
        made.open += 1
        made.give(stub, float(n))
    return made, stubs


# Origins


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("https://api.test/v1", OriginKey("https", "api.test", 443, TlsSetting())),
        ("http://API.test:8080", OriginKey("http", "api.test", 8080, TlsSetting())),
        ("http://[::1]:80/x", OriginKey("http", "::1", 80, TlsSetting())),
    ],
)
def test_keys(url: str, key: OriginKey) -> None:
    """Scheme, host, port and, with TLS only, its setting."""
    assert origin_key(url) == key
    private = TlsSetting("ca.pem", False)
    assert origin_key(url, private).tls == (private if key.scheme == "https" else TlsSetting())


@pytest.mark.parametrize("url", ["api.test", "ftp://h", "https://", "http://h:99999", "unix:/x", ""])
def test_no_keys(url: str) -> None:
    """Said in words."""
    with pytest.raises(ValueError):
        origin_key(url)


def test_the_youngest_is_taken() -> None:
    """It is the least likely to have been closed by the other side."""
    made, stubs = origin(3)
    assert [made.take() for _ in range(4)] == [*reversed(stubs), None]


def test_dead_ones_are_passed_over() -> None:
    """Lost or closing ones are nobody's."""
    made, stubs = origin(3)
    stubs[2].lost = True
    stubs[1].closed = True
    assert made.take() is stubs[0]
    assert made.take() is None


def test_giving_back() -> None:
    """Read again, or cut off where it must not be used again; what is lost is nobody's."""
    made, (good,) = origin(1)
    assert good.resumed
    bad: Any = Stub()
    bad.keep = False
    made.give(bad, 1.0)
    assert bad.aborted
    lost: Any = Stub()
    lost.lost = True
    made.give(lost, 1.0)
    assert made.take() is good
    assert made.take() is None


def test_what_nobody_needs_any_more_is_let_go() -> None:
    """Idle connections are closed, those in use when they are given back; then the origin is forgotten."""
    pool = Pool(Sink(), Resolver(()), 1000, 60_000)
    key = OriginKey("http", "h", 80, TlsSetting())
    made = pool.origin(key)
    made.join()
    made.join()
    idle: Any = Stub()
    busy: Any = Stub()
    made.open = 2
    made.give(idle, 0.0)
    made.leave()
    pool.sweep(1.0)
    assert (idle.closed, made.abandoned) == (False, False)
    made.leave()
    pool.sweep(1.0)
    assert idle.closed
    made.forget(idle)
    made.give(busy, 2.0)
    assert busy.aborted
    assert pool.origin(key) is made
    made.forget(busy)
    pool.sweep(3.0)
    assert pool.origin(key) is not made


def test_a_channel_that_is_changed_keeps_its_connections() -> None:
    """The old one leaves and the new one joins between two looks."""
    made, [stub] = origin(1)
    made.join()
    made.leave()
    made.join()
    assert not made.abandoned
    assert made.take() is stub


def test_idle_ones_are_bounded() -> None:
    """A burst leaves at most so many behind."""
    _, stubs = origin(IDLE_MAX + 2)
    assert [stub.aborted for stub in stubs[-3:]] == [False, True, True]


def test_expiry_and_closing() -> None:
    """The oldest go first; close() closes all."""
    made, stubs = origin(4)
    made.expire(2.0)
    assert [stub.closed for stub in stubs] == [True, True, False, False]
    assert repr(made) == "<Origin http://h:80, 4 open, 2 idle>"
    made.forget(stubs[2])
    made.close()
    assert [stub.closed for stub in stubs] == [True, True, False, True]
    assert made.open == 3


def test_one_origin_a_key() -> None:
    """Everybody shares it."""
    pool = Pool(Sink(), Resolver(), 1000, 1000)
    key = OriginKey("http", "h", 80, TlsSetting())
    assert pool.origin(key) is pool.origin(OriginKey("http", "h", 80, TlsSetting()))
    assert pool.origin(key._replace(tls=TlsSetting("x"))) is not pool.origin(key)
    assert pool.origin(key._replace(port=81)) is not pool.origin(key)


# Dialling


async def dial(pool: Pool, key: OriginKey) -> tuple[Upstream | None, str]:
    """What came of a dial."""
    future: asyncio.Future[tuple[Upstream | None, str]] = asyncio.get_running_loop().create_future()
    made = pool.origin(key)
    pool.dial(made, lambda up, reason: future.set_result((up, reason)))
    assert made.dialling == 1
    found = await asyncio.wait_for(future, 10)
    assert made.dialling == 0
    assert made.open == (found[0] is not None)
    return found


@pytest.fixture
def server() -> Iterator[int]:
    """The port of a server whose system takes connections."""
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made.getsockname()[1]


async def test_a_connection(server: int) -> None:
    """Counted while it is open."""
    pool = Pool(Sink(), Resolver(), 1000, 1000)
    key = OriginKey("http", "localhost", server, TlsSetting())
    up, reason = await dial(pool, key)
    assert up is not None
    assert reason == ""
    raw = up.transport.get_extra_info("socket")
    assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert raw.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) <= 2 * module.RECEIVE_BUFFER_BYTES
    up.abort()
    await asyncio.sleep(0.01)
    assert pool.origin(key).open == 0


async def test_a_unix_socket(tmp_path: Path) -> None:
    """The control process is reached so."""
    path = str(tmp_path / "s")
    pool = Pool(Sink(), Resolver(), 1000, 1000)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path)
        made.listen()
        up, _ = await dial(pool, OriginKey("unix", path, 0, TlsSetting()))
        assert up is not None
        up.abort()
        await asyncio.sleep(0.01)
    assert (await dial(pool, OriginKey("unix", path + "x", 0, TlsSetting())))[1] == "refused"


@pytest.mark.parametrize("host", ["no.such.host.invalid", "a..b", "x" * 300])
async def test_names_that_are_none(host: str) -> None:
    """Unknown, or no name at all: an answer, not an exception in some task."""
    pool = Pool(Sink(), Resolver(), 5000, 1000)
    assert await dial(pool, OriginKey("http", host, 80, TlsSetting())) == (None, "dns")


async def test_refused() -> None:
    """Nobody listens."""
    pool = Pool(Sink(), Resolver(), 5000, 1000)
    assert await dial(pool, OriginKey("http", "127.0.0.1", free_port(), TlsSetting())) == (None, "refused")


async def test_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody answers."""

    async def never(addresses: object) -> socket.socket:
        await asyncio.sleep(60)
        raise AssertionError

    monkeypatch.setattr(module, "first_connected", never)
    pool = Pool(Sink(), Resolver(), 50, 1000)
    assert await dial(pool, OriginKey("http", "127.0.0.1", 9, TlsSetting())) == (None, "timeout")


# Several addresses


async def test_the_second_address(server: int) -> None:
    """The first refuses: the second is tried at once."""
    addresses: list[Address] = [(socket.AF_INET, "127.0.0.1", free_port()), (socket.AF_INET, "127.0.0.1", server)]
    started = asyncio.get_running_loop().time()
    sock = await first_connected(addresses)
    assert sock.getpeername()[1] == server
    assert asyncio.get_running_loop().time() - started < module.STAGGER_S
    sock.close()


async def test_a_slow_first_address(server: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a quarter of a second the second is tried beside it; the loser is closed."""
    real: Callable[[Any], Any] = module._connect_socket
    ended: list[str] = []

    async def connect(address: tuple[int, str, int]) -> socket.socket:
        if address[1] == "192.0.2.1":
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                ended.append("cancelled")
                raise
        sock: socket.socket = await real(address)
        return sock

    monkeypatch.setattr(module, "_connect_socket", connect)
    monkeypatch.setattr(module, "STAGGER_S", 0.05)
    sock = await first_connected([(socket.AF_INET, "192.0.2.1", 1), (socket.AF_INET, "127.0.0.1", server)])
    assert sock.getpeername()[1] == server
    await asyncio.sleep(0)
    assert ended == ["cancelled"]
    sock.close()


async def test_no_address_answers() -> None:
    """The last error tells."""
    addresses: list[Address] = [(socket.AF_INET, "127.0.0.1", free_port()) for _ in range(3)]
    with pytest.raises(ConnectionRefusedError):
        await first_connected(addresses)


# TLS


class TlsServer:
    """A server with this certificate, in a thread; keeps the names that clients asked for.

    It answers the first six bytes with `head` and themselves.
    """

    def __init__(self, certificate: trustme.LeafCert, head: bytes = b"") -> None:
        self.names: list[str | None] = []
        self._head = head
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(self._context)
        self._context.sni_callback = lambda sock, name, context: self.names.append(name)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(sock,), daemon=True).start()

    def _answer(self, sock: socket.socket) -> None:
        try:
            sock.settimeout(5)
            with self._context.wrap_socket(sock, server_side=True) as tls:
                said = tls.recv(6)
                if said:
                    tls.sendall(self._head + said)
                    tls.recv(1)
        except OSError:
            sock.close()

    def close(self) -> None:
        """No more."""
        self._socket.close()


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[trustme.LeafCert, str]:
    """(of localhost, the file of its authority)."""
    ca = trustme.CA()
    path = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(str(path))
    return ca.issue_cert("localhost"), str(path)


async def test_tls(certificate: tuple[trustme.LeafCert, str]) -> None:
    """Verified against the private CA, asked for by name; without it, or under another name, no connection."""
    server = TlsServer(certificate[0])
    trusted = TlsSetting(certificate[1])
    pool = Pool(Sink(), Resolver(), 5000, 1000)
    for host, setting, outcome in (
        ("localhost", trusted, ""),
        ("localhost", TlsSetting(), "tls"),
        ("127.0.0.1", trusted, "tls"),
        ("127.0.0.1", TlsSetting(verify=False), ""),
    ):
        up, reason = await dial(pool, OriginKey("https", host, server.port, setting))
        assert reason == outcome
        assert (up is not None) is (outcome == "")
        if up is not None:
            up.abort()
    assert server.names[0] == "localhost"
    await asyncio.sleep(0.05)
    server.close()


class Kept(Sink):
    """Keeps the content that came."""

    def __init__(self) -> None:
        self.came: asyncio.Queue[tuple[Any, bytes | None]] = asyncio.Queue()

    def on_answer(self, x: Any, up: Upstream, content: bytes | None, ended: bool) -> None:
        """Content."""
        self.came.put_nowait((x, content))


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_tls_is_read_into_one_buffer(loop: str, certificate: tuple[trustme.LeafCert, str]) -> None:
    """All connections share it; what one has read is its own once another reads; nothing stays of one that is gone."""
    pytest.importorskip(loop).run(read_into_one_buffer(*certificate))


async def read_into_one_buffer(certificate: trustme.LeafCert, ca_file: str) -> None:
    """Two connections, which read at about the same time."""
    server = TlsServer(certificate, b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n")
    sink = Kept()
    pool = Pool(sink, Resolver(), 5000, 1000)
    key, ups = OriginKey("https", "localhost", server.port, TlsSetting(ca_file)), list[Upstream]()
    for name in "ab":
        up, _ = await dial(pool, key)
        pool.origin(key).open -= 1  # `dial` counts from none
        assert isinstance(up, asyncio.BufferedProtocol)
        assert not isinstance(up, asyncio.Protocol), "uvloop would read it as such"
        up.begin(name)
        up.write(name.encode() * 6)
        ups.append(up)
    async with asyncio.timeout(5):
        came = [await sink.came.get(), await sink.came.get()]
    assert sorted(came, key=str) == [("a", b"a" * 6), ("b", b"b" * 6)]
    gc.collect()
    gc.disable()
    try:
        while ups:
            ups.pop().abort()
        up = None
        await asyncio.sleep(0.1)
        assert not [one for one in gc.get_objects() if isinstance(one, Upstream) and one.origin is pool.origin(key)]
    finally:
        gc.enable()
    server.close()


async def test_a_host_that_moves_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is cut off; but a connection to where it was is used no more, busy ones neither when they come back."""
    now_ms = 1_000_000
    monkeypatch.setattr(clock, "monotonic_ms", lambda: now_ms)
    here = ["127.0.0.1"]
    asked = 0

    async def getaddrinfo(host: str, port: int, **hints: Any) -> list[Any]:
        nonlocal asked
        asked += 1
        return [(socket.AF_INET, 1, 6, "", (address, port)) for address in here]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    with socket.create_server(("0.0.0.0", 0)) as made:
        pool = Pool(Sink(), Resolver(), 1000, 600_000)
        key = OriginKey("http", "moving.test", made.getsockname()[1], TlsSetting())
        origin = pool.origin(key)
        origin.join()
        idle, _ = await dial(pool, key)
        assert idle is not None
        origin.open -= 1  # `dial` counts from none
        busy, _ = await dial(pool, key)
        origin.open += 1
        assert busy is not None
        for up in (idle, busy):
            up.keep = True
        origin.give(idle, 0.0)
        pool.sweep(0.0)
        here[:] = ["127.0.0.2"]
        for second in range(40, 121, 5):
            now_ms += 5_000
            pool.sweep(float(second))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert asked < 6, "as rarely as its answers get old"
        assert idle.transport.is_closing()
        assert not busy.transport.is_closing()
        await asyncio.sleep(0.02)
        origin.give(busy, 1.0)
        assert origin.take() is None
        await asyncio.sleep(0.02)
        fresh, _ = await dial(pool, key)
        assert fresh is not None
        assert fresh.transport.get_extra_info("peername")[0] == "127.0.0.2"
        fresh.keep = True
        origin.give(fresh, 2.0)
        assert origin.take() is fresh
        fresh.abort()
        await asyncio.sleep(0.02)
