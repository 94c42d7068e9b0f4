"""The link: framed messages both ways, and a worker's end that comes back by itself."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from burncloud.domain import link
from burncloud.domain.link import Ack, Bell, Grant, Hello, Ready, Welcome
from burncloud.wire.link import LinkClient, LinkServer, Peer


class Ends:
    """Both ends of a link, and what they heard."""

    def __init__(self, address: str) -> None:
        self.heard: list[Any] = []
        self.peers: list[Peer[link.ToControl]] = []
        self.told: list[Any] = []
        self.breaks = 0
        self.server = LinkServer(address, self.peers.append, lambda peer, m: self.heard.append(m), self.peers.remove)
        self.client: LinkClient

    async def start(self) -> None:
        """Both."""
        address = await self.server.start()
        self.client = LinkClient(address, self._open, lambda peer, m: self.told.append(m), self._close)
        self.client.start()
        await self.until(lambda: bool(self.peers))

    def _open(self, peer: Peer[link.ToWorker]) -> None:
        peer.send(Hello(os.getpid(), 3, "secret"))

    def _close(self, peer: Peer[link.ToWorker]) -> None:
        self.breaks += 1

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait for something to become true."""
        async with asyncio.timeout(5):
            while not true():  # noqa: ASYNC110 - a fact to wait for, not an event
                await asyncio.sleep(0.002)


@pytest.fixture(params=["unix", "tcp"])
async def ends(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Ends]:
    """A link over either kind of socket."""
    made = Ends(str(tmp_path / "link.sock") if request.param == "unix" else "127.0.0.1:0")
    await made.start()
    yield made
    made.client.close()
    made.server.close()
    await asyncio.sleep(0.01)


async def test_both_ways(ends: Ends) -> None:
    """In order, whole, from either side."""
    await ends.until(lambda: len(ends.heard) == 1)
    assert ends.heard == [Hello(os.getpid(), 3, "secret")]
    peer = ends.peers[0]
    peer.send(Welcome("ledger", "node"))
    peer.send_raw(link.frame(Ready(5)) + link.frame(Ack(6)))
    for n in range(500):
        assert ends.client.send(Bell(n))
    await ends.until(lambda: len(ends.heard) == 501 and len(ends.told) == 3)
    assert ends.told == [Welcome("ledger", "node"), Ready(5), Ack(6)]
    assert ends.heard[1:] == [Bell(n) for n in range(500)]
    assert ends.client.up


async def test_it_comes_back(ends: Ends) -> None:
    """After a break; what is said in between is not said at all."""
    ends.peers[0].close()
    await ends.until(lambda: ends.breaks == 1)
    assert not ends.client.send(Bell(1))
    await ends.until(lambda: len(ends.heard) == 2)
    await ends.until(lambda: ends.client.up)
    assert ends.client.send(Bell(2))
    await ends.until(lambda: len(ends.heard) == 3)
    assert ends.heard[1:] == [Hello(os.getpid(), 3, "secret"), Bell(2)]


async def test_closed_is_closed(ends: Ends) -> None:
    """A worker that ends does not come back."""
    ends.client.close()
    await ends.until(lambda: not ends.peers)
    await asyncio.sleep(0.1)
    assert not ends.peers
    assert not ends.client.up


@pytest.mark.parametrize("rubbish", [b"\xff\xff\xff\xff", b"\x01\0\0\0\xc1", b"\x05\0\0\0hello", b"\0\0\0\0"])
async def test_rubbish_ends_the_connection(ends: Ends, rubbish: bytes) -> None:
    """A frame that is too long or is no message."""
    first = ends.peers[0]
    first.data_received(rubbish)
    await ends.until(lambda: ends.breaks == 1)
    assert not first.open


async def test_where_reads_end_says_nothing(ends: Ends) -> None:
    """Frames in any split."""
    peer = ends.peers[0]
    await ends.until(lambda: len(ends.heard) == 1)
    data = b"".join(link.frame(Bell(n)) for n in range(300))
    for size in (1, 3, 7, 1000):
        ends.heard.clear()
        for at in range(0, len(data), size):
            peer.data_received(data[at : at + size])
        assert ends.heard == [Bell(n) for n in range(300)]


async def test_only_this_user_may_connect(tmp_path: Path) -> None:
    """0600, from the first moment on."""
    path = tmp_path / "link.sock"
    server = LinkServer(str(path), lambda peer: None, lambda peer, m: None, lambda peer: None)
    await server.start()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    server.close()


async def test_the_server_may_come_later(tmp_path: Path) -> None:
    """A worker that starts first waits."""
    path = str(tmp_path / "link.sock")
    told: list[Any] = []
    client = LinkClient(path, lambda peer: None, lambda peer, m: told.append(m), lambda peer: None)
    client.start()
    await asyncio.sleep(0.12)
    assert not client.up
    server = LinkServer(path, lambda peer: peer.send(Grant(1, "ok")), lambda peer, m: None, lambda peer: None)
    await server.start()
    async with asyncio.timeout(5):
        while not told:  # noqa: ASYNC110 - a fact to wait for, not an event
            await asyncio.sleep(0.005)
    client.close()
    server.close()
    await asyncio.sleep(0.01)


async def test_a_peer_that_is_gone() -> None:
    """Sending to it is no error, and it closes once."""
    closed: list[Any] = []
    peer: Peer[link.ToWorker] = Peer(link.decode_to_worker, lambda p: None, lambda p, m: None, closed.append)
    peer.send(Bell(1))
    peer.send_raw(b"x")
    peer.close()
    peer.connection_lost(None)
    assert closed == []
