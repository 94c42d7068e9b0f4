"""SQL of the tables `states` and `speeds`: how each part of a channel stands on a node, how quick its models are."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import msgspec
from sqlalchemy import delete, select

from burncloud.database.connection import Conn, put_row
from burncloud.database.schema import channel_keys, channels, speeds, states

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


class SpeedRow(msgspec.Struct, frozen=True):
    """How quick a model at a channel is."""

    node: str
    channel: int
    model: str
    first_us: int
    at: int
    """When it was last heard, unix seconds."""


_COLUMNS = [states.c[name] for name in StateRow.__struct_fields__]


async def list_states(conn: Conn, channel: int = 0, refused_since: int = 0) -> list[StateRow]:
    """Of one channel, or all; or only keys that were refused, or good again, since then (unix seconds)."""
    query = select(*_COLUMNS).order_by(*KEYS)
    if channel:
        query = query.where(states.c.channel == channel)
    if refused_since:
        query = query.where((states.c.since >= refused_since) & (states.c.reason == "refused"))
    return [StateRow(*row) for row in await conn.execute(query)]


async def put_states(conn: Conn, rows: Iterable[StateRow]) -> None:
    """These parts are so now."""
    for row in rows:
        await put_row(conn, states, **msgspec.structs.asdict(row))


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
    await conn.execute(delete(speeds).where(speeds.c.channel.not_in(there)))


async def drop_nodes(conn: Conn, nodes: Collection[str]) -> None:
    """Forget what these nodes said."""
    for table in (states, speeds):
        await conn.execute(delete(table).where(table.c.node.in_(nodes)))


async def list_speeds(conn: Conn, channel: int) -> list[SpeedRow]:
    """Of a channel's models, the newest last."""
    columns = [speeds.c[name] for name in SpeedRow.__struct_fields__]
    found = await conn.execute(select(*columns).where(speeds.c.channel == channel).order_by(speeds.c.at))
    return [SpeedRow(*row) for row in found]


async def put_speeds(conn: Conn, rows: Iterable[SpeedRow]) -> None:
    """These are so now."""
    for row in rows:
        await put_row(conn, speeds, **msgspec.structs.asdict(row))
