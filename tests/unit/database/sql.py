"""Short ways to put rows into a database and to look at it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import insert, text

from burncloud.database import tokens, users
from burncloud.database.engine import Database
from burncloud.database.schema import metadata


async def execute(db: Database, statement: str, **values: Any) -> list[tuple[Any, ...]]:
    """Any statement; its rows."""
    async with db.begin() as conn:
        result = await conn.execute(text(statement), values)
        return [tuple(row) for row in result] if result.returns_rows else []


async def add_rows(db: Database, table: str, *rows: dict[str, Any]) -> None:
    """Rows of a table, past every rule."""
    async with db.begin() as conn:
        for row in rows:
            await conn.execute(insert(metadata.tables[table]).values(row))


async def add_user(db: Database, name: str, role: str = "user", quota: int = -1) -> int:
    """A user; his id."""
    async with db.begin() as conn:
        user = await users.create_user(conn, name, "", role, "default", quota, 1_700_000_000)
    assert user is not None
    return user


async def add_token(db: Database, user: int, number: int = 1, **values: Any) -> int:
    """A token whose hash is made of `number`; its id."""
    defaults = {"hash": bytes([number]) * 32, "hint": "sk-…abcd", "user_id": user, "networks": []}
    async with db.begin() as conn:
        return await tokens.create_token(conn, defaults | values)


async def all_changes(db: Database) -> list[tuple[str, str]]:
    """(kind, id) of every change, oldest first."""
    return [(kind, id_) for kind, id_ in await execute(db, "SELECT kind, id FROM changes ORDER BY seq")]
