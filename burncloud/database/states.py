"""SQL of the table `states`: how each part of a channel stands on a node."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from sqlalchemy import delete, select

from burncloud.database.connection import Conn, insert_into
from burncloud.database.schema import channel_keys, channels, states

KEYS = (states.c.node, states.c.channel, states.c.key, states.c.model)


class StateRow(msgspec.Struct, frozen=True):
    """A part; times in unix seconds."""

    node: str
    channel: int
    key: int
    """0 = it is the model."""
    model: str
    state: str
    reason: str = ""
    status: int = 0
    since: int = 0
    until: int = 0
    """It is left alone until then."""
    step_ms: int = 0


_COLUMNS = [states.c[name] for name in StateRow.__struct_fields__]


async def list_states(conn: Conn, channel: int = 0) -> list[StateRow]:
    """Of one channel, or all."""
    query = select(*_COLUMNS).order_by(*KEYS)
    return [
        StateRow(*row) for row in await conn.execute(query.where(states.c.channel == channel) if channel else query)
    ]


async def put_states(conn: Conn, rows: Iterable[StateRow]) -> None:
    """These parts are so now."""
    for row in rows:
        values = msgspec.structs.asdict(row)
        changed = {name: value for name, value in values.items() if name not in ("node", "channel", "key", "model")}
        query = insert_into(conn, states).values(values)
        await conn.execute(query.on_conflict_do_update(index_elements=KEYS, set_=changed))


async def drop_states(conn: Conn, node: str, names: Iterable[tuple[int, int, str]]) -> None:
    """Forget these parts: (channel, key, model)."""
    for channel, key, model in names:
        part = (states.c.channel == channel) & (states.c.key == key) & (states.c.model == model)
        await conn.execute(delete(states).where((states.c.node == node) & part))


async def prune_states(conn: Conn) -> None:
    """Forget channels and keys that are gone."""
    there = select(channels.c.id).where(channels.c.deleted_at.is_(None))
    keys = select(channel_keys.c.id)
    gone = states.c.channel.not_in(there) | ((states.c.key != 0) & states.c.key.not_in(keys))
    await conn.execute(delete(states).where(gone))
