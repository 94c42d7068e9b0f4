"""Brings a database's schema up to this program's, by Alembic; two processes may do it at once.

Alembic is imported only where there is something to do: it costs a quarter of a second.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncConnection

from burncloud.database.engine import Database, DatabaseError

HEAD: Final = "0008"
"""The newest migration in migrations/versions (a test compares)."""
MIGRATIONS: Final = Path(__file__).with_name("migrations")
_LOCK: Final = 0x6275726E_00000001
"""Key of the PostgreSQL advisory lock under which schemas change ("burn")."""
_WAIT_MS: Final = 120_000


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.util.exc import CommandError

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError:
        raise DatabaseError(
            f"the database is at version {_version(connection)}, which this program (version {HEAD}) does not know; "
            "run the newer program that upgraded it"
        ) from None


async def _lock_and_upgrade(connection: AsyncConnection) -> None:
    if connection.dialect.name == "postgresql":
        await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    if await connection.run_sync(_version) != HEAD:
        await connection.run_sync(_upgrade)


async def ensure_schema(db: Database) -> None:
    """Make or upgrade the schema; nothing to do where it is up to date.

    Raises DatabaseError where a newer program has upgraded it already or its folder is not there (which is a slip of
    the pen more often than a wish), DBAPIError or OSError where the database cannot be reached.
    """
    if db.path is not None and not db.path.parent.is_dir():
        raise DatabaseError(
            f"the folder {db.path.parent} of the database {db.path.name} does not exist; make it, or correct "
            f"DATABASE_URL"
        )
    async with db.read() as connection:
        if await connection.run_sync(_version) == HEAD:
            return
    await db.run(_lock_and_upgrade, _WAIT_MS)
