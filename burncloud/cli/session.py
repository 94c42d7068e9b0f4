"""What each command runs in: the settings, the database opened, and errors turned into sentences.

Commands write the database directly, so they work whether the server is up or not; a running server
notices what they wrote through the database's change triggers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, NoReturn, TypeVar

import typer

from burncloud import config
from burncloud.cli import output
from burncloud.database.engine import Database, DatabaseError, open_database, refused, transient
from burncloud.database.migrate import ensure_schema
from burncloud.errors import INVALID_REQUEST, SERVICE_UNAVAILABLE, ErrorRow, Refusal
from burncloud.service import secrets, users

T = TypeVar("T")
FAILED: Final = 1
"""Exit status of a command that could not do what it was asked; wrong usage is 2 (Typer's)."""


class Session:
    """One command's work on the database."""

    def __init__(self, settings: config.Settings, db: Database) -> None:
        self.settings = settings
        self.db = db

    async def master_key(self) -> secrets.MasterKey:
        """The key that seals upstream keys."""
        return await secrets.open_master_key(self.db, self.settings)


def run(work: Callable[[Session], Awaitable[T]], as_json: bool) -> T:
    """Do the work; end the program with one clear sentence where it fails."""
    try:
        return asyncio.run(_run(work))
    except Refusal as refusal:
        fail(refusal.row, refusal.message, as_json)
    except (config.ConfigError, DatabaseError, secrets.KeyMismatch) as error:
        fail(INVALID_REQUEST, str(error), as_json)
    except Exception as error:
        if isinstance(error, OSError) and error.filename:  # a file, so not the database's connection
            fail(INVALID_REQUEST, output.os_error_text(error), as_json)
        if not transient(error) and not refused(error):
            raise
        reason = str(getattr(error, "orig", None) or error).splitlines()[:1]
        fail(
            SERVICE_UNAVAILABLE,
            f"The database cannot be used ({''.join(reason)}); is it running, and is DATABASE_URL right?",
            as_json,
        )


async def _run(work: Callable[[Session], Awaitable[T]]) -> T:
    settings = config.load()
    db = open_database(settings.database_url)
    try:
        await ensure_schema(db)
        output.first_password(await users.ensure_admin(db))
        return await work(Session(settings, db))
    finally:
        await db.close()


def fail(row: ErrorRow, message: str, as_json: bool) -> NoReturn:
    """Say what went wrong on stderr and end."""
    output.error(row, message, as_json)
    raise typer.Exit(FAILED)
