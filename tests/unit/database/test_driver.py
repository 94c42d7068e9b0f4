"""The ledger's way past SQLAlchemy: same words, same effect on both engines."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text

from burncloud.database import engine
from burncloud.database.driver import Tx
from burncloud.database.engine import DATABASE_ERRORS, Database
from burncloud.database.schema import attempts, balances

ATTEMPT = (1, 1, 1, 3, 4, 5, "first", 1, 200, 0, 9, 0)
KEYS, SUMS = ("kind", "id"), ("used", "leased")


async def _count(db: Database, table: str) -> Any:
    async with db.read() as connection:
        return (await connection.execute(text(f"SELECT count(*) FROM {table}"))).scalar()


async def test_rows_go_in_and_come_out(db: Database) -> None:
    rows = [(1, x, n, 3, 4, 5, "first", 1, 200, x * 10, 9, 7) for x in range(50) for n in (1, 2)]

    def work(tx: Tx) -> str:
        tx.insert_rows(attempts, rows)
        tx.insert_rows(attempts, [])
        assert tx.fetch("SELECT * FROM attempts WHERE journal = $1 ORDER BY x, n", 1) == rows
        assert tx.execute("UPDATE attempts SET sent = $1 WHERE n = $2", 0, 2) == 50
        assert tx.execute("UPDATE attempts SET sent = $1 WHERE n = $2", 0, 9) == 0
        assert tx.postgres == (db.dialect == "postgresql")
        return "done"

    assert await db.ledger(work) == "done"
    assert await _count(db, "attempts") == 100


async def test_adding_makes_rows_and_adds_to_rows(db: Database) -> None:
    def work(tx: Tx) -> list[Any]:
        tx.add_rows(balances, KEYS, SUMS, [("token", 1, 5, 6), ("user", 1, 1 << 61, -1)])
        tx.add_rows(balances, KEYS, SUMS, [("token", 1, -2, 1), ("token", 2, 1, 0)])
        tx.add_rows(balances, KEYS, ("leased",), [("user", 1, 3)])
        tx.add_rows(balances, KEYS, SUMS, [])
        return tx.fetch("SELECT kind, id, used, leased FROM balances ORDER BY kind, id")

    assert await db.ledger(work) == [("token", 1, 3, 7), ("token", 2, 1, 0), ("user", 1, 1 << 61, 2)]


async def test_all_of_it_or_nothing(db: Database) -> None:
    def work(tx: Tx) -> None:
        tx.insert_rows(attempts, [ATTEMPT])
        tx.add_rows(balances, KEYS, SUMS, [("user", 1, 1, 1)])
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await db.ledger(work)
    assert await _count(db, "attempts") == await _count(db, "balances") == 0
    await db.ledger(lambda tx: tx.insert_rows(attempts, [ATTEMPT]))
    assert await _count(db, "attempts") == 1


async def test_a_key_twice_is_refused(db: Database) -> None:
    with pytest.raises(DATABASE_ERRORS):
        await db.ledger(lambda tx: tx.insert_rows(attempts, [ATTEMPT, ATTEMPT]))
    assert await _count(db, "attempts") == 0


async def test_what_is_transient_is_tried_again(db: Database) -> None:
    tries = 0

    def work(tx: Tx) -> None:
        nonlocal tries
        tries += 1
        tx.insert_rows(attempts, [ATTEMPT])
        if tries < 3:
            raise ConnectionResetError

    await db.ledger(work)
    assert (tries, await _count(db, "attempts")) == (3, 1)
    with pytest.raises(ConnectionResetError):
        await db.ledger(lambda tx: _reset(), 30)


def _reset() -> None:
    raise ConnectionResetError


async def test_the_ledger_and_people_take_turns(db: Database) -> None:
    """A booking between two writes of the REST API: neither waits for SQLite's busy time-out, none is lost."""
    await db.ledger(lambda tx: tx.add_rows(balances, KEYS, SUMS, [("user", 1, 0, 0)]))

    async def person() -> None:
        async with db.begin() as connection:
            await connection.execute(text("UPDATE balances SET used = used + 1"))
            await asyncio.sleep(0.001)

    async def booking() -> None:
        await db.ledger(lambda tx: tx.add_rows(balances, KEYS, SUMS, [("user", 1, 1, 0)]))

    await asyncio.gather(*(person() for _ in range(20)), *(booking() for _ in range(20)))
    assert await db.ledger(lambda tx: tx.fetch("SELECT used FROM balances")) == [(40,)]


async def test_a_cancelled_booking_is_all_or_nothing(db: Database, database_url: str) -> None:
    """Wherever it is cancelled; and what is booked after it is there for others, too."""

    def work(tx: Tx) -> None:
        tx.add_rows(balances, KEYS, SUMS, [("user", 1, 1, 0)])
        tx.add_rows(balances, KEYS, SUMS, [("user", 2, 1, 0)])

    for n in range(40):
        task = asyncio.create_task(db.ledger(work))
        for _ in range(n):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    for _ in range(engine.PG_CONNECTIONS):
        await db.ledger(work)
    other = engine.open_database(database_url)
    (one,), (two,) = await other.ledger(lambda tx: tx.fetch("SELECT used FROM balances"))
    await other.close()
    assert one == two >= engine.PG_CONNECTIONS


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
@pytest.mark.parametrize(("word", "nth"), [("BEGIN", 1), ("BEGIN", 2), ("COMMIT", 1), ("ROLLBACK", 1), ("ROLLBACK", 2)])
@pytest.mark.parametrize("error", [asyncio.CancelledError(), asyncpg.QueryCanceledError("by an operator")])
async def test_a_connection_that_may_be_inside_a_transaction_is_not_used_again(
    database_url: str, monkeypatch: pytest.MonkeyPatch, word: str, nth: int, error: BaseException
) -> None:
    """The word was refused, or took effect and its reply was lost: what is booked next must not depend on that.

    (It became a savepoint in there, was acknowledged, and fell with the connection.)  The first BEGIN and ROLLBACK
    are the pool's own, which looks whether the connection still lives.
    """
    monkeypatch.setattr(engine, "PG_CONNECTIONS", 1)
    db, other = engine.open_database(database_url), engine.open_database(database_url)
    await db.ledger(lambda tx: None)
    execute = asyncpg.Connection.execute
    said = 0

    async def lose(self: Any, query: str, *values: Any, **more: Any) -> str:
        nonlocal said
        said += query.startswith(word)
        hit = query.startswith(word) and said == nth
        status = "" if hit and isinstance(error, asyncpg.PostgresError) else await execute(self, query, *values, **more)
        if hit:
            raise error
        return status

    monkeypatch.setattr(asyncpg.Connection, "execute", lose)
    with suppress(asyncio.CancelledError, *DATABASE_ERRORS, ZeroDivisionError):
        await db.ledger(lambda tx: 1 // 0 if word == "ROLLBACK" else 1, 0)
    assert said >= nth
    await db.ledger(lambda tx: tx.insert_rows(attempts, [ATTEMPT]))
    assert await _count(other, "attempts") == 1
    await db.close()
    await other.close()


async def test_commits_of_the_ledger_are_durable(sqlite_url: str) -> None:
    db = engine.open_database(sqlite_url)
    for pragma, value in (("synchronous", 2), ("journal_mode", "wal"), ("wal_autocheckpoint", 0)):
        assert await db.ledger(lambda tx, name=pragma: tx.fetch(f"PRAGMA {name}")) == [(value,)]  # type: ignore[misc]
    await db.close()


async def test_a_server_that_does_not_answer_is_left(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "ANSWER_MS", 200)
    db = engine.open_database(postgres_url)
    start = time.monotonic()
    with pytest.raises(DATABASE_ERRORS) as hung:
        await db.ledger(lambda tx: tx.fetch("SELECT 1 FROM pg_sleep(20)"), 100)
    assert engine.transient(hung.value)
    assert time.monotonic() - start < 10
    assert await db.ledger(lambda tx: tx.fetch("SELECT 1")) == [(1,)]
    await db.close()
