"""Booking, closing, and finding what does not add up."""

from __future__ import annotations

import asyncio
import random
from functools import partial

import pytest
from sqlalchemy import text

from burncloud.database import journals, leases, ledger
from burncloud.database.driver import Tx
from burncloud.database.engine import DATABASE_ERRORS, Database
from burncloud.database.journals import Guard, StaleEpoch
from burncloud.database.ledger import Booking, Fault
from burncloud.domain.journal import End, Return
from burncloud.service.billing import booking
from tests.books import Account, balance, count, end


async def _open(db: Database, uuid: str = "a") -> tuple[Guard, int]:
    guard = await db.ledger(lambda tx: journals.bump_epoch(tx, "here"))
    row = await db.ledger(lambda tx: journals.ensure_journal(tx, guard, uuid, 1))
    return guard, row.id


async def _book(
    db: Database, guard: Guard, journal: int, before: int, after: int, *records: End | Return, state: str = "open"
) -> bool:
    what = booking(journal, records)
    return await db.ledger(lambda tx: ledger.book(tx, guard, journal, state, before, after, what))


async def test_a_batch_is_booked_with_its_watermark(db: Database) -> None:
    guard, journal = await _open(db)
    await db.ledger(lambda tx: leases.add_grants(tx, {(journal, "token", 1): 100}))
    assert await _book(db, guard, journal, 0, 6, end(1, 30, 50), end(3, 5), Return("token", 1, 20))
    assert await balance(db, "user") == Account(35, -30)
    assert await balance(db, "token") == Account(35, 50)
    assert await balance(db, "channel") == Account(35, 0)
    assert [await count(db, table) for table in ("receipts", "attempts", "usage_hourly")] == [2, 2, 1]


async def test_the_second_time_nothing_is_written(db: Database) -> None:
    guard, journal = await _open(db)
    assert await _book(db, guard, journal, 0, 2, end(1, 30))
    assert not await _book(db, guard, journal, 0, 2, end(1, 30))
    assert not await _book(db, guard, journal, 2, 4, end(3, 30), state="closed")
    assert (await balance(db, "user")).used == 30


async def test_the_unique_key_is_the_backstop(db: Database) -> None:
    guard, journal = await _open(db)
    assert await _book(db, guard, journal, 0, 2, end(1, 30))
    with pytest.raises(DATABASE_ERRORS):
        await _book(db, guard, journal, 2, 4, end(1, 30))
    assert (await balance(db, "user")).used == 30


async def test_a_stale_control_process_books_nothing(db: Database) -> None:
    guard, journal = await _open(db)
    await db.ledger(lambda tx: journals.bump_epoch(tx, "here"))
    with pytest.raises(StaleEpoch):
        await _book(db, guard, journal, 0, 2, end(1, 30))
    assert await count(db, "receipts") == 0


async def test_the_roll_up_adds_up(db: Database) -> None:
    guard, journal = await _open(db)
    hour = 3_600_000_000_000
    for batch in range(2):
        records = [end(1 + 10 * batch, 7), end(2 + 10 * batch, 8), end(3 + 10 * batch, 9, time_ns=5 * hour + 1)]
        assert await _book(db, guard, journal, batch, batch + 1, *records)
    async with db.read() as connection:
        query = text('SELECT hour, requests, "input", "output", charge FROM usage_hourly ORDER BY hour')
        rows = [tuple(row) for row in await connection.execute(query)]
    assert rows == [(18_000, 2, 200, 400, 18), (1_699_999_200, 4, 400, 800, 30)]


async def test_closing_gives_the_rest_back(db: Database) -> None:
    guard, journal = await _open(db)
    grants = {(journal, "token", 1): 100, (journal, "token", 2): 10, (journal, "user", 1): 40}
    await db.ledger(lambda tx: leases.add_grants(tx, grants))
    await _book(db, guard, journal, 0, 2, end(1, 30, 40), Return("token", 2, 10))

    def close(tx: Tx) -> list[tuple[str, int]]:
        assert ledger.book(tx, guard, journal, "open", 2, 5, Booking([], [], [], [], [], []))
        return ledger.close(tx, journal, 99)

    assert await db.ledger(close) == [("token", 1), ("token", 2), ("user", 1)]
    for kind, account in (("token", 1), ("token", 2), ("user", 1)):
        assert (await balance(db, kind, account)).leased == 0
    async with db.read() as connection:
        found = await journals.find_journal(connection, "a")
    assert found is not None
    assert (found.state, found.acked) == ("closed", 5)


async def _faults(db: Database) -> list[Fault]:
    async with db.read(snapshot=True) as connection:
        _, faults = await ledger.balance_faults(connection)
        _, more = await ledger.attempt_faults(connection)
    return faults + more


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        ("UPDATE balances SET used = used + 1 WHERE kind = 'user'", Fault("used", "user", "1", 31, 30)),
        ("UPDATE balances SET used = 0 WHERE kind = 'channel'", Fault("used", "channel", "1", 0, 30)),
        ("DELETE FROM balances WHERE kind = 'user'", Fault("used", "user", "1", 0, 30)),
        ("UPDATE balances SET leased = leased - 5 WHERE kind = 'token'", Fault("leased", "token", "1", 65, 70)),
        ("INSERT INTO ledger_carry (kind, id, amount) VALUES ('user', 1, 3)", Fault("used", "user", "1", 30, 33)),
        ("INSERT INTO balances (kind, id, used) VALUES ('user', 8, 3)", Fault("used", "user", "8", 3, 0)),
    ],
)
async def test_what_does_not_add_up_is_named(db: Database, damage: str, fault: Fault) -> None:
    guard, journal = await _open(db)
    await db.ledger(lambda tx: leases.add_grants(tx, {(journal, "token", 1): 100}))
    assert await _book(db, guard, journal, 0, 2, end(1, 30, 30, hold_user=0, draw_user=0))
    assert await _faults(db) == []
    async with db.begin() as connection:
        await connection.execute(text(damage))
    faults = await _faults(db)
    assert fault in faults
    assert {found.what for found in faults} == {fault.what}


async def test_rows_and_attempts_are_compared_one_by_one(db: Database) -> None:
    """Two wrongs that cancel out in the sums are still found."""
    guard, journal = await _open(db)
    await _book(db, guard, journal, 0, 2, end(1, 30), end(3, 30))
    async with db.begin() as connection:
        await connection.execute(text("UPDATE attempts SET charge = charge + 4 WHERE x = 1"))
        await connection.execute(text("UPDATE attempts SET charge = charge - 4 WHERE x = 3"))
        await connection.execute(text("INSERT INTO attempts (journal, x, n, day) VALUES (77, 1, 1, 1)"))
    assert sorted(await _faults(db)) == [
        Fault("attempts", "receipt", f"{journal}/1", 30, 34),
        Fault("attempts", "receipt", f"{journal}/3", 30, 26),
        Fault("attempts", "receipt", "77/1", 0, 0),
    ]


async def test_bookings_at_once_do_not_deadlock(db: Database) -> None:
    """Eight journals over the same accounts, in every order; each lock is taken in the one order."""
    guard = await db.ledger(lambda tx: journals.bump_epoch(tx, "here"))

    async def journal(name: str) -> None:
        row = await db.ledger(lambda tx: journals.ensure_journal(tx, guard, name, 1))
        shuffle = random.Random(name)
        for batch in range(10):
            tokens = shuffle.sample(range(1, 41), 30)
            records = [end(batch * 100 + n, 10, user=token % 5 + 1, token=token) for n, token in enumerate(tokens)]
            what = booking(row.id, records)
            book = partial(ledger.book, guard=guard, journal=row.id, state="open", before=batch, after=batch + 1)
            assert await db.ledger_once(partial(book, booking=what))  # not ledger(): a deadlock must show

    await asyncio.gather(*(journal(str(n)) for n in range(8)))
    assert await count(db, "receipts") == 8 * 10 * 30
    assert await _faults(db) == []
