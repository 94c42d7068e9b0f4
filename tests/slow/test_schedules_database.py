"""The database is locked, stopped, killed, or cut off in a COMMIT (schedule 8 of docs/money.md): never a 402."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import sqlite3
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.postgres import Databases, NoPostgres, Server
from tests.slow.conftest import LONG, MakeHouse
from tests.slow.house import House
from tests.slow.kill_loop import KillLoop

LOCKED_S = 10 if LONG else 4
AWAY_S = 20 if LONG else 4


@pytest.fixture
def durable() -> Iterator[Server]:
    """A PostgreSQL of this test's own, with durable commits."""
    try:
        server = Server(durable=True)
    except NoPostgres as reason:
        pytest.skip(str(reason))
    try:
        server.start()
        yield server
    finally:
        server.remove()


async def test_locked(make_house: MakeHouse) -> None:
    async def locked(house: House, rng: random.Random) -> None:
        await asyncio.sleep(1)
        with contextlib.closing(sqlite3.connect(house.folder / "ledger.db", timeout=10, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            await asyncio.sleep(LOCKED_S)
            other.execute("ROLLBACK")
        await asyncio.sleep(0.5)

    async with KillLoop(make_house(workers=2), 1) as loop:
        await loop.round("locked", locked)
        await loop.stop()
        assert loop.tally.violations == []


@pytest.mark.timeout(240)
async def test_postgres_away_and_killed(make_house: MakeHouse, durable: Server) -> None:
    async def away(house: House, rng: random.Random) -> None:
        await asyncio.sleep(1)
        await asyncio.to_thread(durable.stop)
        await asyncio.sleep(AWAY_S)
        await asyncio.to_thread(durable.start)
        await asyncio.sleep(2)

    async def killed(house: House, rng: random.Random) -> None:
        for _ in range(3):
            await asyncio.sleep(rng.uniform(0.5, 1.5))
            await asyncio.to_thread(durable.stop, signal.SIGKILL)
            await asyncio.to_thread(durable.start)
        await asyncio.sleep(1)

    async def killed_with_control(house: House, rng: random.Random) -> None:
        await asyncio.sleep(rng.uniform(0.5, 1.5))
        await asyncio.to_thread(durable.stop, signal.SIGKILL)
        house.kill_roles("control", "worker")
        await asyncio.sleep(1)
        await asyncio.to_thread(durable.start)
        await asyncio.sleep(2)

    url = await asyncio.to_thread(lambda: Databases(durable.url).make())
    async with KillLoop(make_house(url=url), 1) as loop:
        await loop.round("away", away)
        if LONG:
            await loop.round("killed", killed)
        await loop.round("killed with control", killed_with_control)
        await loop.stop()
        assert loop.tally.violations == []


class Scissors:
    """A TCP proxy before PostgreSQL that, when told, lets a COMMIT through and cuts the line before its reply."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self.cuts_due = 0
        self.cuts = 0
        self.port = 0
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Scissors:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            back_reader, back_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.close()
            return
        cut = asyncio.Event()

        async def up() -> None:
            while data := await reader.read(65536):
                if self.cuts_due and b"COMMIT" in data:
                    self.cuts_due -= 1
                    self.cuts += 1
                    cut.set()
                back_writer.write(data)
                await back_writer.drain()

        async def down() -> None:
            while data := await back_reader.read(65536):
                if cut.is_set():
                    return  # it was committed, and nobody hears of it
                writer.write(data)
                await writer.drain()

        ways = [asyncio.create_task(up()), asyncio.create_task(down())]
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        writer.transport.abort()
        back_writer.close()


async def test_cut_in_commit(make_house: MakeHouse, postgres: Databases) -> None:
    """COMMIT was sent, took effect, and no reply came: booked once, granted once."""
    real = urlsplit(await asyncio.to_thread(postgres.make))
    assert real.hostname is not None
    assert real.port is not None
    async with Scissors(real.hostname, real.port) as scissors:

        async def cut(house: House, rng: random.Random) -> None:
            for _ in range(12):
                await asyncio.sleep(rng.uniform(0.05, 0.4))
                scissors.cuts_due = 1
            await asyncio.sleep(1)
            scissors.cuts_due = 0

        netloc = real.netloc.replace(str(real.port), str(scissors.port))
        async with KillLoop(make_house(url=real._replace(netloc=netloc).geturl()), 1) as loop:
            await loop.round("cut in COMMIT", cut)
            if LONG:
                await loop.round("cut in COMMIT", cut)
            await loop.stop()
            assert loop.tally.violations == []
            assert scissors.cuts >= 5
