"""A worker process put together: how it starts, what it does when it is told something, and how it stops."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import os
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from burncloud import config
from burncloud.app import worker as module
from burncloud.app.worker import Worker
from burncloud.domain import journal as records
from burncloud.domain import link
from burncloud.domain.journal import Close, End, JournalRecord, Return
from burncloud.domain.snapshot import Setting, Token, User
from burncloud.router.world import records as rows_of
from burncloud.wire.link import LinkServer, Peer
from tests.dialogue import KEY, PRICE, channels
from tests.speech import answer, chat, completion, get, post, read_answers

HASH = hashlib.sha256(KEY.encode()).digest()


class House:
    """A worker in this process, its control process, a door and a supervisor's pipe."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.settings = config.load({"DATA_DIR": str(folder / "data"), **{k.upper(): v for k, v in settings.items()}})
        self.door = socket.create_server(("127.0.0.1", 0))
        self.alive_read, self.alive_write = os.pipe()
        self.ready_read, self.ready_write = os.pipe()
        os.set_blocking(self.ready_read, False)
        self.heard: list[Any] = []
        self.peers: list[Peer[link.ToControl]] = []
        self.ledger = "l" * 32
        self.upstream: asyncio.Server
        self.requests = 0
        self.hold = asyncio.Event()
        self.hold.set()
        self.worker: Worker
        self.running: asyncio.Task[None]
        self._server = LinkServer(str(folder / "link.sock"), self.peers.append, self._told, self.peers.remove)

    async def start(self) -> None:
        """All but the Snapshot."""
        await self._server.start()
        self.upstream = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        boot = config.Boot(
            "worker", 0, 1, (self.door.detach(),), alive_fd=self.alive_read, ready_fd=self.ready_write,
            run_dir=str(self.folder),
        )  # fmt: skip
        self.worker = Worker(self.settings, boot)
        self.running = asyncio.create_task(self.worker.run())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                await reader.readexactly(size)
                self.requests += 1
                await self.hold.wait()
                writer.write(answer(completion()))
        writer.close()

    def _told(self, peer: Peer[link.ToControl], message: link.ToControl) -> None:
        self.heard.append(message)
        if isinstance(message, link.Hello):
            peer.send(link.Welcome(self.ledger, "node"))

    def tell(self, *messages: link.ToWorker) -> None:
        """To the worker."""
        for message in messages:
            self.peers[-1].send(message)

    def load(self, user: User = User(1)) -> None:  # noqa: B008 - never changed
        """A full Snapshot."""
        port = self.upstream.sockets[0].getsockname()[1]
        [channel] = channels(1)
        channel.base_url = f"http://127.0.0.1:{port}/v1"
        rows: dict[str, Any] = {"user": user, "token": Token(1, HASH, 1), "channel": channel, "price": PRICE}
        self.tell(*(link.Put(kind, rows_of([row])) for kind, row in rows.items()), link.Ready(1))

    def kinds(self) -> list[str]:
        """The kinds of messages that came, the chatter left out."""
        return [type(m).__name__ for m in self.heard if not isinstance(m, (link.Bell, link.Stats))]

    @property
    def announced(self) -> bytes:
        """What the supervisor was told."""
        try:
            return os.read(self.ready_read, 10)
        except BlockingIOError:
            return b""

    async def until(self, true: Callable[[], object], seconds: float = 5) -> None:
        """Wait for something to become true."""
        async with asyncio.timeout(seconds):
            while not true():  # noqa: ASYNC110 - a fact to wait for, not an event
                await asyncio.sleep(0.002)

    async def ask(self, message: bytes) -> Any:
        """An answer on a connection of its own."""
        reader, writer = await asyncio.open_connection(*self.address)
        writer.write(message)
        data = b""
        async with asyncio.timeout(5):
            while not (found := read_answers(data, False, [])):
                got = await reader.read(65536)
                if not got:
                    break
                data += got
        writer.close()
        return found[0] if found else None

    @property
    def address(self) -> tuple[str, int]:
        """Where the worker serves."""
        listener = self.worker._listener
        assert listener is not None
        host, port = listener._sockets[0].getsockname()
        return str(host), int(port)

    def written(self) -> list[JournalRecord]:
        """The journal."""
        found: list[JournalRecord] = []
        for path in sorted((self.folder / "data" / "journal").glob("*/*.seg")):
            found += records.scan(path.read_bytes()).records[1:]
        return found

    async def end(self) -> None:
        """Everything closed, whatever happened."""
        self.worker.stop()
        self.hold.set()
        await asyncio.wait_for(self.running, 10)
        self.worker.gateway.pool.close()
        self._server.close()
        self.upstream.close()
        for fd in (self.alive_write, self.ready_read):
            os.close(fd)
        await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def opened(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    """A house whose worker waits for its Snapshot."""
    monkeypatch.setattr(gc, "freeze", lambda: None)
    monkeypatch.setattr(gc, "set_threshold", lambda *figures: None)
    made = House(folder, drain_timeout_ms="500")
    await made.start()
    await made.until(lambda: len(made.kinds()) == 2)
    yield made
    await made.end()


@pytest.fixture
async def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    """It waits for its Snapshot."""
    async with opened(tmp_path, monkeypatch) as made:
        yield made


async def test_the_start(house: House) -> None:
    """Hello, its journal, the Snapshot; only then is the door open and the supervisor told."""
    hello, opened = house.heard
    assert hello == link.Hello(os.getpid(), 0, "")
    folder = house.folder / "data" / "journal" / opened.journal
    assert (folder / "lock").exists()
    assert house.worker.journal.ready
    assert house.announced == b""
    house.load()
    await house.until(lambda: house.worker._listener)
    assert house.announced == b"1"
    assert (await house.ask(get("/v1/models"))).json["data"][0]["id"] == "gpt-4"


async def test_a_request_and_its_receipt(house: House) -> None:
    """Through real sockets; control hears of the receipt within a moment."""
    house.load()
    await house.until(lambda: house.worker._listener)
    assert (await house.ask(post(chat()))).body == completion()
    await house.until(lambda: any(isinstance(m, link.Bell) and m.seq == 2 for m in house.heard), 1)
    [end] = [record for record in house.written() if isinstance(record, End)]
    assert end.charge == 1_500_000


async def test_changes(house: House) -> None:
    """Live at once."""
    house.load()
    await house.until(lambda: house.worker._listener)
    house.tell(link.Put("token", rows_of([Token(1, HASH, 1, enabled=False)])))
    await house.until(lambda: not house.worker.gateway.world.tokens[HASH].enabled)
    assert (await house.ask(post(chat()))).status == 401
    house.tell(link.Drop("token", [1]), link.Put("setting", rows_of([Setting("x", "1")])), link.Drop("setting", ["x"]))
    await house.until(lambda: not house.worker.gateway.world.tokens)


async def test_what_is_learned_of_channels_is_shared(house: House) -> None:
    """News of a moment in one message; what control tells is so here; a new control process hears of all of it."""
    house.load()
    await house.until(lambda: house.worker._listener)
    now = asyncio.get_running_loop().time()
    health, outlet = house.worker.gateway.health, house.worker.gateway.world.outlets[1]
    [ability] = outlet.abilities.values()
    health.learn([link.Part(1, 0, ability.model, "cooling", "broken", 500, 60_000, 2_000)], now)
    health.chosen(ability, outlet.keys[0], now)
    health.news[1, 0, ability.model] = ability.breaker
    house.worker._news()
    house.worker._news()
    await house.until(lambda: any(isinstance(m, link.Learned) for m in house.heard))
    [told] = [m for m in house.heard if isinstance(m, link.Learned)]
    assert [part.state for part in told.parts] == ["cooling"]
    house.tell(link.Learned([link.Part(1, 0, ability.model, "ready")]))
    await house.until(lambda: ability.available)
    health.learn([link.Part(1, 10, "", "off", "refused", 401, 60_000, 60_000)], now)
    house.peers[-1].close()
    await house.until(lambda: len([m for m in house.heard if isinstance(m, link.Learned)]) == 2)
    assert isinstance(house.heard[-1], link.Opened | link.Bell | link.Learned)
    again = [m for m in house.heard if isinstance(m, link.Learned)][-1]
    assert [(part.key, part.state) for part in again.parts] == [(10, "off")]


async def test_leases(house: House) -> None:
    """A question, its answer, a recall and a quota event."""
    house.load(User(1, limited=True))
    await house.until(lambda: house.worker._listener)
    asked = asyncio.create_task(house.ask(post(chat())))
    await house.until(lambda: house.kinds()[-1] == "Ask")
    question = house.heard[[isinstance(m, link.Ask) for m in house.heard].index(True)]
    house.tell(link.Grant(question.n, "ok", 10**12))
    assert (await asked).status == 200
    before = house.heard.index(question)
    assert isinstance(house.heard[before - 1], link.Bell), "what it had given back must count in the answer"
    house.tell(link.Recall("user", 1, 2 * 10**12, 7), link.Quota("user", 1))
    await house.until(lambda: any(isinstance(record, Return) for record in house.written()))
    lease = house.worker.gateway.desk.users[1]
    assert (lease.granted, lease.free) == (2 * 10**12, 0)
    await house.until(lambda: link.Bell(3, 7) in house.heard)


async def test_acknowledgements_and_rewriting(house: House) -> None:
    """They reach the journal."""
    house.load()
    await house.until(lambda: house.worker._listener)
    await house.ask(post(chat()))
    house.tell(link.Rewrite())
    await house.until(lambda: len(house.written()) == 4)
    house.tell(link.Ack(2))
    await house.until(lambda: house.worker._writer and house.worker._writer.acked == 2)


async def test_control_goes_and_comes_back(house: House) -> None:
    """Serving goes on meanwhile; then everything comes again, and what did not is gone; the journal stays."""
    house.load()
    await house.until(lambda: house.worker._listener)
    house.peers[0].close()
    assert (await house.ask(post(chat()))).status == 200
    await house.until(lambda: house.kinds()[2:] == ["Hello", "Opened"])
    opened = [m.journal for m in house.heard if isinstance(m, link.Opened)]
    assert opened[0] == opened[1]
    house.tell(link.Put("user", rows_of([User(1)])), link.Ready(2))
    await house.until(lambda: not house.worker.gateway.world.tokens)
    assert house.worker.gateway.world.users
    assert (await house.ask(post(chat()))).status == 401


async def test_another_ledger(house: House) -> None:
    """The database was exchanged behind its back: this worker's money belongs to the old one, so it stops."""
    house.load()
    await house.until(lambda: house.worker._listener)
    house.ledger = "m" * 32
    house.peers[0].close()
    await asyncio.wait_for(house.running, 5)
    assert isinstance(house.written()[-1], Close)


async def test_the_supervisor_is_gone(house: House) -> None:
    """The end of its pipe says so: drain and exit."""
    house.load()
    await house.until(lambda: house.worker._listener)
    os.close(house.alive_write)
    await asyncio.wait_for(house.running, 5)
    house.alive_write = os.open(os.devnull, os.O_WRONLY)


async def test_stopping_before_the_snapshot(house: House) -> None:
    """Nothing to drain."""
    house.worker.stop()
    await asyncio.wait_for(house.running, 5)
    assert [type(record) for record in house.written()] == [Close]


async def test_draining(house: House) -> None:
    """Idle connections close, no new ones come in, what runs is answered; leases go back, the journal ends cleanly."""
    house.load(User(1, limited=True))
    await house.until(lambda: house.worker._listener)
    address = house.address
    idle = await asyncio.open_connection(*address)
    house.hold.clear()
    asked = asyncio.create_task(house.ask(post(chat())))
    await house.until(lambda: house.kinds()[-1] == "Ask")
    house.tell(link.Grant(1, "ok", 10**12))
    await house.until(lambda: house.requests)
    house.worker.stop()
    house.worker.stop()
    assert await idle[0].read() == b""
    idle[1].close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*address)
    assert not house.running.done()
    house.hold.set()
    heard = await asked
    assert (heard.status, heard.closing) == (200, True)
    await asyncio.wait_for(house.running, 5)
    ended, returned, closed = house.written()[-3:]
    assert isinstance(ended, End)
    assert isinstance(returned, Return)
    assert returned.amount == 10**12 - ended.draw_user
    assert isinstance(closed, Close)
    assert house.heard[-1] == link.Bell(4)


async def test_draining_has_an_end(house: House) -> None:
    """What does not finish in time is cut off, and its receipt stands in the journal before it is closed."""
    house.load()
    await house.until(lambda: house.worker._listener)
    house.hold.clear()
    asked = asyncio.create_task(house.ask(post(chat())))
    await house.until(lambda: house.requests)
    house.worker.stop()
    await asyncio.wait_for(house.running, 5)
    house.hold.set()
    with contextlib.suppress(ConnectionError):
        assert await asked is None
    ended, closed = house.written()[-2:]
    assert isinstance(ended, End)
    assert ended.state == "gone"
    assert isinstance(closed, Close)


async def test_counters(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every second."""
    house.load()
    await house.until(lambda: house.worker._listener)
    await house.ask(post(chat()))
    house.worker._tell()

    def told() -> list[dict[str, int]]:
        return [m.counters for m in house.heard if isinstance(m, link.Stats) and m.counters["requests"] == 1]

    await house.until(told)
    stats = told()[0]
    assert stats["tokens"] == stats["channels"] == 1
    assert stats["journal_seq"] == 2


def test_the_limit_of_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Raised to what the system allows."""
    import resource

    told: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (1024, 4096))
    monkeypatch.setattr(resource, "setrlimit", lambda kind, limits: told.append(limits))
    assert module.raise_file_limit() == 4096
    assert told == [(4096, 4096)]
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert module.raise_file_limit() == 1 << 20


async def test_the_bell(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the journal grows it rings at its own pace, however often something else rings in between."""
    monkeypatch.setattr(module, "BELL_S", 0.1)
    house.load()
    await house.until(lambda: house.worker._listener)
    bells = [m for m in house.heard if isinstance(m, link.Bell)]
    for _ in range(20):
        house.worker._grown(1)
        house.worker.ring()
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.25)
    rung = len([m for m in house.heard if isinstance(m, link.Bell)]) - len(bells)
    assert 21 <= rung <= 24


async def test_who_retires_serves_each_connection_once_more(house: House) -> None:
    """Its successor has the door; an idle connection is not closed in a client's face."""
    house.load()
    await house.until(lambda: house.worker._listener)
    address = house.address
    reader, writer = await asyncio.open_connection(*address)
    writer.write(post(chat()))
    assert b"connection: close" not in (await reader.readuntil(b"\r\n\r\n")).lower()
    await reader.readexactly(len(completion()))
    house.worker.retire()
    house.worker.retire()
    await asyncio.sleep(0.1)
    assert house.worker._listener is not None
    assert not house.worker._listener._sockets
    writer.write(post(chat()))
    head = await reader.readuntil(b"\r\n\r\n")
    assert b"connection: close" in head.lower()
    assert (await reader.read()) == completion()
    writer.close()
    await asyncio.wait_for(asyncio.shield(house.running), 2)
    assert isinstance(house.written()[-1], Close)


async def test_a_stop_hurries_who_retires(house: House) -> None:
    house.load()
    await house.until(lambda: house.worker._listener)
    reader, writer = await asyncio.open_connection(*house.address)
    await asyncio.sleep(0.05)
    house.worker.retire()
    await asyncio.sleep(0.05)
    assert not reader.at_eof()
    house.worker.stop()
    assert await asyncio.wait_for(reader.read(), 1) == b""
    writer.close()
