"""SQL of the tables `channels`, `channel_keys` and `abilities`.

`abilities` says which channel serves which model to which group; it is derived from the channel's
own columns and rewritten with them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from sqlalchemy import Select, and_, delete, func, insert, select, update

from burncloud.database.connection import Conn
from burncloud.database.schema import abilities, balances, channel_keys, channels

KIND = "channel"
"""Of its rows in balances and changes."""


class ChannelRow(msgspec.Struct, frozen=True):
    """A channel that is not deleted, without its keys; money in nano-dollars, times in unix seconds."""

    id: int
    ref: str
    name: str
    vendor: str
    base_url: str
    """"" = the vendor's own."""
    models: dict[str, str]
    """Public name → upstream name."""
    groups: list[str]
    priority: int
    weight: int
    enabled: bool
    options: dict[str, Any]
    used: int
    created_at: int


class KeyRow(msgspec.Struct, frozen=True):
    """A key of a channel, sealed."""

    id: int
    channel_id: int
    secret: bytes
    enabled: bool


def _select() -> Select[Any]:
    balance = and_(balances.c.kind == KIND, balances.c.id == channels.c.id)
    return (
        select(
            channels.c.id,
            channels.c.ref,
            channels.c.name,
            channels.c.vendor,
            channels.c.base_url,
            channels.c.models,
            channels.c.groups,
            channels.c.priority,
            channels.c.weight,
            channels.c.enabled,
            channels.c.options,
            func.coalesce(balances.c.used, 0),
            channels.c.created_at,
        )
        .select_from(channels.outerjoin(balances, balance))
        .where(channels.c.deleted_at.is_(None))
    )


async def list_channels(conn: Conn, after: int = 0, limit: int = 1000, ids: Sequence[int] = ()) -> list[ChannelRow]:
    """These channels, or those above `after`, by id."""
    query = _select().order_by(channels.c.id)
    query = query.where(channels.c.id.in_(ids)) if ids else query.where(channels.c.id > after).limit(limit)
    return [ChannelRow(*row) for row in await conn.execute(query)]


async def get_channel(conn: Conn, channel: int) -> ChannelRow | None:
    """One channel by id."""
    row = (await conn.execute(_select().where(channels.c.id == channel))).first()
    return ChannelRow(*row) if row else None


async def find_channel(conn: Conn, name: str) -> ChannelRow | None:
    """One channel by its name or ref."""
    row = (await conn.execute(_select().where((channels.c.name == name) | (channels.c.ref == name)))).first()
    return ChannelRow(*row) if row else None


async def list_keys(conn: Conn, first: int, last: int) -> list[KeyRow]:
    """The keys of the channels from `first` to `last`, by id."""
    query = (
        select(channel_keys.c.id, channel_keys.c.channel_id, channel_keys.c.secret, channel_keys.c.enabled)
        .where(channel_keys.c.channel_id.between(first, last))
        .order_by(channel_keys.c.id)
    )
    return [KeyRow(*row) for row in await conn.execute(query)]


async def create_channel(conn: Conn, values: dict[str, Any]) -> int:
    """A new channel with a balance of 0, without keys and abilities; its id."""
    channel = int((await conn.execute(insert(channels).values(values).returning(channels.c.id))).scalar_one())
    await conn.execute(insert(balances).values(kind=KIND, id=channel))
    return channel


async def update_channel(conn: Conn, channel: int, values: dict[str, Any]) -> None:
    """Set these columns."""
    await conn.execute(update(channels).where(channels.c.id == channel).values(values))


async def delete_channel(conn: Conn, channel: int, at: int) -> None:
    """Mark it deleted, and forget its keys and abilities for good."""
    await conn.execute(update(channels).where(channels.c.id == channel).values(deleted_at=at, enabled=False))
    await conn.execute(delete(channel_keys).where(channel_keys.c.channel_id == channel))
    await conn.execute(delete(abilities).where(abilities.c.channel_id == channel))


async def add_keys(conn: Conn, channel: int, secrets: Iterable[bytes]) -> None:
    """Further sealed keys of a channel, in this order."""
    for secret in secrets:
        await conn.execute(insert(channel_keys).values(channel_id=channel, secret=secret))


async def delete_keys(conn: Conn, keys: Sequence[int]) -> None:
    """Forget these keys for good."""
    await conn.execute(delete(channel_keys).where(channel_keys.c.id.in_(keys)))


async def rewrite_abilities(
    conn: Conn,
    channel: int,
    groups: Iterable[str],
    models: Iterable[str],
    enabled: bool,
    priority: int,
    weight: int,
) -> None:
    """Make the channel's abilities groups x models."""
    await conn.execute(delete(abilities).where(abilities.c.channel_id == channel))
    shared = {"channel_id": channel, "enabled": enabled, "priority": priority, "weight": weight}
    names = list(models)
    rows = [{"group": group, "model": model, **shared} for group in groups for model in names]
    if rows:
        await conn.execute(insert(abilities), rows)
