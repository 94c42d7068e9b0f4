"""SQL of the table `events`: what a person should know."""

from __future__ import annotations

from collections.abc import Collection

import msgspec
from sqlalchemy import delete, func, insert, select

from burncloud.database.connection import Conn
from burncloud.database.schema import events


class EventRow(msgspec.Struct, frozen=True):
    """Something that happened at a time (unix seconds)."""

    id: int
    at: int
    kind: str
    node: str
    channel: int = 0
    """0 = it is about no channel; so are `key` and `hint`."""
    key: int = 0
    hint: str = ""
    """The end of the key."""
    detail: str = ""


_COLUMNS = [events.c[name] for name in EventRow.__struct_fields__]


async def add_event(conn: Conn, event: EventRow) -> None:
    """One more; its id is given here."""
    values = msgspec.structs.asdict(event)
    del values["id"]
    await conn.execute(insert(events).values(values))


async def list_events(conn: Conn, limit: int, channel: int = 0, since: int = 0) -> list[EventRow]:
    """The newest, newest first."""
    query = select(*_COLUMNS).where(events.c.at >= since).order_by(events.c.id.desc()).limit(limit)
    return [
        EventRow(*row) for row in await conn.execute(query.where(events.c.channel == channel) if channel else query)
    ]


async def newest_kind(conn: Conn, node: str, kinds: Collection[str]) -> str:
    """Which of these happened last at a node; "" = none."""
    query = select(events.c.kind).where((events.c.node == node) & events.c.kind.in_(kinds))
    return (await conn.execute(query.order_by(events.c.id.desc()).limit(1))).scalar() or ""


async def prune_events(conn: Conn, before: int, most: int) -> None:
    """Forget what is older than `before`, and all but the newest `most`."""
    newest = select(func.max(events.c.id)).scalar_subquery()
    await conn.execute(delete(events).where((events.c.at < before) | (events.c.id <= newest - most)))
