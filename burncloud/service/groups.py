"""The rules of price groups: a group that anyone names exists, and goes only when nobody names it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from burncloud.database import groups as rows
from burncloud.database.belongings import forget
from burncloud.database.connection import Conn
from burncloud.database.engine import Database
from burncloud.database.groups import GroupRow
from burncloud.domain.money import RATIO_ONE
from burncloud.errors import INVALID_REQUEST, NOT_FOUND, Refusal

DEFAULT_GROUP: Final = "default"
NAME: Final = re.compile(r"[\w.-]{1,64}")
RATIO_PPM_MAX: Final = 1000 * RATIO_ONE


async def list_groups(db: Database) -> list[GroupRow]:
    """All groups, by name."""
    async with db.read() as conn:
        return await rows.list_groups(conn)


async def get_group(db: Database, name: str) -> GroupRow:
    """One group."""
    async with db.read() as conn:
        return await find(conn, name)


async def update_group(db: Database, name: str, ratio_ppm: int | None) -> GroupRow:
    """Set a group's ratio in millionths (None = leave it), making the group where it is missing."""
    check_names([name])
    if ratio_ppm is not None:
        check_ratio(ratio_ppm)

    async def work(conn: Conn) -> GroupRow:
        if ratio_ppm is None:
            await rows.create_group(conn, name)
        else:
            await rows.update_group(conn, name, ratio_ppm)
        return await find(conn, name)

    return await db.run(work)


async def delete_group(db: Database, name: str) -> GroupRow:
    """Forget a group that nobody is in.  What it was, is returned."""

    async def work(conn: Conn) -> GroupRow:
        group = await find(conn, name)
        if name == DEFAULT_GROUP:
            raise Refusal(INVALID_REQUEST, "The group 'default' cannot be deleted: new users and channels are in it")
        use = await rows.get_group_use(conn, name)
        if use.users or use.tokens or use.channels:
            raise Refusal(
                INVALID_REQUEST,
                f"The group {name!r} is still named by {use.users} users, {use.tokens} tokens and "
                f"{use.channels} channels; move those first",
            )
        await rows.delete_group(conn, name)
        await forget(conn, f"group:{name}")
        return group

    return await db.run(work)


async def ensure_groups(conn: Conn, names: Iterable[str]) -> None:
    """Make those groups that are missing, with the ratio 1."""
    wanted = sorted(set(names))
    check_names(wanted)
    for name in wanted:
        await rows.create_group(conn, name)


async def find(conn: Conn, name: str) -> GroupRow:
    """By name."""
    group = await rows.get_group(conn, name)
    if group is None:
        raise Refusal(NOT_FOUND, f"There is no group {name!r}; `burncloud group list` shows them all")
    return group


def check_names(names: Iterable[str]) -> None:
    """Letters, digits and . _ -, up to 64."""
    for name in names:
        if not NAME.fullmatch(name):
            raise Refusal(INVALID_REQUEST, f"{name!r} cannot be a group's name; use up to 64 letters, digits and . _ -")


def check_ratio(ratio_ppm: int) -> None:
    """0 … 1000."""
    if not 0 <= ratio_ppm <= RATIO_PPM_MAX:
        raise Refusal(INVALID_REQUEST, "A ratio is between 0 and 1000; 1 charges the price as it is")
