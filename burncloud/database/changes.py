"""What changed in the tables that workers know: the `changes` that triggers fill, read in order.

PostgreSQL: LISTEN first, then read `seq` > last, again on each notification and every 5 s; a notification is
only a hint (shared MONEY.md §5).  SQLite: the newest `seq` is asked for every 50 ms (docs/decisions/0043).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from burncloud import logs
from burncloud.database.engine import DATABASE_ERRORS, Database
from burncloud.database.schema import changes

CHANNEL: Final = "burncloud_changes"
POLL_MS: Final = 50
"""SQLite: how often the newest number is looked at."""
REREAD_MS: Final = 5_000
"""PostgreSQL: how often `changes` is read though nothing was heard."""
RETRY_MS: Final = 500
BATCH: Final = 1_000
NEWEST: Final = "SELECT coalesce(max(seq), 0) FROM changes"

log = logs.logger(__name__)


class Change(NamedTuple):
    """One row that is not what it was: made, changed or gone."""

    seq: int
    kind: str
    """user · token · channel · price · group · setting · limit · policy; quota_user · quota_token: its limit moved."""
    id: str
    """The id as text; a name for price, group and setting."""


async def newest_change(connection: AsyncConnection) -> int:
    """The number of the newest change; read it before a full load, then follow from it."""
    return int((await connection.execute(select(func.coalesce(func.max(changes.c.seq), 0)))).scalar_one())


async def read_changes(connection: AsyncConnection, after: int) -> list[Change]:
    """The next changes in their order, at most BATCH of them."""
    query = select(changes.c.seq, changes.c.kind, changes.c.id).where(changes.c.seq > after).order_by(changes.c.seq)
    return [Change(*row) for row in await connection.execute(query.limit(BATCH))]


async def prune_changes(connection: AsyncConnection, keep: int = 100_000) -> None:
    """Forget all but the newest; everybody who follows has read them long ago."""
    newest = select(func.max(changes.c.seq)).scalar_subquery()
    await connection.execute(delete(changes).where(changes.c.seq <= newest - keep))


class _Bell:
    """Says when it is worth reading; one for each engine, behind `_listen`."""

    def __init__(self) -> None:
        self.rung = asyncio.Event()
        self.lost = False

    async def wait(self, after: int) -> None:
        """Until there may be a change after number `after`."""
        try:
            async with asyncio.timeout(REREAD_MS / 1000):
                await self.rung.wait()
        except TimeoutError:
            pass
        self.rung.clear()
        if self.lost:
            raise ConnectionError("the connection that listened is gone")


class _Poll(_Bell):
    """SQLite: ask for the newest until it is newer."""

    def __init__(self, connection: AsyncConnection) -> None:
        super().__init__()
        self._connection = connection

    async def wait(self, after: int) -> None:
        raw: Any = (await self._connection.get_raw_connection()).driver_connection  # one trip to its thread, not four
        while True:
            ((newest,),) = await raw.execute_fetchall(NEWEST)
            if newest > after:
                return
            await asyncio.sleep(POLL_MS / 1000)


@asynccontextmanager
async def _listen(db: Database) -> AsyncIterator[_Bell]:
    async with db.watch() as connection:
        if db.dialect == "sqlite":
            yield _Poll(connection)
            return
        bell = _Bell()

        def heard(*_: Any) -> None:
            bell.rung.set()

        def lost(*_: Any) -> None:
            bell.lost = True
            bell.rung.set()

        raw: Any = (await connection.get_raw_connection()).driver_connection
        raw.add_termination_listener(lost)
        await raw.add_listener(CHANNEL, heard)
        try:
            yield bell
        finally:
            raw.remove_termination_listener(lost)
            if not raw.is_closed():
                await raw.remove_listener(CHANNEL, heard)


async def follow(db: Database, after: int) -> AsyncIterator[list[Change]]:
    """Changes after number `after` as they are committed, in order, for ever; each list is non-empty.

    A lost database is waited for; only cancellation ends it.
    """
    while True:
        try:
            async with _listen(db) as bell:
                while True:
                    async with db.read() as connection:
                        found = await read_changes(connection, after)
                    if found:
                        after = found[-1].seq
                        yield found
                    if len(found) < BATCH:
                        await bell.wait(after)
        except DATABASE_ERRORS as error:
            log.warning("changes cannot be read, trying again", extra={"error": str(error)})
            await asyncio.sleep(RETRY_MS / 1000)
