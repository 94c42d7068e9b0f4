"""A connection inside a transaction, under the name that the floors above may use for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncConnection

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite

Conn = AsyncConnection
"""What `Database.begin()`, `.read()` and `.run()` give; only database/ calls its methods."""


ROW_ID_DIGITS_MAX: Final = 18
"""As many as always fit into 64 bits."""


def row_id(text: str) -> int | None:
    """The id that people typed; None if it is none; −1, which is nobody's, if it is too large for any table."""
    if not (text.isascii() and text.isdecimal()):
        return None
    return int(text) if len(text) <= ROW_ID_DIGITS_MAX else -1


def insert_into(conn: Conn, table: Table) -> sqlite.Insert | postgresql.Insert:
    """An INSERT that has `.on_conflict_do_nothing()` and `.on_conflict_do_update()`, which SQLAlchemy spells
    once for each engine."""
    if conn.dialect.name == "sqlite":
        from sqlalchemy.dialects.sqlite import insert

        return insert(table)
    from sqlalchemy.dialects.postgresql import insert as insert_postgres  # 40 ms that SQLite need not pay

    return insert_postgres(table)


async def put_row(conn: Conn, table: Table, **values: Any) -> None:
    """Set a row by its primary key: a new one, or what these say of one that is there."""
    key = [column.name for column in table.primary_key]
    said = {name: value for name, value in values.items() if name not in key}
    await conn.execute(insert_into(conn, table).values(values).on_conflict_do_update(index_elements=key, set_=said))
