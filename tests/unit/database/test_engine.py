"""Opening a database, transactions, and trying again."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import aiosqlite
import asyncpg
import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from burncloud.database import engine
from burncloud.database.engine import Database, DatabaseError, open_database, transient, unstorable
from burncloud.database.schema import settings


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:burncloud.db", "burncloud.db"),
        ("sqlite:///burncloud.db", "burncloud.db"),
        ("sqlite:////var/b.db", "/var/b.db"),
        ("sqlite:/var/b.db", "/var/b.db"),
        ("sqlite://b.db?mode=rwc", "b.db"),
    ],
)
async def test_a_sqlite_url_names_a_file(url: str, path: str) -> None:
    db = open_database(url)
    assert (db.path, db.dialect) == (Path(path), "sqlite")
    await db.close()


@pytest.mark.parametrize("url", ["sqlite:", "sqlite::memory:", "mysql://h/d", "burncloud.db", "postgres://u@h:port/d"])
def test_an_url_that_cannot_be_used_says_what_to_write(url: str) -> None:
    with pytest.raises(DatabaseError, match="write"):
        open_database(url)


async def test_a_postgres_url_in_both_spellings() -> None:
    for url in ("postgres://u@h/d", "postgresql://u@h/d?sslmode=require"):
        db = open_database(url)
        assert (db.path, db.dialect) == (None, "postgresql")
        await db.close()


async def _set(db: Database, value: str) -> None:
    async with db.begin() as connection:
        await connection.execute(text("INSERT INTO settings (name, value) VALUES ('a', :v)"), {"v": value})


async def _get(db: Database) -> str | None:
    async with db.read() as connection:
        return (await connection.execute(text("SELECT value FROM settings"))).scalar()


async def test_a_block_commits_or_rolls_back(db: Database) -> None:
    async def fail() -> None:
        async with db.begin() as connection:
            await connection.execute(text("INSERT INTO settings (name, value) VALUES ('a', 'lost')"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await _get(db) is None
    await _set(db, "kept")
    assert await _get(db) == "kept"


async def test_a_snapshot_sees_one_moment(db: Database) -> None:
    async with db.read(snapshot=True) as connection:
        before = (await connection.execute(text("SELECT count(*) FROM settings"))).scalar()
        await _set(db, "new")
        assert (await connection.execute(text("SELECT count(*) FROM settings"))).scalar() == before == 0
    assert await _get(db) == "new"


async def test_a_read_cannot_write(sqlite_url: str) -> None:
    db = open_database(sqlite_url)
    with pytest.raises(DBAPIError, match="readonly"):
        async with db.read() as connection:
            await connection.execute(text("INSERT INTO settings (name, value) VALUES ('a', 'b')"))
    await db.close()


async def test_many_writers_take_turns(db: Database) -> None:
    await _set(db, "0")

    query = select(settings.c.value).with_for_update()

    async def add(connection: AsyncConnection) -> None:
        value = int((await connection.execute(query)).scalar_one())
        await connection.execute(text("UPDATE settings SET value = :v"), {"v": str(value + 1)})

    await asyncio.gather(*(db.run(add) for _ in range(30)))
    assert await _get(db) == "30"


async def test_run_waits_for_another_process_to_let_go(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("burncloud.database.engine.BUSY_TIMEOUT_MS", 10)
    db = open_database(sqlite_url)
    other = sqlite3.connect(str(db.path), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    async def work(connection: AsyncConnection) -> None:
        await connection.execute(text("INSERT INTO settings (name, value) VALUES ('a', 'b')"))

    with pytest.raises(DBAPIError, match="locked") as locked:
        await db.run(work, 50)
    assert transient(locked.value)
    waiting = asyncio.create_task(db.run(work))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    other.execute("COMMIT")
    await waiting
    assert await _get(db) == "b"
    other.close()
    await db.close()


async def test_run_does_not_repeat_what_is_wrong(db: Database) -> None:
    tries = 0

    async def work(connection: AsyncConnection) -> None:
        nonlocal tries
        tries += 1
        for _ in range(2):
            await connection.execute(text("INSERT INTO settings (name, value) VALUES ('a', 'b')"))

    with pytest.raises(IntegrityError):
        await db.run(work)
    assert tries == 1
    assert await _get(db) is None


async def test_commits_are_durable(db: Database) -> None:
    """The ledger's acks rest on this."""
    async with db.begin() as connection:
        if db.dialect == "sqlite":
            assert (await connection.exec_driver_sql("PRAGMA synchronous")).scalar() == 2
            assert (await connection.exec_driver_sql("PRAGMA journal_mode")).scalar() == "wal"
            assert (await connection.exec_driver_sql("PRAGMA wal_autocheckpoint")).scalar() == 0
        else:
            assert (await connection.exec_driver_sql("SHOW synchronous_commit")).scalar() == "on"


async def test_who_stands_still_in_a_transaction_loses_its_locks(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL: a stopped process must not hold the books of others; woken, it may try again."""
    if database_url.startswith("sqlite"):
        pytest.skip("SQLite frees a lock only with its process")
    monkeypatch.setattr(engine, "IDLE_TRANSACTION_MS", 200)
    frozen, other = open_database(database_url), open_database(database_url)
    tries = 0

    async def work(connection: AsyncConnection) -> None:
        nonlocal tries
        tries += 1
        await connection.execute(text("INSERT INTO settings (name, value) VALUES ('a', 'mine')"))
        if tries == 1:
            await asyncio.gather(asyncio.sleep(0.6), other.run(theirs))
        await connection.execute(text("SELECT 1"))

    async def theirs(connection: AsyncConnection) -> None:
        await connection.execute(text("INSERT INTO settings (name, value) VALUES ('a', 'theirs')"))
        await connection.execute(text("DELETE FROM settings"))

    try:
        async with asyncio.timeout(10):
            await frozen.run(work)
        assert tries == 2
        assert await _get(other) == "mine"
    finally:
        await frozen.close()
        await other.close()


def _wal_bytes(db: Database) -> int:
    return Path(f"{db.path}-wal").stat().st_size


async def test_the_wal_is_written_back(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    db = open_database(sqlite_url)
    await _set(db, "x" * 100_000)
    size = _wal_bytes(db)
    await db.checkpoint()
    assert _wal_bytes(db) == size > 100_000  # too little to bother
    monkeypatch.setattr("burncloud.database.engine.WAL_BYTES", 1)
    monkeypatch.setattr("burncloud.database.engine.WAL_BYTES_MAX", 1)
    await db.checkpoint()
    assert _wal_bytes(db) == 0
    assert await _get(db) == "x" * 100_000
    await db.close()


def sqlite_error(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("x")
    error.sqlite_errorcode = code
    return error


def test_what_may_succeed_later() -> None:
    assert transient(sqlite_error(sqlite3.SQLITE_BUSY_SNAPSHOT))
    assert transient(sqlite_error(sqlite3.SQLITE_FULL))
    assert transient(ConnectionResetError())
    assert transient(TimeoutError())
    assert transient(asyncpg.InternalClientError("cannot switch to state 15; another operation (2) is in progress"))
    assert transient(asyncpg.QueryCanceledError("by an operator"))
    assert transient(asyncpg.ReadOnlySQLTransactionError("a standby, not promoted yet"))
    assert not transient(sqlite_error(sqlite3.SQLITE_ERROR))
    assert not transient(asyncpg.InsufficientPrivilegeError("on receipts"))
    assert not transient(OverflowError())
    assert not transient(ValueError())


@pytest.mark.parametrize(
    ("error", "is_so"),
    [
        (asyncpg.UniqueViolationError("x"), True),
        (asyncpg.CharacterNotInRepertoireError("x"), True),
        (asyncpg.NumericValueOutOfRangeError("x"), True),
        (asyncpg.ProgramLimitExceededError("index row too long"), True),
        (sqlite_error(sqlite3.SQLITE_CONSTRAINT | 8 << 8), True),
        (OverflowError(), True),
        (UnicodeEncodeError("utf8", "x", 0, 1, "surrogate"), True),
        (IntegrityError("INSERT", None, asyncpg.UniqueViolationError("x")), True),
        (sqlite_error(sqlite3.SQLITE_ERROR), False),
        (sqlite_error(sqlite3.SQLITE_BUSY), False),
        (sqlite3.ProgrammingError("closed"), False),
        (asyncpg.InterfaceError("closed"), False),
        (asyncpg.QueryCanceledError("x"), False),
        (asyncpg.NoActiveSQLTransactionError("x"), False),
        (asyncpg.UndefinedTableError("x"), False),
        (ConnectionResetError(), False),
        (TimeoutError(), False),
    ],
)
def test_what_can_never_be_stored(error: Exception, is_so: bool) -> None:
    assert unstorable(error) is is_so


async def test_a_cancelled_transaction_leaves_nothing_behind(db: Database) -> None:
    """Wherever it is cancelled: the next one begins anew, and either all of it or nothing is there."""

    async def work(n: int) -> None:
        async with db.begin() as connection:
            for part in ("a", "b"):
                values = {"n": f"{n}{part}"}
                await connection.execute(text("INSERT INTO settings (name, value) VALUES (:n, '')"), values)

    for n in range(40):
        task = asyncio.create_task(work(n))
        for _ in range(n):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await work(99)
    async with db.read() as connection:
        names = {name for (name,) in await connection.execute(text("SELECT name FROM settings"))}
    assert {"99a", "99b"} <= names
    assert {name[:-1] for name in names if name.endswith("a")} == {name[:-1] for name in names if name.endswith("b")}


async def test_a_cancelled_read_leaves_nothing_behind(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """(/health gives up on a slow database.)  Its connection stayed in a transaction: of no use, and the WAL grew."""
    monkeypatch.setattr(engine, "READERS", 1)
    db = open_database(sqlite_url)
    await _get(db)
    execute = aiosqlite.Connection.execute_fetchall

    async def breaking_off(self: aiosqlite.Connection, sql: str, *values: Any) -> Any:
        monkeypatch.undo()
        await execute(self, sql, *values)
        raise asyncio.CancelledError

    monkeypatch.setattr(aiosqlite.Connection, "execute_fetchall", breaking_off)
    with pytest.raises(asyncio.CancelledError):
        await _get(db)
    assert await _get(db) is None
    await db.close()
