"""Past SQLAlchemy, to the driver: for booking and grants, whose cost the machine that serves requests bears.

Everything runs on the connection, and in the transaction, of a `Database.begin()` block.  A statement through
SQLAlchemy is four trips to SQLite's thread; here it is one.  On PostgreSQL the block must have run a statement
through SQLAlchemy before (that begins the transaction): `journals.check_epoch` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncConnection

Row = tuple[Any, ...]


def is_postgres(connection: AsyncConnection) -> bool:
    """Which of the two engines this is."""
    return connection.dialect.name == "postgresql"


async def driver(connection: AsyncConnection) -> Any:
    """The driver's own connection: aiosqlite's or asyncpg's."""
    return (await connection.get_raw_connection()).driver_connection


@lru_cache(maxsize=256)
def _numbered(statement: str) -> str:
    return statement.replace("$", "?")


async def fetch(connection: AsyncConnection, statement: str, *values: Any) -> list[Row]:
    """All rows of a query; values stand as $1, $2, … in it.  Raises the driver's own errors."""
    raw = await driver(connection)
    if is_postgres(connection):
        return [tuple(row) for row in await raw.fetch(statement, *values)]
    rows: list[Row] = await raw.execute_fetchall(_numbered(statement), values)
    return rows


async def execute(connection: AsyncConnection, statement: str, *values: Any) -> int:
    """Run a statement; how many rows it changed.  Raises the driver's own errors."""
    raw = await driver(connection)
    if is_postgres(connection):
        return int((await raw.execute(statement, *values)).rpartition(" ")[2])
    # Its cursor has nothing left to give: closing it would be one more trip to the thread.
    count: int = (await raw.execute(_numbered(statement), values)).rowcount
    return count


def quoted(name: str) -> str:
    """A column or table name as both engines take it, reserved word or not."""
    return f'"{name}"'


@lru_cache(maxsize=64)
def _insert(table: Table) -> str:
    columns = ",".join(quoted(column.name) for column in table.columns)
    return f"INSERT INTO {quoted(table.name)} ({columns}) VALUES ({','.join('?' * len(table.columns))})"


@lru_cache(maxsize=64)
def _upsert(table: Table, keys: tuple[str, ...], sums: tuple[str, ...], postgres: bool) -> str:
    name = quoted(table.name)
    columns = ",".join(map(quoted, (*keys, *sums)))
    added = ",".join(f"{quoted(c)} = {name}.{quoted(c)} + excluded.{quoted(c)}" for c in sums)
    source = f"VALUES ({','.join('?' * (len(keys) + len(sums)))})"
    if postgres:
        types = ("text" if table.c[column].type.python_type is str else "bigint" for column in (*keys, *sums))
        source = f"SELECT * FROM unnest({','.join(f'${i}::{type_}[]' for i, type_ in enumerate(types, 1))})"
    conflict = ",".join(map(quoted, keys))
    return f"INSERT INTO {name} ({columns}) {source} ON CONFLICT ({conflict}) DO UPDATE SET {added}"


async def insert_rows(connection: AsyncConnection, table: Table, rows: Sequence[Row]) -> None:
    """Insert many rows, each a tuple in the order of the table's columns (COPY on PostgreSQL).

    Raises the driver's own errors: constraint, type, range.
    """
    if not rows:
        return
    raw = await driver(connection)
    if is_postgres(connection):
        names = [column.name for column in table.columns]
        await raw.copy_records_to_table(table.name, records=rows, columns=names)
    else:
        await raw.executemany(_insert(table), rows)


async def add_rows(
    connection: AsyncConnection, table: Table, keys: tuple[str, ...], sums: tuple[str, ...], rows: Sequence[Row]
) -> None:
    """Add each row's `sums` to the row with its `keys`, which is made where it is missing.

    A row is a tuple of keys, then sums; rows must have distinct keys and be sorted by them: row locks are
    taken in that order, which is what keeps concurrent bookings free of deadlock (shared MONEY.md §3).
    Raises the driver's own errors.
    """
    if not rows:
        return
    raw = await driver(connection)
    statement = _upsert(table, keys, sums, is_postgres(connection))
    if is_postgres(connection):
        await raw.execute(statement, *zip(*rows, strict=True))
    else:
        await raw.executemany(statement, rows)
