"""SQL of the table `settings`: what was set by people while the house runs."""

from __future__ import annotations

from sqlalchemy import delete, select

from burncloud.database.connection import Conn, put_row
from burncloud.database.schema import settings

KIND = "setting"
"""Of its rows in changes."""


async def list_settings(conn: Conn) -> dict[str, str]:
    """Name → value of all, by name."""
    rows = await conn.execute(select(settings.c.name, settings.c.value).order_by(settings.c.name))
    return {str(name): str(value) for name, value in rows}


async def get_setting(conn: Conn, name: str) -> str | None:
    """Its value, None where it was never set."""
    return (await conn.execute(select(settings.c.value).where(settings.c.name == name))).scalar()


async def update_setting(conn: Conn, name: str, value: str) -> None:
    """Set it, in a new row where it is missing."""
    await put_row(conn, settings, name=name, value=value)


async def delete_setting(conn: Conn, name: str) -> None:
    """Back to its default."""
    await conn.execute(delete(settings).where(settings.c.name == name))
