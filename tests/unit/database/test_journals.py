"""Watermarks and epochs."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from burncloud.database import journals
from burncloud.database.driver import Tx
from burncloud.database.engine import Database
from burncloud.database.journals import Guard, JournalRow, StaleEpoch


async def _take_over(db: Database, node: str = "here") -> Guard:
    return await db.ledger(lambda tx: journals.bump_epoch(tx, node))


async def _ensure(db: Database, guard: Guard, uuid: str) -> JournalRow:
    return await db.ledger(lambda tx: journals.ensure_journal(tx, guard, uuid, 1_700_000_000))


async def test_the_ledger_has_an_id_of_its_own(db: Database) -> None:
    async with db.read() as connection:
        assert len(await journals.read_ledger(connection)) == 32


async def test_only_the_last_to_come_may_write(db: Database) -> None:
    old = await _take_over(db)
    await _ensure(db, old, "a")
    new = await _take_over(db)
    assert new == Guard("here", old.epoch + 1)
    with pytest.raises(StaleEpoch, match=f"epoch {old.epoch} "):
        await _ensure(db, old, "b")
    await _ensure(db, new, "b")


async def test_nodes_do_not_disturb_each_other(db: Database) -> None:
    here = await _take_over(db)
    await _take_over(db, "there")
    await _ensure(db, here, "a")


async def test_a_node_never_seen_may_not_write(db: Database) -> None:
    with pytest.raises(StaleEpoch):
        await _ensure(db, Guard("nobody", 1), "a")


async def test_a_successor_waits_for_the_transaction_that_runs(postgres_url: str) -> None:
    """On SQLite one writer excludes the other anyway."""
    from burncloud.database.engine import open_database
    from burncloud.database.migrate import ensure_schema

    db = open_database(postgres_url)
    await ensure_schema(db)
    guard = await _take_over(db)

    def slow(tx: Tx) -> None:
        journals.check_epoch(tx, guard)
        tx.fetch("SELECT 1 FROM pg_sleep(0.3)")

    booking = asyncio.create_task(db.ledger(slow))
    await asyncio.sleep(0.1)
    taking = asyncio.create_task(_take_over(db))
    await asyncio.sleep(0.1)
    assert not taking.done()
    await booking
    assert (await taking).epoch == guard.epoch + 1
    await db.close()


async def test_a_journal_has_one_row_whoever_asks(db: Database) -> None:
    guard = await _take_over(db)
    found = await asyncio.gather(*(_ensure(db, guard, "a") for _ in range(5)))
    assert set(found) == {JournalRow(found[0].id, "a", "here", "open", 0)}
    async with db.read() as connection:
        assert await journals.find_journal(connection, "a") == found[0]
        assert await journals.find_journal(connection, "b") is None


async def test_the_watermark_moves_from_where_it_is_only(db: Database) -> None:
    guard = await _take_over(db)
    row = await _ensure(db, guard, "a")

    async def move(state: str, before: int, after: int) -> bool:
        return await db.ledger(lambda tx: journals.move_watermark(tx, row.id, state, before, after))

    assert await move("open", 0, 7)
    assert not await move("open", 0, 7)
    assert not await move("closed", 7, 9)
    assert await move("open", 7, 7)
    assert (await _ensure(db, guard, "a")).acked == 7


async def test_open_journals_of_a_node(db: Database) -> None:
    here, there = await _take_over(db), await _take_over(db, "there")
    for guard, uuid in ((here, "a"), (there, "b"), (here, "c")):
        await _ensure(db, guard, uuid)
    closed = await _ensure(db, here, "c")
    await db.ledger(lambda tx: journals.mark_closed(tx, closed.id, 5))
    async with db.read() as connection:
        assert [row.uuid for row in await journals.open_journals(connection)] == ["a", "b"]
        assert [row.uuid for row in await journals.open_journals(connection, "here")] == ["a"]
        found = await journals.find_journal(connection, "c")
    assert found is not None
    assert found.state == "closed"


async def test_a_record_is_put_aside_once(db: Database) -> None:
    for reason in ("bad", "worse"):
        await db.ledger(partial(journals.put_aside, journal=1, seq=7, x=3, payload=b"\x00", reason=reason, now_s=5))
        await db.ledger(partial(journals.put_aside, journal=2, seq=7, x=9, payload=b"", reason=reason, now_s=5))
    async with db.read() as connection:
        assert await journals.put_aside_xs(connection, 1) == {3}
        assert await journals.count_put_aside(connection) == 2
