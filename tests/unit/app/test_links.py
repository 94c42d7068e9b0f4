"""Control's side of the links, with real sockets, real books and workers of straw."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from burncloud import config
from burncloud.app.links import Links
from burncloud.database.engine import Database, open_database
from burncloud.domain import link
from burncloud.domain.link import Ack, Ask, Bell, Grant, Learned, Part, Probe, Probed, Put, Quota, Speed, Stats, Welcome
from burncloud.service.journals import Books
from burncloud.service.snapshots import Snapshots
from tests.books import add_accounts, make_books, until
from tests.unit.app.fake_worker import FakeWorker


class House:
    """Everything that links need."""

    def __init__(self, root: Path, db: Database, books: Books, snapshots: Snapshots, secret: str = "") -> None:
        boot = config.Boot("control", run_dir=str(root), secret=secret)
        self.root = root
        self.db = db
        self.books = books
        self.address = boot.link_path
        self.links = Links(boot, books, snapshots)

    def worker(self, index: int = 0, secret: str = "", pid: int = 0) -> FakeWorker:
        return FakeWorker(self.root, self.address, index, secret, pid)


@pytest_asyncio.fixture
async def house(sqlite_url: str, tmp_path: Path) -> AsyncIterator[House]:
    db = open_database(sqlite_url)
    await add_accounts(db, user_limit=1_000, tokens=3)
    books = await make_books(db, tmp_path)
    snapshots = Snapshots(db, None)
    await snapshots.load()
    made = House(tmp_path, db, books, snapshots)
    await made.links.start()
    yield made
    made.links.close()
    await books.stop(2_000)
    await db.close()


async def test_only_this_user_can_come(house: House) -> None:
    assert stat.S_IMODE(os.stat(house.address).st_mode) == 0o600


async def test_a_worker_is_welcomed_and_gets_the_snapshot(house: House) -> None:
    worker = house.worker(3)
    await worker.loaded()
    assert worker.told[0] == Welcome(house.books.ledger, "here")
    assert [put.kind for put in worker.of(Put)] == ["user", "token", "group"][: len(worker.of(Put))]
    assert sum(len(put.rows) for put in worker.of(Put) if put.kind == "token") == 3
    assert isinstance(worker.told[-1], link.Ready)
    (shown,) = house.links.as_json()
    assert (shown["index"], shown["pid"], shown["ready"]) == (3, os.getpid(), True)
    assert worker.writer is not None
    assert shown["journal"] == worker.writer.uuid
    worker.leave()
    assert await house.links.wait(0, 5)
    assert house.links.as_json() == []


async def test_changes_go_to_all_who_have_the_snapshot(house: House) -> None:
    workers = [house.worker(n) for n in range(2)]
    for worker in workers:
        await worker.loaded()
    assert house.links.ready == 2
    house.links.publish([link.frame(Quota("user", 7)), link.frame(Quota("token", 8))])
    for worker in workers:
        await worker.hears(Quota, 2)
        assert worker.told[-2:] == [Quota("user", 7), Quota("token", 8)]
        worker.leave()


async def test_receipts_are_booked_and_acknowledged_and_questions_answered(house: House) -> None:
    worker = house.worker()
    await worker.loaded()
    worker.send(Ask(1, 1, 100, 100, 0, 0, 0))
    await worker.hears(Grant)
    assert worker.of(Grant) == [Grant(1, "ok", 100, 0)]
    assert worker.writer is not None
    worker.writer.exchange(40, 100)
    worker.send(Bell(worker.writer.seq))
    await worker.hears(Ack)
    assert worker.of(Ack)[-1] == Ack(2)
    worker.send(Ask(2, 1, 5_000, 5_000, 0, 0, 0))
    await worker.hears(Grant, 2)
    assert (worker.of(Grant)[-1].outcome, worker.of(Grant)[-1].denied) == ("denied", "user")
    worker.send(Stats({"requests": 9}, [Speed(1, "m", 500)]))
    await asyncio.wait_for(house.links.told.wait(), 5)
    assert house.links.as_json()[0]["counters"] == {"requests": 9}
    assert house.links.states.mean((1, "m")) == 500
    assert [house.links.any_says(name) for name in ("requests", "refused")] == [True, False]
    worker.leave()


async def test_a_worker_that_comes_back_is_told_what_is_booked(house: House) -> None:
    first = house.worker()
    await first.loaded()
    assert first.writer is not None
    first.writer.exchange(40)
    await first.hears(Ack)
    again = house.worker()
    again.journal = first.writer.uuid
    await again.loaded()
    assert again.told[1] == Ack(2)
    # the old link of the same journal breaks only now: the journal is not lost by that
    first.unlink()
    await until(lambda: len(house.links.as_json()) == 1)
    assert house.books.is_live(first.writer.uuid)
    again.unlink()
    await until(lambda: not house.books.is_live(again.journal))
    first.writer.stop()


async def test_a_refused_journal_s_worker_starts_anew(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: killed.append((pid, number)))
    worker = house.worker(pid=4_711)
    worker.journal = "ab" * 16
    await worker.shown_out()
    assert killed[0] == (4_711, signal.SIGTERM)
    assert not worker.of(Put)
    worker.leave()


async def test_who_is_no_worker_is_shown_out(house: House, tmp_path: Path) -> None:
    for message in (Stats({}), Ask(1, 1, 1, 1, 0, 0, 0)):
        reader, writer = await asyncio.open_unix_connection(house.address)
        writer.write(link.frame(message))
        assert await reader.read() == b""
        writer.close()
    assert house.links.as_json() == []


async def test_a_loopback_link_asks_for_the_secret(house: House, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    guarded = House(tmp_path / "other", house.db, house.books, Snapshots(house.db, None), secret="open sesame")
    await guarded.links.start()
    for secret in ("", "open"):
        worker = guarded.worker(secret=secret)
        await worker.shown_out()
        assert worker.told == []
        worker.leave()
    friend = FakeWorker(tmp_path, guarded.address, secret="open sesame")
    await friend.loaded()
    friend.leave()
    guarded.links.close()


async def test_waiting_ends_in_time(house: House) -> None:
    assert not await house.links.wait(1, 0.05)
    assert await house.links.wait(0, 0.05)


OFF = Part(1, 7, "", "off", "refused", 401, 60_000, 60_000)


async def test_what_one_worker_learned_all_know(house: House) -> None:
    """The others at once; who comes later, before he serves; nobody hears his own words again."""
    first, second = house.worker(0), house.worker(1)
    await first.loaded()
    await second.loaded()
    first.send(Learned([OFF, Part(1, 0, "m", "cooling", "broken", 500, 0, 2000)]))
    await second.hears(Learned)
    assert second.of(Learned)[0].parts[0] == OFF
    third = house.worker(2)
    await third.loaded()
    [[part]] = [message.parts for message in third.of(Learned)]
    assert (part.key, part.state, part.left_ms > 55_000) == (7, "off", True), "what cooled is over, and not told"
    assert isinstance(third.told[-1], link.Ready)
    third.send(Learned([Part(1, 7, "", "ready")]))
    await first.hears(Learned)
    assert [message.parts[0].state for message in first.of(Learned)] == ["ready"]
    fourth = house.worker(3)
    await fourth.loaded()
    assert not fourth.of(Learned)
    house.links.spread([OFF])
    for worker in (first, second, third, fourth):
        await worker.hears(Learned, len(worker.of(Learned)) + (worker.of(Learned)[-1:] != [Learned([OFF])]))
        assert worker.of(Learned)[-1] == Learned([OFF])
        worker.leave()


async def test_a_probe_is_done_by_one_worker(house: House) -> None:
    """One that goes in the middle of it has lost it; without any there is nobody to ask."""
    with pytest.raises(LookupError):
        await house.links.probe(Probe(1, 1, 7, "m", "/v1/chat/completions"))
    worker = house.worker()
    await worker.loaded()
    asked = asyncio.create_task(house.links.probe(Probe(2, 1, 7, "m", "/v1/chat/completions", b"{}")))
    await worker.hears(Probe)
    assert worker.of(Probe)[0].body == b"{}"
    worker.send(Probed(99, 200))
    worker.send(Probed(2, 200, body=b"x"))
    assert (await asked).body == b"x"
    asked = asyncio.create_task(house.links.probe(Probe(3, 1, 7, "m", "/v1/chat/completions")))
    await worker.hears(Probe, 2)
    worker.leave()
    assert (await asked).reason == "lost"
