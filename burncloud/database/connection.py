"""A connection inside a transaction, under the name that the floors above may use for it."""

from __future__ import annotations

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

Conn = AsyncConnection
"""What `Database.begin()`, `.read()` and `.run()` give; only database/ calls its methods."""


def insert_into(conn: Conn, table: Table) -> sqlite.Insert | postgresql.Insert:
    """An INSERT that has `.on_conflict_do_nothing()` and `.on_conflict_do_update()`, which SQLAlchemy spells
    once for each engine."""
    return sqlite.insert(table) if conn.dialect.name == "sqlite" else postgresql.insert(table)
