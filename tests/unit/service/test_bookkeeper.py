"""One journal's way into the ledger, round by round."""

from __future__ import annotations

import asyncio
import errno
import shutil
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import text

from burncloud.database import journals, leases, ledger
from burncloud.database.engine import Database
from burncloud.database.journals import Guard, StaleEpoch
from burncloud.database.leases import Account as AccountKey
from burncloud.domain.journal import Again, Attempt, Kept, Progress, Return
from burncloud.domain.usage import Usage
from burncloud.service import bookkeeper, segments
from burncloud.service.billing import verify
from burncloud.service.bookkeeper import KEPT_FOLDER, Batch, Keeper, WatermarkMoved
from burncloud.service.segments import Foreign
from tests.books import Account, Writer, balance, count, end, intent, ledger_of, receipts


class House:
    """Listens to keepers."""

    def __init__(self, db: Database, guard: Guard, root: Path, ledger: str) -> None:
        self.db = db
        self.guard = guard
        self.root = root
        self.ledger = ledger
        self.acks: list[int] = []
        self.rewrites = 0
        self.freed_accounts: set[AccountKey] = set()
        self.alarms: list[str] = []

    def booked(self, uuid: str, seq: int) -> None:
        self.acks.append(seq)

    def cannot_sync(self, uuid: str) -> None:
        self.rewrites += 1

    def freed(self, accounts: Iterable[AccountKey]) -> None:
        self.freed_accounts |= set(accounts)

    def alarm(self, kind: str, uuid: str, why: str) -> None:
        self.alarms.append(kind)

    def writer(self, **settings: Any) -> Writer:
        """A worker's journal in this house."""
        return Writer(self.root, **({"ledger": self.ledger} | settings))

    async def keeper(self, writer: Writer | Path, live: bool = True) -> Keeper:
        """A keeper that knows its journal's row."""
        keeper = Keeper(writer.folder if isinstance(writer, Writer) else writer, self.ledger, self)
        await keeper.ensure_row()
        keeper.live = live
        return keeper

    async def grant(self, keeper: Keeper, amount: int) -> None:
        """As much to user 1 and token 1."""
        assert keeper.row is not None
        grants = {(keeper.row.id, kind, 1): amount for kind in ("user", "token")}
        await self.db.run(lambda connection: leases.add_grants(connection, grants))

    async def close(self, writer: Writer) -> None:
        """The worker dies, another keeper replays."""
        writer.kill()
        keeper = await self.keeper(writer, live=False)
        assert await keeper.round()
        keeper.let_go()


@pytest_asyncio.fixture
async def house(db: Database, tmp_path: Path) -> AsyncIterator[House]:
    """Of epoch 1."""
    guard = await db.run(lambda connection: journals.bump_epoch(connection, "here"))
    made = House(db, guard, tmp_path, await ledger_of(db))
    yield made
    report = await verify(db)
    assert report.faults == []


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

    async def booking(*arguments: Any) -> bool:
        order.append("book")
        booked: bool = await book(*arguments)
        return booked

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

        async def booking(*arguments: Any, book: Any = book, fail_at: int = fail_at) -> Any:
            nonlocal calls
            calls += 1
            if calls == fail_at:
                raise ZeroDivisionError
            return await book(*arguments)

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

    async def close(connection: Any) -> None:
        await ledger.close(connection, row.id, 5)

    await house.db.run(close)
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
    begin, lost = Database.begin, [True, False, True, False]

    def breaking(self: Database) -> Any:
        block = begin(self)

        class Block:
            async def __aenter__(self) -> Any:
                return await block.__aenter__()

            async def __aexit__(self, *what: Any) -> Any:
                done = await block.__aexit__(*what)
                if what[0] is None and lost and lost.pop(0):
                    raise ConnectionResetError("reply lost")
                return done

        return Block()

    monkeypatch.setattr(Database, "begin", breaking)
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
    await house.db.run(lambda connection: journals.bump_epoch(connection, "here"))
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


def test_halves_come_to_the_same() -> None:
    good = [(seq, end(seq, 1)) for seq in (2, 4, 6, 8, 10)]
    bad = [(seq, 0, b"", "") for seq in (1, 5, 9)]
    left, right = Batch(list(good), bad, 12).halves()
    assert (left.upto, right.upto) == (4, 12)
    assert left.good + right.good == good
    assert [b[0] for b in left.bad] == [1]
    assert [b[0] for b in right.bad] == [5, 9]
    left, right = Batch(list(good), [], 12, unseen=True, closing=True).halves()
    assert (left.upto, left.closing, right.upto, right.closing) == (12, False, 12, True)
