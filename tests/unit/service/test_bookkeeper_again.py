"""A journal read twice, late, by a stranger; a database that forgets: what a keeper makes of it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from sqlalchemy import text

from burncloud.database import journals, ledger
from burncloud.database.engine import Database
from burncloud.database.journals import StaleEpoch
from burncloud.domain.journal import Return
from burncloud.service import bookkeeper
from burncloud.service.billing import verify
from burncloud.service.bookkeeper import KEPT_FOLDER, Keeper, WatermarkMoved
from burncloud.service.segments import Foreign
from tests.books import Account, balance, count, end, intent, receipts
from tests.keepers import House, open_house


@pytest_asyncio.fixture
async def house(db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    """Of epoch 1; everything is booked when it is read; in the end it adds up."""
    monkeypatch.setattr(bookkeeper, "BOOK_EVERY_MS", 0)
    yield await open_house(db, tmp_path)
    assert (await verify(db)).faults == []


# Twice, late, foreign


async def test_a_crash_anywhere_in_the_close_changes_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The transaction fails, or it is done and its files are still there: the next keeper comes to the same."""
    monkeypatch.setattr(bookkeeper, "CLOSE_BATCH", 2)
    for fail_at in range(5):
        writer = house.writer()
        keeper = await house.keeper(writer)
        await house.grant(keeper, 100)
        writer.exchange(30, hold=50)
        writer.put(*(intent(hold=5, lost=1) for _ in range(5)))
        writer.kill()
        calls = 0
        book, remove = ledger.book, Keeper._remove

        def booking(*arguments: Any, book: Any = book, fail_at: int = fail_at) -> Any:
            nonlocal calls
            calls += 1
            if calls == fail_at:
                raise ZeroDivisionError
            return book(*arguments)

        def removing(self: Keeper, remove: Any = remove, fail_at: int = fail_at) -> None:
            if fail_at == 0:
                raise ZeroDivisionError
            remove(self)

        with monkeypatch.context() as patch:
            patch.setattr(ledger, "book", booking)
            patch.setattr(Keeper, "_remove", removing)
            keeper.live = False
            with pytest.raises(ZeroDivisionError):
                await keeper.round()
            keeper.let_go()
        again = await house.keeper(writer, live=False)
        assert await again.round()
        again.let_go()
        assert not writer.folder.exists()
    assert await balance(house.db, "user") == await balance(house.db, "token") == Account(5 * 35, 0)
    assert await count(house.db, "receipts") == 5 * 6


async def test_a_journal_copied_back_after_its_close_is_not_booked_again(house: House, tmp_path: Path) -> None:
    writer = house.writer()
    writer.exchange(30)
    writer.put(intent(lost=5))
    copy = writer.copy(tmp_path / "copy")
    await house.close(writer)
    for _ in range(2):
        shutil.copytree(copy, writer.folder)
        keeper = await house.keeper(writer, live=False)
        assert await keeper.round()
        keeper.let_go()
        assert not writer.folder.exists()
    assert (await balance(house.db, "user")).used == 35
    assert await count(house.db, "receipts") == 2
    assert house.alarms == []


async def test_what_a_closed_journal_still_brings_is_booked_late(house: House) -> None:
    """Its files were missing when it was closed; then they are found."""
    writer = house.writer()
    keeper = await house.keeper(writer)
    await house.grant(keeper, 100)
    writer.exchange(30, hold=50)
    await keeper.round()
    keeper.let_go()
    assert keeper.row is not None
    row = keeper.row

    await house.db.ledger(lambda tx: ledger.close(tx, row.id, 5))
    writer.exchange(40, hold=50)
    writer.put(Return("user", 1, 20))
    x = writer.put(intent(hold=50, lost=6))
    writer.kill()
    late = await house.keeper(writer, live=False)
    assert await late.round()
    late.let_go()
    rows = await receipts(house.db)
    assert [(row.x, row.late, row.charge) for row in rows] == [(1, False, 30), (3, True, 40), (x, True, 6)]
    assert await balance(house.db, "user") == await balance(house.db, "token") == Account(76, 0)


@pytest.mark.parametrize("settings", [{"ledger": "f" * 32}, {"version": 9}])
async def test_a_foreign_journal_is_left_alone(house: House, settings: dict[str, Any]) -> None:
    writer = house.writer(**settings)
    writer.exchange(30)
    writer.kill()
    keeper = Keeper(writer.folder, house.ledger, house)
    with pytest.raises(Foreign):
        await keeper.ensure_row()
    with pytest.raises(Foreign):
        await keeper.round()
    keeper.let_go()
    assert writer.path.exists()
    assert await count(house.db, "receipts") == 0


async def test_a_folder_without_a_row_is_left_alone_for_a_while(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be a worker's in the moment between mkdir and flock."""
    writer = house.writer()
    writer.kill()
    keeper = Keeper(writer.folder, house.ledger, house)
    assert not await keeper.round()
    assert not keeper.dead
    monkeypatch.setattr(bookkeeper, "GRACE_MS", 0)
    assert await keeper.round()
    keeper.let_go()


# What the database does


async def test_a_commit_whose_reply_was_lost_is_found_again(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection breaks after COMMIT took effect: nothing is booked twice, the ack comes."""
    writer = house.writer()
    keeper = await house.keeper(writer)
    once, lost = Database.ledger_once, [True, False, True, False]

    async def breaking(self: Database, work: Any) -> Any:
        result = await once(self, work)
        if lost and lost.pop(0):
            raise ConnectionResetError("reply lost")
        return result

    monkeypatch.setattr(Database, "ledger_once", breaking)
    writer.exchange(30)
    await keeper.round()
    assert house.acks == [2]
    writer.put(intent(lost=4))
    writer.kill()
    keeper.live = False
    assert await keeper.round()
    assert not lost
    assert (await balance(house.db, "user")).used == 34
    keeper.let_go()


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
@pytest.mark.parametrize("arrives", [True, False])
async def test_a_commit_that_is_on_its_way_as_its_process_dies(
    house: House, monkeypatch: pytest.MonkeyPatch, arrives: bool
) -> None:
    """PostgreSQL carries it out when it comes: the successor waits for that at the epoch, and reads only then.

    (With SQLite, a process takes its transaction with it.)
    """
    writer = house.writer()
    keeper = await house.keeper(writer)
    writer.exchange(30)
    writer.put(intent(lost=4))
    execute, sent, comes = asyncpg.Connection.execute, asyncio.Event(), asyncio.Event()

    async def slowly(self: Any, query: str, *values: Any, **more: Any) -> Any:
        if query.startswith("COMMIT") and not sent.is_set():
            sent.set()
            await comes.wait()
        return await execute(self, query, *values, **more)

    monkeypatch.setattr(asyncpg.Connection, "execute", slowly)
    dying = asyncio.create_task(keeper.round())
    await sent.wait()
    successor = asyncio.create_task(open_house(house.db, house.root))
    await asyncio.sleep(0.2)
    assert not successor.done()
    (comes.set if arrives else dying.cancel)()
    await asyncio.gather(dying, return_exceptions=True)
    await (await successor).close(writer)
    assert [(row.state, row.charge) for row in await receipts(house.db)] == [("done", 30), ("interrupted", 4)]
    keeper.let_go()


async def test_a_watermark_that_fell_is_booked_again(house: House) -> None:
    """A failover or restore took the last transactions: the segments are still there."""
    writer = house.writer()
    keeper = await house.keeper(writer)
    for _ in range(2):
        writer.exchange(30)
        await keeper.round()
    tables = ("receipts", "attempts", "usage_hourly", "balances")
    async with house.db.begin() as connection:  # as if restored to a state before
        for table in tables:
            await connection.execute(text(f"DELETE FROM {table}"))
        await connection.execute(text("UPDATE journals SET acked = 0"))
    writer.exchange(40)
    with pytest.raises(WatermarkMoved):
        await keeper.round()
    await keeper.round()
    assert house.alarms == ["watermark"]
    assert house.acks == [2, 4, 6]
    assert (await balance(house.db, "user")).used == 100
    keeper.let_go()


async def test_segments_gone_before_they_were_booked_are_a_gap(house: House) -> None:
    writer = house.writer()
    writer.exchange(30)
    first = writer.path
    writer.roll()
    writer.exchange(40)
    first.unlink()
    keeper = await house.keeper(writer)
    await keeper.round()
    assert house.alarms == ["gap"]
    assert (await balance(house.db, "user")).used == 40
    keeper.let_go()


async def test_something_broken_is_kept(house: House, tmp_path: Path) -> None:
    writer = house.writer()
    writer.exchange(30)
    writer.put(end(9, 1))
    data = writer.path.read_bytes()
    writer.path.write_bytes(data[:-2])
    name = f"{writer.uuid}-{writer.path.name}"
    await house.close(writer)
    assert house.alarms == ["broken"]
    assert (tmp_path / KEPT_FOLDER / name).read_bytes() == data[:-2]
    assert (await balance(house.db, "user")).used == 30


async def test_a_stale_keeper_writes_nothing(house: House) -> None:
    writer = house.writer()
    keeper = await house.keeper(writer)
    await house.db.ledger(lambda tx: journals.bump_epoch(tx, "here"))
    writer.exchange(30)
    with pytest.raises(StaleEpoch):
        await keeper.round()
    assert await count(house.db, "receipts") == 0
    keeper.let_go()


async def test_keepers_at_once_share_accounts_without_deadlock(house: House) -> None:
    writers = [house.writer() for _ in range(6)]
    keepers = [await house.keeper(writer) for writer in writers]
    for number, writer in enumerate(writers):
        for n in range(60):
            token = (n * 7 + number * 13) % 40 + 1
            writer.exchange(10, user=token % 5 + 1, token=token)
        writer.kill()
    for keeper in keepers:
        keeper.live = False
    assert all(await asyncio.gather(*(keeper.round() for keeper in keepers)))
    assert await count(house.db, "receipts") == 360
    for keeper in keepers:
        keeper.let_go()
