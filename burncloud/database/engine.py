"""One way to SQLite and PostgreSQL: `begin()` to write, `read()` to look, `run()` to write until it succeeds.

SQLite: one writer at a time (BEGIN IMMEDIATE, synchronous=FULL: a commit that returned is on the disk)
and a few readers, WAL, no automatic checkpoints: only the control process calls `checkpoint()`, so that
no booking ever waits for one.  PostgreSQL: READ COMMITTED, synchronous_commit=on.  What the ledger writes is so
frequent that it goes past SQLAlchemy: `ledger()`, database/driver.py.
"""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeVar

import asyncpg
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as SQLAlchemyTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from burncloud import clock
from burncloud.database.driver import PostgresTx, SqliteTx, Tx

T = TypeVar("T")

BUSY_TIMEOUT_MS: Final = 1_000
"""How long SQLite itself waits for another process's write; `run` goes on from there."""
READERS: Final = 4
_PRAGMAS: Final = ("journal_mode=WAL", "wal_autocheckpoint=0", "foreign_keys=ON", "temp_store=MEMORY")
WRITER_PRAGMAS: Final = (*_PRAGMAS, "synchronous=FULL")
READER_PRAGMAS: Final = (*_PRAGMAS, "query_only=ON")
WAL_BYTES: Final = 4 << 20
WAL_BYTES_MAX: Final = 256 << 20
PG_CONNECTIONS: Final = 8
ANSWER_MS: Final = 30_000
"""As long PostgreSQL may take over one transaction of the ledger."""
IDLE_TRANSACTION_MS: Final = 10_000
RETRY_FIRST_MS: Final = 10
RETRY_MOST_MS: Final = 1_000

_DRIVER_ERRORS: Final = (asyncpg.InterfaceError, asyncpg.InternalClientError)
"""The second one: a connection whose last operation was broken off (a process that stood still, a deadline)."""
DATABASE_ERRORS: Final = (SQLAlchemyError, sqlite3.Error, asyncpg.PostgresError, *_DRIVER_ERRORS, OSError)
"""All that a database can throw: through SQLAlchemy, or its driver's own on the bulk paths."""
_RETRY_SQLSTATES: Final = ("40001", "40P01", "55P03", "57", "53", "08", "25", "58")
"""Serialisation, deadlock, lock timeout, an operator's doing (cancelled, shut down), out of resources, connection,
state of the transaction (a standby that cannot write, too), system errors."""
_DATA_SQLSTATES: Final = ("22", "23", "54")
"""Data, constraints, limits of the program."""
_RETRY_SQLITE: Final = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
_RETRY_SQLITE_TOO: Final = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_NOMEM)
_DATA_SQLITE: Final = (sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH)
_REFUSED_SQLITE: Final = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)
_REFUSED_SQLSTATES: Final = ("28", "3D")
"""Wrong user or password, no such database."""


class DatabaseError(Exception):
    """A DATABASE_URL that cannot be used; the message says what to write instead."""


def transient(error: BaseException) -> bool:
    """True if the same transaction may succeed later: locked, full, deadlocked, disconnected.

    False for what its own data or our own code got wrong (constraint, type, range, syntax).
    """
    if isinstance(error, DBAPIError):
        if error.connection_invalidated:
            return True
        cause: BaseException | None = getattr(error.orig, "__cause__", None) or error.orig
    elif isinstance(error, SQLAlchemyTimeout):
        return True
    else:
        cause = error
    if isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
        return code in _RETRY_SQLITE + _RETRY_SQLITE_TOO
    state = getattr(cause, "sqlstate", None)
    if state is not None:
        return str(state).startswith(_RETRY_SQLSTATES)
    return isinstance(cause, (OSError, TimeoutError, *_DRIVER_ERRORS)) and not isinstance(cause, ValueError)


def unstorable(error: BaseException) -> bool:
    """True if it is the values that the database cannot take (constraint, type, range): it never will.

    Neither this nor `transient`: a privilege, a table, our own code; what was to be stored may be as good as any.
    """
    cause = getattr(error, "orig", None) or error
    if isinstance(cause, sqlite3.Error):
        return getattr(cause, "sqlite_errorcode", 0) & 0xFF in _DATA_SQLITE
    state = getattr(cause, "sqlstate", None)
    return (
        str(state).startswith(_DATA_SQLSTATES) if state else isinstance(cause, (ValueError, TypeError, OverflowError))
    )


def refused(error: BaseException) -> bool:
    """True if DATABASE_URL itself is at fault: wrong password, no such database, a file that is none."""
    cause = getattr(error, "orig", None) or error
    cause = cause.__cause__ or cause
    state = str(getattr(cause, "sqlstate", None) or "")
    return state.startswith(_REFUSED_SQLSTATES) or getattr(cause, "sqlite_errorcode", 0) & 0xFF in _REFUSED_SQLITE


class Database:
    """An open database; made by `open_database`, ended by `close`."""

    def __init__(self, writer: AsyncEngine, reader: AsyncEngine, path: Path | None) -> None:
        self._writer = writer
        self._reader = reader
        self.path = path
        """The SQLite file; None on PostgreSQL."""
        self.dialect: str = writer.dialect.name
        """"sqlite" or "postgresql"."""
        self._writing = asyncio.Lock()
        """SQLite: who writes; first come, first served, instead of SQLite's sleeping and trying again."""
        self._thread = _LedgerThread(path) if path is not None else None

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        """A write transaction: committed at the end of the block, rolled back if it raises.

        Raises DBAPIError; after an error of the COMMIT itself it is unknown whether it took effect.
        """
        async with self._writing, self._writer.connect() as connection, self._transaction(connection):
            yield connection

    @asynccontextmanager
    async def _transaction(self, connection: AsyncConnection) -> AsyncIterator[None]:
        """SQLite: whatever a cancelled task still had on its way to the thread (a BEGIN, say), end its transaction."""
        try:
            async with connection.begin():
                yield
        except BaseException:
            if self.path is not None and not connection.invalidated:
                raw: Any = (await connection.get_raw_connection()).driver_connection
                with suppress(sqlite3.Error, ValueError):
                    await asyncio.shield(asyncio.ensure_future(raw.rollback()))
            raise

    @asynccontextmanager
    async def read(self, *, snapshot: bool = False) -> AsyncIterator[AsyncConnection]:
        """A transaction that only reads; `snapshot` makes all its statements see one moment.

        (On SQLite that is always so.)
        """
        async with self._reader.connect() as connection:
            if snapshot and self.dialect == "postgresql":
                await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            async with self._transaction(connection):
                yield connection

    async def run(self, work: Callable[[AsyncConnection], Awaitable[T]], deadline_ms: int = 60_000) -> T:
        """`work` in a write transaction, again with jitter while its failure is transient.

        `work` must bear being run twice, even where the first COMMIT took effect unseen.
        Raises the last error once `deadline_ms` have passed, anything else at once.
        """

        async def once() -> T:
            async with self.begin() as connection:
                return await work(connection)

        return await _again(once, deadline_ms)

    async def ledger(self, work: Callable[[Tx], T], deadline_ms: int = 60_000) -> T:
        """As `run`, for the ledger's own writes: `work` does not await, and costs one trip to SQLite's thread.

        Raises StaleEpoch and whatever else `work` raises; the driver's own errors.
        """
        return await _again(lambda: self.ledger_once(work), deadline_ms)

    async def ledger_once(self, work: Callable[[Tx], T]) -> T:
        """One try of `ledger`: committed when `work` returns, rolled back if it raises."""
        if self._thread is None:
            async with self._writer.connect() as connection:
                raw: Any = (await connection.get_raw_connection()).driver_connection
                # A server that no longer answers, nor says that it is gone: hang up, and try elsewhere.
                hang_up = asyncio.get_running_loop().call_later(ANSWER_MS / 1000, raw.terminate)
                try:
                    async with raw.transaction():
                        return await connection.run_sync(lambda inner: work(PostgresTx(inner.connection)))
                except BaseException:
                    # Where a BEGIN, COMMIT or ROLLBACK was broken off, nobody knows whether the connection is inside a
                    # transaction.  If it is, the next one would be a savepoint of it: committed in name only.
                    raw.terminate()
                    await connection.invalidate()
                    raise
                finally:
                    hang_up.cancel()
        async with self._writing:
            # A cancelled caller waits all the same: the transaction runs on, and the next must not meet it.
            running = asyncio.ensure_future(self._thread.run(work))
            try:
                return await asyncio.shield(running)
            except asyncio.CancelledError:
                await asyncio.wait([running])
                raise

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[AsyncConnection]:
        """A connection outside any transaction, for LISTEN (PostgreSQL) or a poll (SQLite)."""
        async with self._reader.connect() as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            yield connection

    async def checkpoint(self) -> None:
        """SQLite: move what stands in the WAL into the file; else nothing.  Only the control process calls this.

        No writer waits for it unless the WAL has grown past WAL_BYTES_MAX.  Raises DBAPIError, OSError.
        """
        if self.path is None:
            return
        size = _size(f"{self.path}-wal")
        if size < WAL_BYTES:
            return
        async with self.watch() as connection:
            how = "PASSIVE" if size < WAL_BYTES_MAX else "TRUNCATE"
            await connection.exec_driver_sql(f"PRAGMA wal_checkpoint({how})")

    async def close(self) -> None:
        """Close every connection."""
        if self._thread is not None:
            await self._thread.close()
        await self._writer.dispose()
        if self._reader is not self._writer:
            await self._reader.dispose()


async def _again(once: Callable[[], Awaitable[T]], deadline_ms: int) -> T:
    """`once`, again with jitter while its failure is transient, until the deadline."""
    end_ms = clock.monotonic_ms() + deadline_ms
    pause_ms = RETRY_FIRST_MS
    while True:
        try:
            return await once()
        except Exception as error:
            if not transient(error) or clock.monotonic_ms() >= end_ms:
                raise
        await asyncio.sleep(pause_ms * random.uniform(0.5, 1.5) / 1000)
        pause_ms = min(RETRY_MOST_MS, pause_ms * 2)


class _LedgerThread:
    """The ledger's own connection to SQLite, in a thread of its own; opened at first use."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._executor = ThreadPoolExecutor(1, "ledger")
        self._connection: sqlite3.Connection | None = None

    async def run(self, work: Callable[[Tx], T]) -> T:
        """A transaction, from BEGIN to COMMIT."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._run, work)

    def _run(self, work: Callable[[Tx], T]) -> T:
        connection = self._connection
        if connection is None:
            timeout_s = BUSY_TIMEOUT_MS / 1000
            connection = sqlite3.connect(self._path, timeout=timeout_s, isolation_level=None, check_same_thread=False)
            for pragma in WRITER_PRAGMAS:
                connection.execute(f"PRAGMA {pragma}")
            self._connection = connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            result = work(SqliteTx(connection))
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return result

    async def close(self) -> None:
        """After what still runs."""

        def close() -> None:
            if self._connection is not None:
                self._connection.close()

        await asyncio.get_running_loop().run_in_executor(self._executor, close)
        self._executor.shutdown()


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def open_database(url: str) -> Database:
    """The database at `sqlite:path`, `sqlite:///path` or `postgres[ql]://…`; connects at first use.

    Raises DatabaseError for any other URL.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "sqlite":
        return _open_sqlite(_sqlite_path(rest, url))
    if scheme in ("postgres", "postgresql"):
        return _open_postgres(f"postgresql+asyncpg:{rest}")
    raise DatabaseError(
        f"DATABASE_URL {scheme!r} is not known; write sqlite:burncloud.db or postgresql://user@host/name"
    )


def _sqlite_path(rest: str, url: str) -> Path:
    name = rest.partition("?")[0]
    if name.startswith("///"):
        name = name[3:]
    elif name.startswith("//"):
        name = name[2:]
    if not name or name.startswith(":memory:"):
        raise DatabaseError(f"DATABASE_URL {url!r} names no file; write it like sqlite:burncloud.db")
    return Path(name)


def _sqlite_engine(path: Path, pragmas: Sequence[str], begin: str, connections: int) -> AsyncEngine:
    engine = create_async_engine(
        URL.create("sqlite+aiosqlite", database=str(path)),
        pool_size=connections,
        max_overflow=0,
        pool_timeout=3600,
        pool_reset_on_return=None,  # every transaction is ended by its block; saves a trip to the thread
        connect_args={"isolation_level": None, "timeout": BUSY_TIMEOUT_MS / 1000},
    )

    @event.listens_for(engine.sync_engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        for pragma in pragmas:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def start(connection: Connection) -> None:
        if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
            # One trip to the connection's thread instead of the four of a cursor's life.
            try:
                connection.connection.run_async(lambda raw: raw.execute_fetchall(begin))
            except sqlite3.Error as error:
                raise OperationalError(begin, None, error) from error

    return engine


def _open_sqlite(path: Path) -> Database:
    writer = _sqlite_engine(path, WRITER_PRAGMAS, "BEGIN IMMEDIATE", 1)
    reader = _sqlite_engine(path, READER_PRAGMAS, "BEGIN", READERS)
    return Database(writer, reader, path)


def _open_postgres(url: str) -> Database:
    try:
        parsed = make_url(url)
    except (SQLAlchemyError, ValueError):
        raise DatabaseError("DATABASE_URL cannot be read; write it like postgresql://user:password@host/name") from None
    query = dict(parsed.query)
    if "sslmode" in query:  # libpq's word for what asyncpg calls ssl
        query["ssl"] = query.pop("sslmode")
    engine = create_async_engine(
        parsed.set(query=query),
        pool_size=PG_CONNECTIONS,
        max_overflow=0,
        pool_timeout=60,
        pool_pre_ping=True,
        connect_args={
            "timeout": 10,
            "server_settings": {
                "application_name": "burncloud",
                "synchronous_commit": "on",
                # A process that stands still in a transaction (stopped, swapped out, its host gone) must not hold the
                # books of every node: its locks end, and when it wakes it begins again with the epoch.
                "idle_in_transaction_session_timeout": str(IDLE_TRANSACTION_MS),
            },
        },
    )
    return Database(engine, engine, None)
