"""Which nodes share this database, and each one's part of the limits.

A node is live while one of its journals is open and its heartbeat goes on; one that crashed counts until its journals
are replayed, or it has been silent for GONE_MS.  A limit of requests, tokens or concurrency is divided among the live
nodes, to the last one: their parts make up the whole.

Whoever was silent for so long lapses: its journals are closed without it, so that what it had on lease can be spent
elsewhere; what they hold is booked late, whenever it returns (shared MONEY.md §4, §6).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

from burncloud import clock, logs
from burncloud.database import journals, ledger
from burncloud.database.driver import Tx
from burncloud.database.engine import Database, transient
from burncloud.database.events import newest_kind
from burncloud.service import events, probes
from burncloud.service.snapshots import Snapshots

LOOK_S: Final = 1.0
BEAT_MS: Final = 5_000
GONE_MS: Final = 90_000
"""A node whose heartbeat stands still this long, by our clock, is gone: its machine is."""
BLIND_MS: Final = 10_000
"""Who could not look for so long does not know who was silent meanwhile."""

log = logs.logger(__name__)


class Nodes:
    """The live nodes, as this one sees them."""

    def __init__(self, db: Database, node: str) -> None:
        self._db = db
        self._node = node
        self._beats: dict[str, tuple[str, int]] = {}
        """Node → its last heartbeat, and when we first saw that one."""
        self._looked_ms = self._beaten_ms = -GONE_MS
        self.gone: list[str] = []
        """Those that are to lapse.  Who never had a heartbeat may be of an older version."""

    async def live(self) -> list[str]:
        """Their names, in order; this node is among them."""
        now_ms = clock.monotonic_ms()
        if now_ms - self._beaten_ms >= BEAT_MS:
            await self._db.run(partial(journals.beat, node=self._node, now_s=clock.now_s()))
            self._beaten_ms = now_ms
        async with self._db.read() as conn:
            opened = {row.node for row in await journals.open_journals(conn)}
            beats = await journals.beats(conn)
        known = self._beats if now_ms - self._looked_ms < BLIND_MS else {}
        self._looked_ms, self._beats = now_ms, {}
        for node in opened:
            beat, since_ms = known.get(node, ("", now_ms))
            self._beats[node] = (beats.get(node, ""), since_ms if beat == beats.get(node, "") else now_ms)
        silent = {node for node, (_, since_ms) in self._beats.items() if now_ms - since_ms >= GONE_MS}
        self.gone = sorted(node for node in silent - {self._node} if node in beats)
        return sorted((opened - silent) | {self._node})


def lapse(tx: Tx, node: str, now_s: int) -> list[tuple[str, int]]:
    """Close all journals of a node that is gone; the accounts that had money on lease there.

    Its books are taken over first: should it live after all, it is refused from now on, and its workers begin anew.
    """
    journals.bump_epoch(tx, node)
    return [account for journal in journals.lock_open(tx, node) for account in ledger.close(tx, journal, now_s)]


async def follow(db: Database, node: str, snapshots: Snapshots) -> None:
    """Keep the limits divided, and end what dead nodes left; ends only by cancellation.  A SQLite file has one node."""
    nodes = Nodes(db, node)
    known: list[str] = []
    while True:
        try:
            live = [node] if db.path is not None else await nodes.live()
            if live != known:
                await probes.end_lost(db, live)
                if len(live) > 1 or known:
                    log.warning("limits are divided among the nodes that are live: %s", ", ".join(live))
                    await snapshots.divide(live.index(node), len(live))
                known = live
            for gone in nodes.gone:
                accounts = await db.ledger(partial(lapse, node=gone, now_s=clock.now_s()))
                log.warning("node %s is gone: what %d accounts had on lease there goes back", gone, len(accounts))
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
