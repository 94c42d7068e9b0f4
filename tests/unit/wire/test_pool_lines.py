"""The lines in which requests wait for a connection to an origin that has all it may have."""

from __future__ import annotations

import asyncio

import pytest

from burncloud.wire import pool as module
from burncloud.wire.pool import OriginKey, Pool
from burncloud.wire.resolver import Resolver
from burncloud.wire.tls import TlsSetting
from burncloud.wire.upstream import Upstream
from tests.ports import free_port
from tests.unit.wire.test_pool import Sink, server

__all__ = ["server"]


class Line:
    """Those who want connections to one server, and what they got."""

    def __init__(self, port: int, most: int, connect_timeout_ms: int = 1000) -> None:
        self.pool = Pool(Sink(), Resolver(), connect_timeout_ms, 60_000, most)
        self.origin = self.pool.origin(OriginKey("http", "127.0.0.1", port, TlsSetting()))
        self.origin.join()
        self.got: list[tuple[str, Upstream | None, str]] = []

    def want(self, name: str, who: int = 0) -> None:
        """As the gateway does."""
        up = self.origin.take()
        if up is not None:
            self.got.append((name, up, ""))
        else:
            self.pool.dial(self.origin, lambda up, reason: self.got.append((name, up, reason)), who)

    async def until(self, count: int) -> list[str]:
        """The names of those who got something, once it is so many."""
        async with asyncio.timeout(5):
            while len(self.got) < count:  # noqa: ASYNC110 - a fact to wait for, not an event
                await asyncio.sleep(0.002)
        await asyncio.sleep(0.02)
        return [name for name, _, _ in self.got]

    def give(self, n: int) -> None:
        """The answer is complete."""
        up = self.got[n][1]
        assert up is not None
        up.keep = True
        self.origin.give(up, 0.0)

    def close(self) -> None:
        """Of all connections; nobody waits any more."""
        self.origin.lines = None
        for _, up, _ in self.got:
            if up is not None and not up.lost:
                up.abort()


async def test_there_are_so_many_connections_and_no_more(server: int) -> None:
    """One who asks much waits behind himself; what becomes free goes to the line, not to who comes then."""
    line = Line(server, 2)
    for name, who in [("a1", 1), ("a2", 1), ("a3", 1), ("a4", 1), ("b1", 2), ("c1", 3)]:
        line.want(name, who)
    assert await line.until(2) == ["a1", "a2"]
    assert line.origin.open == 2
    for n in range(4):
        line.give(n)
        line.want(f"late{n}", 9)
        assert line.origin.open == 2
        await line.until(n + 3)
    assert [name for name, _, _ in line.got] == ["a1", "a2", "a3", "b1", "c1", "a4"]
    line.close()
    await asyncio.sleep(0.02)


async def test_a_connection_that_is_gone_makes_room(server: int) -> None:
    line = Line(server, 1)
    line.want("a")
    line.want("b", 1)
    line.want("c", 2)
    await line.until(1)
    up = line.got[0][1]
    assert up is not None
    up.abort()
    await line.until(2)
    line.give(1)
    handed = line.got[1][1]
    assert handed is not None
    handed.abort()  # on its way to the next one
    assert await line.until(3) == ["a", "b", "c"]
    assert line.got[2][1] is not None
    assert not line.got[2][1].lost
    assert line.origin.lines is None
    line.give(2)
    assert line.origin.take() is line.got[2][1]
    line.close()
    await asyncio.sleep(0.02)
    assert line.origin.open == line.origin.dialling == 0


async def test_nobody_waits_for_ever(server: int) -> None:
    line = Line(server, 1, connect_timeout_ms=50)
    line.want("a")
    await line.until(1)
    for n in range(3):
        line.want(f"b{n}", n)
    line.pool.sweep(asyncio.get_running_loop().time())
    assert len(line.got) == 1
    await asyncio.sleep(0.06)
    line.pool.sweep(asyncio.get_running_loop().time())
    assert [reason for _, _, reason in line.got[1:]] == [module.FULL] * 3
    assert line.origin.lines is None
    line.close()
    await asyncio.sleep(0.02)


async def test_who_waits_for_an_upstream_that_is_down_is_told() -> None:
    line = Line(free_port(), 1)
    for n in range(3):
        line.want(f"a{n}")
    await line.until(3)
    assert [reason for _, _, reason in line.got] == ["refused"] * 3


async def test_who_waits_for_an_upstream_that_is_silent_is_told_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not after those before him have each waited for their own connection."""

    async def never(origin: module.Origin) -> None:
        await asyncio.sleep(100)

    line = Line(free_port(), 1)
    monkeypatch.setattr(line.pool, "_connect", never)
    for n in range(4):
        line.want(f"a{n}", n)
    now = asyncio.get_running_loop().time()
    line.pool.sweep(now + 0.5)
    assert not line.got
    line.pool.sweep(now + 1.5)
    assert [(name, reason) for name, _, reason in line.got] == [(f"a{n}", module.FULL) for n in (1, 2, 3)]
    await asyncio.sleep(0)
    [dialling] = line.pool._tasks
    dialling.cancel()
    await asyncio.wait([dialling])
