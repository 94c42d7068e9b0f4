"""SQL of the table `groups`."""

from __future__ import annotations

import msgspec
from sqlalchemy import delete, func, select

from burncloud.database.connection import Conn, insert_into, put_row
from burncloud.database.schema import abilities, groups, tokens, users

KIND = "group"
"""Of its rows in changes."""


class GroupRow(msgspec.Struct, frozen=True):
    """A price group; 1_500_000 ppm charges 1.5 x."""

    name: str
    ratio_ppm: int


class GroupUse(msgspec.Struct, frozen=True):
    """How many users, tokens and channels name a group."""

    users: int
    tokens: int
    channels: int


async def list_groups(conn: Conn) -> list[GroupRow]:
    """All groups, by name."""
    rows = await conn.execute(select(groups.c.name, groups.c.ratio_ppm).order_by(groups.c.name))
    return [GroupRow(*row) for row in rows]


async def get_group(conn: Conn, name: str) -> GroupRow | None:
    """One group by name."""
    row = (await conn.execute(select(groups.c.name, groups.c.ratio_ppm).where(groups.c.name == name))).first()
    return GroupRow(*row) if row else None


async def get_group_use(conn: Conn, name: str) -> GroupUse:
    """Who names it."""
    of_users = select(func.count()).select_from(users).where(users.c.group == name, users.c.deleted_at.is_(None))
    of_tokens = select(func.count()).select_from(tokens).where(tokens.c.group == name, tokens.c.deleted_at.is_(None))
    of_channels = select(func.count(abilities.c.channel_id.distinct())).where(abilities.c.group == name)
    counts = [int((await conn.execute(query)).scalar_one()) for query in (of_users, of_tokens, of_channels)]
    return GroupUse(*counts)


async def create_group(conn: Conn, name: str) -> bool:
    """A new group with the ratio 1, where it is missing; whether it was."""
    query = insert_into(conn, groups).values(name=name).on_conflict_do_nothing()
    return (await conn.execute(query)).rowcount == 1


async def update_group(conn: Conn, name: str, ratio_ppm: int) -> None:
    """Set its ratio, in a new row where it is missing."""
    await put_row(conn, groups, name=name, ratio_ppm=ratio_ppm)


async def delete_group(conn: Conn, name: str) -> None:
    """Forget it."""
    await conn.execute(delete(groups).where(groups.c.name == name))
