"""One journal's way into the ledger, round by round."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from sqlalchemy import text

from burncloud import clock
from burncloud.database import journals, ledger
from burncloud.database.engine import Database
from burncloud.domain.journal import Again, Attempt, Kept, Progress
from burncloud.domain.usage import Usage
from burncloud.service import bookkeeper, segments
from burncloud.service.billing import verify
from burncloud.service.bookkeeper import Batch
from tests.books import Account, balance, count, end, intent, receipts
from tests.keepers import House, open_house


@pytest_asyncio.fixture
async def house(db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    """Of epoch 1; everything is booked when it is read; in the end it adds up."""
    monkeypatch.setattr(bookkeeper, "BOOK_EVERY_MS", 0)
    yield await open_house(db, tmp_path)
    assert (await verify(db)).faults == []


# The living


async def test_what_is_written_is_booked_once(house: House) -> None:
    writer = house.writer()
    keeper = await house.keeper(writer)
    await house.grant(keeper, 100)
    for charge in (30, 40):
        writer.exchange(charge, hold=50)
        assert not await keeper.round()
        assert not await keeper.round()
    assert house.acks == [2, 4]
    assert await balance(house.db, "user") == await balance(house.db, "token") == Account(70, 30)
    assert [row.x for row in await receipts(house.db)] == [1, 3]
    keeper.let_go()


async def test_nothing_is_booked_that_is_not_synced(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    sync, book = segments.Reader.sync, ledger.book

    def syncing(self: segments.Reader) -> None:
        order.append("sync")
        sync(self)

    def booking(*arguments: Any) -> bool:
        order.append("book")
        return book(*arguments)

    monkeypatch.setattr(segments.Reader, "sync", syncing)
    monkeypatch.setattr(ledger, "book", booking)
    writer = house.writer()
    keeper = await house.keeper(writer)
    writer.exchange(30)
    await keeper.round()
    assert order == ["sync", "book"]
    keeper.let_go()


async def test_intents_alone_cost_no_transaction(house: House) -> None:
    writer = house.writer()
    keeper = await house.keeper(writer)
    writer.put(intent(), intent())
    await keeper.round()
    assert house.acks == []
    writer.put(*(intent() for _ in range(bookkeeper.WATERMARK_LAG)))
    await keeper.round()
    assert house.acks == [bookkeeper.WATERMARK_LAG + 2]
    keeper.let_go()


async def test_what_comes_soon_after_waits_for_company(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = house.writer()
    keeper = await house.keeper(writer)
    monkeypatch.setattr(bookkeeper, "BOOK_EVERY_MS", 60_000)
    keeper._booked_ms -= 60_000
    writer.exchange(1)
    await keeper.round()
    assert (house.acks, keeper.lag(writer.seq)) == ([2], 0), "the first one after a pause does not wait"
    for _ in range(3):
        writer.exchange(1)
        await keeper.round()
    assert (house.acks, keeper.lag(writer.seq), keeper.reader.seq) == ([2], 6, 8)
    keeper.hurry_until_ms = clock.monotonic_ms() + 60_000
    await keeper.round()
    assert house.acks == [2, 8]
    writer.exchange(1)
    await keeper.round()
    assert house.acks == [2, 8, 10]
    keeper.hurry_until_ms = 0
    writer.exchange(1)
    await keeper.round()
    assert house.acks == [2, 8, 10]
    writer.kill()
    keeper.live = False
    assert await keeper.round(), "a dead one is not kept waiting"
    assert (await balance(house.db, "user")).used == 6
    keeper.let_go()


async def test_transactions_are_bounded(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bookkeeper, "BOOK_EVERY_MS", 60_000)
    monkeypatch.setattr(bookkeeper, "BATCH", 500)
    sizes: list[int] = []
    book = ledger.book

    def booking(*arguments: Any) -> bool:
        sizes.append(len(arguments[-1].receipts))
        return book(*arguments)

    monkeypatch.setattr(ledger, "book", booking)
    writer = house.writer()
    keeper = await house.keeper(writer)
    for _ in range(30):
        for _ in range(60):
            writer.exchange(1)
        await keeper.round()
    writer.kill()
    keeper.live = False
    assert await keeper.round()
    keeper.let_go()
    assert sum(sizes) == await count(house.db, "receipts") == 1_800
    assert max(sizes) <= bookkeeper.BATCH
    assert len(sizes) <= 7


async def test_intents_that_wait_are_no_lag(house: House) -> None:
    writer = house.writer()
    keeper = await house.keeper(writer)
    writer.put(intent())
    assert keeper.lag(writer.seq) == 1
    await keeper.round()
    assert keeper.lag(writer.seq) == 0
    keeper.let_go()


async def test_a_return_frees_its_account(house: House) -> None:
    writer = house.writer()
    keeper = await house.keeper(writer)
    await house.grant(keeper, 100)
    writer.give_back("token", 1, 60)
    await keeper.round()
    assert house.freed_accounts == {("token", 1)}
    assert (await balance(house.db, "token")).leased == 40
    keeper.let_go()


async def test_a_failed_sync_has_the_worker_write_anew(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = [True]

    def sync(fd: int) -> None:
        if failing.pop():
            failing.append(False)
            raise OSError(errno.EIO, "disk")
        failing.append(False)

    monkeypatch.setattr(segments, "_sync_file", sync)
    writer = house.writer()
    keeper = await house.keeper(writer)
    writer.exchange(30)
    for _ in range(3):
        await keeper.round()
    assert (house.acks, house.rewrites, house.alarms[0]) == ([], 1, "sync")
    writer.roll(first_seq=1)
    writer.exchange(30)
    writer.exchange(40)
    for _ in range(2):  # one to meet the failed segment for the last time
        await keeper.round()
    assert house.acks == [4]
    assert (await balance(house.db, "user")).used == 70
    keeper.let_go()


# Poison


async def test_a_record_that_cannot_be_booked_is_put_aside(house: House) -> None:
    """Each kind of it, among many good ones; found by halving."""
    writer = house.writer()
    keeper = await house.keeper(writer)
    bad = {
        5: end(5, 1, model="nul\0") if house.db.dialect == "postgresql" else end(5, 1, bytes_up=1 << 63),
        8: end(8, 1, time_ns=(1 << 63) + 5),
        11: end(3, 1),  # has a receipt
        14: end(14, 1, attempts=(Attempt(1, 1, 1, "first", charge=2),)),
    }
    for seq in range(1, 21):
        writer.put(bad.get(seq, end(seq, 10)))
    await keeper.round()
    assert house.acks == [20]
    assert [row.x for row in await receipts(house.db)] == [x for x in range(1, 21) if x not in bad]
    assert (await balance(house.db, "user")).used == 160
    async with house.db.read() as connection:
        rows = (await connection.execute(text("SELECT seq, x FROM quarantine ORDER BY seq"))).all()
    assert [tuple(row) for row in rows] == [(5, 5), (8, 8), (11, 3), (14, 14)]
    assert house.alarms == ["quarantine"] * 4
    keeper.let_go()


@pytest.mark.parametrize("error", [
    asyncpg.QueryCanceledError("by an operator"),
    asyncpg.InsufficientPrivilegeError("on receipts"),
    asyncpg.NoActiveSQLTransactionError("SAVEPOINT"),
    sqlite3.OperationalError("no such table"),
])  # fmt: skip
async def test_a_failure_that_is_not_the_records_puts_nothing_aside(
    house: House, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Not while it lives, nor as its journal is closed: it waits.  (One such failure was enough.)"""
    monkeypatch.setattr(bookkeeper, "RUN_DEADLINE_MS", 0)
    book, failing = ledger.book, True

    def refuse(*arguments: Any) -> bool:
        nonlocal failing
        if failing:
            failing = False
            raise error
        return book(*arguments)

    monkeypatch.setattr(ledger, "book", refuse)
    writer = house.writer()
    keeper = await house.keeper(writer)
    for step in ("living", "dead"):
        writer.put(intent(lost=3) if step == "dead" else end(1, 10))
        failing = True
        if step == "dead":
            writer.kill()
            keeper.live = False
        with pytest.raises(type(error)):
            await keeper.round()
        await keeper.round()
    assert [row.state for row in await receipts(house.db)] == ["done", "interrupted"]
    assert (await balance(house.db, "user")).used == 13
    assert house.alarms == []
    keeper.let_go()


async def test_the_exchange_of_a_record_put_aside_is_interrupted_at_the_end(house: House) -> None:
    writer = house.writer()
    x = writer.put(intent(lost=7))
    writer.put(end(x, 1, attempts=()))
    await house.close(writer)
    (row,) = await receipts(house.db)
    assert (row.x, row.state, row.charge) == (x, "interrupted", 7)


# The dead


async def test_a_dead_journal_is_replayed_and_closed(house: House) -> None:
    writer = house.writer()
    keeper = await house.keeper(writer)
    await house.grant(keeper, 500)
    assert keeper.row is not None
    writer.exchange(30, hold=50)
    await keeper.round()
    x = writer.put(intent(hold=50, lost=20))
    y = writer.put(intent(hold=50, lost=20))
    writer.put(Progress(y, Usage(9), 45), Again(y, 2, 3, 3, "failover"))
    writer.exchange(40, hold=50)
    writer.kill()
    keeper.live = False
    assert await keeper.round()
    rows = {row.x: row for row in await receipts(house.db)}
    assert [(row.state, row.charge) for row in rows.values()] == [
        ("done", 30), ("interrupted", 20), ("interrupted", 45), ("done", 40),
    ]  # fmt: skip
    assert (rows[x].estimated, rows[x].draw_user, rows[y].input, rows[y].channel) == (True, 20, 9, 3)
    assert await balance(house.db, "user") == await balance(house.db, "token") == Account(135, 0)
    assert (await balance(house.db, "channel", 3)).used == 45
    async with house.db.read() as connection:
        row = await journals.find_journal(connection, writer.uuid)
        attempts = (await connection.execute(text("SELECT x, n, sent FROM attempts ORDER BY x, n"))).all()
    assert row is not None
    assert (row.state, row.acked) == ("closed", writer.seq)
    assert [tuple(a) for a in attempts] == [(1, 1, 1), (x, 1, 2), (y, 1, 2), (y, 2, 2), (y + 3, 1, 1)]
    assert not writer.folder.exists()
    assert {("user", 1), ("token", 1)} <= house.freed_accounts
    keeper.let_go()


async def test_the_living_are_not_replayed(house: House) -> None:
    """A stopped worker keeps its lock."""
    writer = house.writer()
    writer.put(intent(lost=5))
    keeper = await house.keeper(writer, live=False)
    for _ in range(3):
        keeper.lock_poll_ms = 0
        assert not await keeper.round()
    assert await count(house.db, "receipts") == 0
    writer.kill()
    keeper.lock_poll_ms = 0
    assert await keeper.round()
    assert await count(house.db, "receipts") == 1
    keeper.let_go()


async def test_many_open_exchanges_are_closed_in_bounded_transactions(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bookkeeper, "CLOSE_BATCH", 4)
    writer = house.writer()
    writer.put(*(intent(lost=1) for _ in range(10)))
    await house.close(writer)
    assert await count(house.db, "receipts") == 10
    assert (await balance(house.db, "user")).used == 10


async def test_a_clean_journal_leaves_nothing(house: House) -> None:
    writer = house.writer()
    keeper = await house.keeper(writer)
    await house.grant(keeper, 50)
    writer.exchange(30, hold=50)
    writer.give_back("user", 1, 20)
    writer.give_back("token", 1, 20)
    writer.stop()
    keeper.live = False
    assert await keeper.round()
    assert [row.state for row in await receipts(house.db)] == ["done"]
    assert await balance(house.db, "user") == Account(30, 0)
    keeper.let_go()


async def test_copies_at_rollover_are_not_second_exchanges(house: House) -> None:
    writer = house.writer()
    x, y = writer.put(intent(lost=3)), writer.put(intent(lost=4))
    first = writer.path
    writer.roll()
    writer.put(Kept(x, intent(lost=3)), Kept(y, intent(lost=4)), end(y, 9))
    first.unlink()
    await house.close(writer)
    assert [(row.x, row.state, row.charge) for row in await receipts(house.db)] == [
        (x, "interrupted", 3),
        (y, "done", 9),
    ]


def test_halves_come_to_the_same() -> None:
    good = [(seq, end(seq, 1)) for seq in (2, 4, 6, 8, 10)]
    bad = [(seq, 0, b"", "") for seq in (1, 5, 9)]
    left, right = Batch(list(good), bad, 12).halves(0)
    assert (left.upto, right.upto) == (4, 12)
    assert left.good + right.good == good
    assert [b[0] for b in left.bad] == [1]
    assert [b[0] for b in right.bad] == [5, 9]
    left, right = Batch(list(good), bad, 12, unseen=True).halves(0)
    assert (left.upto, right.upto) == (4, 12), "late ones: a crash in between must not lose the right half"
    left, right = Batch(list(good), [], 12, unseen=True, closing=True).halves(7)
    assert (left.upto, left.closing, right.upto, right.closing) == (7, False, 12, True), "the watermark never falls"
