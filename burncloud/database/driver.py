"""Past SQLAlchemy, to the driver: for booking and grants, whose cost the machine that serves requests bears.

What the ledger writes is a plain function over a `Tx`, called by `Database.ledger`.  On SQLite the whole
transaction runs in one trip to the writer's thread (through SQLAlchemy each statement is four); on PostgreSQL it
runs in a greenlet over asyncpg.  The function does not await and sees the same words on both.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Protocol

from sqlalchemy import PoolProxiedConnection, Table

Row = tuple[Any, ...]
Names = tuple[str, ...]


class Tx(Protocol):
    """A write transaction of the ledger.  Values stand as $1, $2, … in a statement.

    All raise the driver's own errors (constraint, type, range, connection).
    """

    postgres: bool

    def fetch(self, statement: str, *values: Any) -> list[Row]:
        """All rows of a query."""

    def execute(self, statement: str, *values: Any) -> int:
        """Run a statement; how many rows it changed."""

    def insert_rows(self, table: Table, rows: Sequence[Row]) -> None:
        """Insert many rows, each a tuple in the order of the table's columns (COPY on PostgreSQL)."""

    def add_rows(self, table: Table, keys: Names, sums: Names, rows: Sequence[Row]) -> None:
        """Add each row's `sums` to the row with its `keys`, which is made where it is missing.

        A row is a tuple of keys, then sums; rows must have distinct keys and be sorted by them: row locks are
        taken in that order, which is what keeps concurrent bookings free of deadlock (shared MONEY.md §3).
        """


class SqliteTx:
    """`Tx` on a connection of sqlite3, in its thread."""

    postgres = False

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def fetch(self, statement: str, *values: Any) -> list[Row]:
        """See Tx."""
        return self._connection.execute(_numbered(statement), values).fetchall()

    def execute(self, statement: str, *values: Any) -> int:
        """See Tx."""
        return self._connection.execute(_numbered(statement), values).rowcount

    def insert_rows(self, table: Table, rows: Sequence[Row]) -> None:
        """See Tx."""
        if rows:
            self._connection.executemany(_insert(table), rows)

    def add_rows(self, table: Table, keys: Names, sums: Names, rows: Sequence[Row]) -> None:
        """See Tx."""
        if rows:
            self._connection.executemany(_upsert(table, keys, sums, False), rows)


class PostgresTx:
    """`Tx` over asyncpg, in a greenlet of SQLAlchemy's."""

    postgres = True

    def __init__(self, connection: PoolProxiedConnection) -> None:
        self._await: Callable[[Callable[[Any], Any]], Any] = connection.run_async

    def fetch(self, statement: str, *values: Any) -> list[Row]:
        """See Tx."""
        return [tuple(row) for row in self._await(lambda raw: raw.fetch(statement, *values))]

    def execute(self, statement: str, *values: Any) -> int:
        """See Tx."""
        status: str = self._await(lambda raw: raw.execute(statement, *values))
        return int(status.rpartition(" ")[2])

    def insert_rows(self, table: Table, rows: Sequence[Row]) -> None:
        """See Tx."""
        if rows:
            names = [column.name for column in table.columns]
            self._await(lambda raw: raw.copy_records_to_table(table.name, records=rows, columns=names))

    def add_rows(self, table: Table, keys: Names, sums: Names, rows: Sequence[Row]) -> None:
        """See Tx."""
        if rows:
            statement = _upsert(table, keys, sums, True)
            self._await(lambda raw: raw.execute(statement, *zip(*rows, strict=True)))


@lru_cache(maxsize=256)
def _numbered(statement: str) -> str:
    return statement.replace("$", "?")


def quoted(name: str) -> str:
    """A column or table name as both engines take it, reserved word or not."""
    return f'"{name}"'


@lru_cache(maxsize=64)
def _insert(table: Table) -> str:
    columns = ",".join(quoted(column.name) for column in table.columns)
    return f"INSERT INTO {quoted(table.name)} ({columns}) VALUES ({','.join('?' * len(table.columns))})"


@lru_cache(maxsize=64)
def _upsert(table: Table, keys: Names, sums: Names, postgres: bool) -> str:
    name = quoted(table.name)
    columns = ",".join(map(quoted, (*keys, *sums)))
    added = ",".join(f"{quoted(c)} = {name}.{quoted(c)} + excluded.{quoted(c)}" for c in sums)
    source = f"VALUES ({','.join('?' * (len(keys) + len(sums)))})"
    if postgres:
        types = ("text" if table.c[column].type.python_type is str else "bigint" for column in (*keys, *sums))
        source = f"SELECT * FROM unnest({','.join(f'${i}::{type_}[]' for i, type_ in enumerate(types, 1))})"
    conflict = ",".join(map(quoted, keys))
    return f"INSERT INTO {name} ({columns}) {source} ON CONFLICT ({conflict}) DO UPDATE SET {added}"
