"""SQL of events, on both engines."""

from __future__ import annotations

from sqlalchemy import text

from burncloud.database import events
from burncloud.database.engine import Database
from burncloud.database.events import EventRow


async def test_the_newest_are_kept(db: Database) -> None:
    async with db.begin() as conn:
        for at in range(1, 11):
            await events.add_event(conn, EventRow(0, at, "key_off", "here", at % 2, 7, "…abcd", "status 401"))
        [newest, *_] = await events.list_events(conn, 3)
        assert (newest.at, newest.kind, newest.hint) == (10, "key_off", "…abcd")
        assert [event.at for event in await events.list_events(conn, 100, channel=1, since=4)] == [9, 7, 5]
        await events.add_event(conn, EventRow(0, 10, "redis_away", "here"))
        assert await events.newest_kind(conn, "here", ["redis_away", "redis_there"]) == "redis_away"
        assert await events.newest_kind(conn, "there", ["redis_away"]) == ""
        await conn.execute(text("DELETE FROM events WHERE kind = 'redis_away'"))
        await events.prune_events(conn, 3, 6)
        assert [event.at for event in await events.list_events(conn, 100)] == [10, 9, 8, 7, 6, 5]
        await events.prune_events(conn, 7, 6)
        assert len(await events.list_events(conn, 100)) == 4
