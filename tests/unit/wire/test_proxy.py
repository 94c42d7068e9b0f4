"""Tunnels through real proxies of our own, on sockets."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import trustme

from burncloud.wire.pool import Origin, OriginKey, Pool, origin_key
from burncloud.wire.proxy import Proxy, parse_proxy
from burncloud.wire.resolver import Resolver
from burncloud.wire.tls import TlsSetting
from burncloud.wire.upstream import Upstream

KNOWN = "Basic " + base64.b64encode(b"us er:p@ss").decode()


class Sink:
    """Keeps what came."""

    def __init__(self) -> None:
        self.content = b""
        self.over = asyncio.Event()

    def on_answer(self, x: Any, up: Upstream, content: bytes | None, ended: bool) -> None:
        """An answer."""
        self.content += content or b""
        if ended:
            self.over.set()

    def on_lost(self, x: Any, up: Upstream, reason: str) -> None:
        """A break."""
        self.over.set()

    def on_switch(self, x: Any, up: Upstream) -> bool:
        """Nobody asked."""
        return False

    def on_writable(self, x: Any, up: Upstream, paused: bool) -> None:
        """Not here."""


class Proxies:
    """An HTTP proxy and a SOCKS5 proxy that know one user, before one upstream for every name."""

    def __init__(self) -> None:
        self.upstream_port = 0
        self.asked: list[str] = []
        self.open: list[tuple[asyncio.Task[Any] | None, asyncio.StreamWriter]] = []
        self.said = b""

    async def http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """CONNECT."""
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method, where, version = lines[0].split()
        fields = dict(line.split(": ", 1) for line in lines[1:] if line)
        assert (method, version, fields["host"]) == ("CONNECT", "HTTP/1.1", where)
        self.asked.append(where)
        if self.said:
            writer.write(self.said)
            writer.close()
        elif fields.get("proxy-authorization") != KNOWN:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")
        else:
            writer.write(b"HTTP/1.1 200 Connection established\r\nvia: me\r\n\r\n")
            await self._join(reader, writer)

    async def socks(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """SOCKS5, step by step."""
        assert await reader.readexactly(3) == b"\x05\x01\x02"
        writer.write(b"\x05\x02")
        assert (await reader.readexactly(1)) == b"\x01"
        user = await reader.readexactly((await reader.readexactly(1))[0])
        password = await reader.readexactly((await reader.readexactly(1))[0])
        good = (user, password) == (b"us er", b"p@ss")
        writer.write(b"\x01\x00" if good else b"\x01\x01")
        if not good:
            writer.close()
            return
        assert await reader.readexactly(4) == b"\x05\x01\x00\x03"
        name = await reader.readexactly((await reader.readexactly(1))[0])
        port = int.from_bytes(await reader.readexactly(2), "big")
        self.asked.append(f"{name.decode()}:{port}")
        writer.write(self.said or b"\x05\x00\x00\x03\x04abcd\x00\x50")
        if not self.said:
            await self._join(reader, writer)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.upstream_port)
        self.open.append((None, far_writer))
        await asyncio.gather(_pour(reader, far_writer), _pour(far_reader, writer), return_exceptions=True)


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()


def kept(proxies: Proxies, handler: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., Any]:
    """The handler, its connections remembered so that the test can end them."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        proxies.open.append((asyncio.current_task(), writer))
        with contextlib.suppress(asyncio.CancelledError):
            await handler(reader, writer)

    return handle


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The upstream."""
    with contextlib.suppress(asyncio.IncompleteReadError):
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[tuple[Proxies, dict[str, int], TlsSetting]]:
    """An upstream with TLS and its proxies."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("api.test").configure_cert(context)
    proxies = Proxies()
    upstream = await asyncio.start_server(kept(proxies, answer), "127.0.0.1", 0, ssl=context)
    proxies.upstream_port = upstream.sockets[0].getsockname()[1]
    http = await asyncio.start_server(kept(proxies, proxies.http), "127.0.0.1", 0)
    socks = await asyncio.start_server(kept(proxies, proxies.socks), "127.0.0.1", 0)
    ports = {"http": http.sockets[0].getsockname()[1], "socks5": socks.sockets[0].getsockname()[1]}
    yield proxies, ports, TlsSetting(str(tmp_path / "ca.pem"))
    for server in (upstream, http, socks):
        server.close()
    for task, writer in proxies.open:
        writer.transport.abort()
        if task is not None:
            task.cancel()
            await task


async def fetch(key: OriginKey, sink: Sink, denied: tuple[str, ...] = ()) -> str:
    """One request; the reason why there was none."""
    pool = Pool(sink, Resolver(denied), 5_000, 60_000)
    dialled: asyncio.Future[tuple[Upstream | None, str]] = asyncio.get_running_loop().create_future()
    origin: Origin = pool.origin(key)
    pool.dial(origin, lambda up, reason: dialled.set_result((up, reason)))
    up, reason = await dialled
    if up is not None:
        up.begin(object())
        up.write(b"GET / HTTP/1.1\r\nhost: api.test\r\n\r\n")
        await sink.over.wait()
        up.abort()
    return reason


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_tls_inside_a_tunnel(place: tuple[Proxies, dict[str, int], TlsSetting], scheme: str) -> None:
    """The proxy knows the name; the certificate is the upstream's; a wrong one is refused inside the tunnel."""
    proxies, ports, tls = place
    proxy = parse_proxy(f"{scheme}://us%20er:p%40ss@127.0.0.1:{ports[scheme]}")
    sink = Sink()
    assert await fetch(origin_key("https://api.test/v1", tls, proxy), sink) == ""
    assert sink.content == b"hello"
    assert proxies.asked == ["api.test:443"]
    assert await fetch(origin_key("https://other.test", tls, proxy), Sink()) == "tls"


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_a_proxy_that_does_not_let_us(place: tuple[Proxies, dict[str, int], TlsSetting], scheme: str) -> None:
    proxies, ports, tls = place
    stranger = Proxy(scheme, "127.0.0.1", ports[scheme], "me", "wrong")
    assert await fetch(origin_key("https://api.test", tls, stranger), Sink()) == "refused"
    known = Proxy(scheme, "127.0.0.1", ports[scheme], "us er", "p@ss")
    broken = {
        "http": [b"HTTP/1.1 502 Bad\r\n\r\n", b"SSH-2.0\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\nextra", b"HTTP/1.1"],
        "socks5": [b"\x05\x05\x00\x01", b"\x04\x00\x00\x01"],
    }
    for proxies.said in broken[scheme]:
        assert await fetch(origin_key("https://api.test", tls, known), Sink()) == "refused", proxies.said


async def test_denied_addresses_are_denied_behind_a_proxy(
    place: tuple[Proxies, dict[str, int], TlsSetting],
) -> None:
    proxies, ports, tls = place
    proxy = Proxy("http", "127.0.0.1", ports["http"], "us er", "p@ss")
    assert await fetch(origin_key("https://169.254.169.254", tls, proxy), Sink(), ("169.254.0.0/16",)) == "refused"
    assert proxies.asked == []
    assert await fetch(origin_key("https://api.test", tls, proxy), Sink(), ("127.0.0.0/8",)) == "refused"


def test_the_pool_keeps_proxies_apart() -> None:
    """Rule 6: two channels with another proxy each share no connection."""
    plain, one = origin_key("https://a.test"), origin_key("https://a.test", proxy=parse_proxy("http://p:1"))
    other = origin_key("https://a.test", proxy=parse_proxy("http://u@p:1"))
    assert len({plain, one, other, origin_key("https://a.test", proxy=parse_proxy("http://p:1/"))}) == 3


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("", None),
        ("http://p.example", Proxy("http", "p.example", 8080)),
        ("socks5h://u:p%3A@[::1]:9", Proxy("socks5", "::1", 9, "u", "p:")),
    ],
)
def test_how_a_proxy_is_written(text: str, want: Proxy | None) -> None:
    assert parse_proxy(text) == want
    assert "u" not in repr(want).removeprefix("socks5").removeprefix("http")


@pytest.mark.parametrize("text", ["p.example:80", "https://p", "http://", "http://p:x", "http://p/way", "http://p?a"])
def test_what_is_no_proxy(text: str) -> None:
    with pytest.raises(ValueError, match="write it like"):
        parse_proxy(text)
