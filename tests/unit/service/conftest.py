"""An open database, of each engine in turn."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from burncloud.database.engine import Database, open_database


@pytest_asyncio.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    """Open, with all tables, empty."""
    database = open_database(database_url)
    yield database
    await database.close()


@pytest_asyncio.fixture
async def sqlite_db(sqlite_url: str) -> AsyncIterator[Database]:
    """The same on SQLite only, for rules that never get as far as the database."""
    database = open_database(sqlite_url)
    yield database
    await database.close()
