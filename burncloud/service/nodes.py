"""Which nodes share this database, and each one's part of the limits.

A node is live while one of its journals is open; one that crashed counts until its journals are replayed.  A limit
of requests, tokens or concurrency is divided among the live nodes, to the last one: their parts make up the whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

from burncloud import logs
from burncloud.database import journals
from burncloud.database.engine import Database, transient
from burncloud.database.events import newest_kind
from burncloud.service import events
from burncloud.service.snapshots import Snapshots

LOOK_S: Final = 1.0

log = logs.logger(__name__)


async def part_of(db: Database, node: str) -> tuple[int, int]:
    """(this node's place among the live ones, how many there are), itself counted."""
    async with db.read() as conn:
        live = {row.node for row in await journals.open_journals(conn)} | {node}
    return sorted(live).index(node), len(live)


async def follow(db: Database, node: str, snapshots: Snapshots) -> None:
    """Keep the limits divided; ends only by cancellation.  A SQLite file has one node."""
    known = (0, 1)
    while True:
        try:
            if db.path is None:
                part = await part_of(db, node)
                if part != known:
                    known = part
                    log.warning("limits are divided among %d nodes", part[1])
                    await snapshots.divide(*part)
        except Exception as error:
            if not transient(error):
                raise
        await asyncio.sleep(LOOK_S)


REDIS: Final = {"redis_away": events.REDIS_AWAY, "redis_slow": events.REDIS_SLOW}
"""What a worker's counter says of Redis, the worst first."""


async def watch_redis(db: Database, node: str, told: asyncio.Event, says: Callable[[str], bool]) -> None:
    """Note when Redis goes, is slow and comes, as soon as a worker has `told`; ends only by cancellation.

    `says`: whether a counter is not 0 in some worker.
    """
    known = ""
    while True:
        await told.wait()
        told.clear()
        now = next((kind for counter, kind in REDIS.items() if says(counter)), events.REDIS_THERE)
        if now == known:
            continue
        try:
            if not known:  # before a reload it was as the newest event says
                async with db.read() as conn:
                    known = await newest_kind(conn, node, (*REDIS.values(), events.REDIS_THERE)) or events.REDIS_THERE
                if now == known:
                    continue
            await db.run(partial(events.record, kind=now, node=node))
            known = now
        except Exception as error:
            if not transient(error):
                raise
            await asyncio.sleep(LOOK_S)
            told.set()
