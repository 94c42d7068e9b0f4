"""Accepting from shared sockets: one a wake, not while clearly busier than another, never not at all."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from burncloud.wire.listener import DRAINING, SLOTS, UNUSED, Listener, LoadMap


@pytest.fixture
def load_fd(tmp_path: Path) -> Iterator[int]:
    """A load map as the supervisor makes it: no worker accepts."""
    fd = os.open(tmp_path / "load", os.O_RDWR | os.O_CREAT)
    os.write(fd, b"\xff" * 4 * SLOTS)
    yield fd
    os.close(fd)


def counts(fd: int) -> list[int]:
    """The map's first three slots."""
    return list(struct.unpack("<3I", os.pread(fd, 12, 0)))


@pytest.fixture
def door() -> Iterator[socket.socket]:
    """A listening socket."""
    with socket.create_server(("127.0.0.1", 0), backlog=200) as sock:
        yield sock


class Guest(asyncio.Protocol):
    """Counts its connections with its listener."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Here."""
        raw = transport.get_extra_info("socket")
        assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        self._listener.count(1)

    def connection_lost(self, exc: Exception | None) -> None:
        """Gone."""
        self._listener.count(-1)


def worker(door: socket.socket, load: LoadMap, workers: int) -> Listener:
    """One worker's listener on its own descriptor of the door."""
    listener = Listener([door.dup()], load, workers, lambda: Guest(listener))
    return listener


async def until(true: Any, seconds: float = 5) -> None:
    """Wait for something to become true."""
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110 - a fact to wait for, not an event
            await asyncio.sleep(0.002)


def connect(door: socket.socket, count: int, stack: contextlib.ExitStack) -> list[socket.socket]:
    """So many clients."""
    return [stack.enter_context(socket.create_connection(door.getsockname())) for _ in range(count)]


def test_the_map(load_fd: int) -> None:
    """A worker counts only once it accepts; the least of the others is what matters."""
    maps = [LoadMap(load_fd, n) for n in range(3)]
    assert counts(load_fd) == [UNUSED] * 3
    assert maps[0].least_other() == UNUSED
    maps[1].set(7)
    maps[2].set(5)
    assert (maps[0].least_other(), maps[2].least_other()) == (5, 7)
    maps[2].set(UNUSED)
    assert maps[0].least_other() == 7


def test_no_map() -> None:
    """One worker needs none."""
    alone = LoadMap(-1, 0)
    alone.set(5)
    assert alone.least_other() == UNUSED


async def test_connections_are_shared(door: socket.socket, load_fd: int) -> None:
    """Two workers in one loop: neither gets clearly more than the other."""
    maps = [LoadMap(load_fd, n) for n in range(2)]
    workers = [worker(door, maps[n], 2) for n in range(2)]
    for each in workers:
        each.start()
    with contextlib.ExitStack() as stack:
        clients = connect(door, 100, stack)
        await until(lambda: sum(each.connections for each in workers) == 100)
        numbers = [each.connections for each in workers]
        assert min(numbers) >= 40, numbers
        assert counts(load_fd)[:2] == numbers
        for client in clients[:50]:
            client.close()
        await until(lambda: sum(each.connections for each in workers) == 50)
        assert counts(load_fd)[:2] == [each.connections for each in workers]
    for each in workers:
        each.stop()


async def test_a_worker_that_only_starts_is_not_waited_for(door: socket.socket, load_fd: int) -> None:
    """It has no connections because it does not accept yet."""
    first = worker(door, LoadMap(load_fd, 0), 2)
    LoadMap(load_fd, 1)
    first.start()
    with contextlib.ExitStack() as stack:
        connect(door, 30, stack)
        await until(lambda: first.connections == 30, 1)
    first.stop()


async def test_a_worker_that_stands_still_is_not_waited_for_for_long(door: socket.socket, load_fd: int) -> None:
    """It says that it has no connections, and takes none: the other one takes them after a moment."""
    first = worker(door, LoadMap(load_fd, 0), 2)
    LoadMap(load_fd, 1).set(0)
    first.start()
    with contextlib.ExitStack() as stack:
        connect(door, 30, stack)
        await until(lambda: first.connections == 30, 2)
    first.stop()


async def test_stopping(door: socket.socket, load_fd: int) -> None:
    """Accepts no more, says so, and leaves the door to the others."""
    first, second = (worker(door, LoadMap(load_fd, n), 2) for n in range(2))
    first.start()
    with contextlib.ExitStack() as stack:
        connect(door, 3, stack)
        await until(lambda: first.connections == 3)
        first.stop()
        second.start()
        assert counts(load_fd)[:2] == [DRAINING + 3, 0]
        connect(door, 20, stack)
        await until(lambda: second.connections == 20, 1)
        assert first.connections == 3
    await until(lambda: first.connections == 0)
    assert counts(load_fd)[0] == DRAINING
    second.stop()


async def test_out_of_descriptors(door: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """EMFILE: nobody is accepted and dropped; it is tried again a moment later, without spinning."""
    tried: list[float] = []
    only = worker(door, LoadMap(-1, 0), 1)
    real = socket.socket.accept
    broken = True

    def accept(sock: socket.socket) -> tuple[socket.socket, Any]:
        if broken:
            tried.append(asyncio.get_running_loop().time())
            raise OSError(errno.EMFILE, "Too many open files")
        return real(sock)

    monkeypatch.setattr(socket.socket, "accept", accept)
    only.start()
    with contextlib.ExitStack() as stack:
        connect(door, 2, stack)
        await asyncio.sleep(0.35)
        assert 2 <= len(tried) <= 5
        assert only.connections == 0
        broken = False
        await until(lambda: only.connections == 2)
    only.stop()


async def test_a_client_that_left_the_queue(door: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was there at the wake and is gone at accept(): nothing happens."""
    only = worker(door, LoadMap(-1, 0), 1)
    real = socket.socket.accept
    errors = [ConnectionAbortedError(), BlockingIOError()]

    def accept(sock: socket.socket) -> tuple[socket.socket, Any]:
        if errors:
            raise errors.pop()
        return real(sock)

    monkeypatch.setattr(socket.socket, "accept", accept)
    only.start()
    with contextlib.ExitStack() as stack:
        connect(door, 1, stack)
        await until(lambda: only.connections == 1)
        assert not errors
    only.stop()


def test_workers_that_have_ended_are_named_once(load_fd: int) -> None:
    """Also one that was there before us, or drains."""
    old, retired = LoadMap(load_fd, 0), LoadMap(load_fd, 2)
    old.set(0)
    retired.set(DRAINING + 1)
    mine = LoadMap(load_fd, 1)
    assert mine.gone() == set()
    for index in (0, 2):
        os.pwrite(load_fd, struct.pack("<I", UNUSED), 4 * index)  # the supervisor does
    assert mine.gone() == {0, 2}
    assert mine.gone() == set()
    assert LoadMap(-1, 0).gone() == set()
