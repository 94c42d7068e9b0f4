"""INSERT … ON CONFLICT, which both engines know and SQLAlchemy spells once for each."""

from __future__ import annotations

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection


def insert_into(conn: AsyncConnection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """An INSERT that has `.on_conflict_do_nothing()` and `.on_conflict_do_update()` on this engine."""
    return sqlite.insert(table) if conn.dialect.name == "sqlite" else postgresql.insert(table)
