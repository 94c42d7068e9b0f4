"""SQL of groups, on both engines."""

from __future__ import annotations

from burncloud.database import groups
from burncloud.database.engine import Database
from burncloud.database.groups import GroupRow, GroupUse
from tests.unit.database.sql import add_rows, add_token, add_user, all_changes


async def test_made_once_set_and_forgotten(db: Database) -> None:
    async with db.begin() as conn:
        await groups.update_group(conn, "vip", 800_000)
        assert not await groups.create_group(conn, "vip")
        assert await groups.create_group(conn, "other")
        await groups.update_group(conn, "other", 2_000_000)
    async with db.read() as conn:
        found = await groups.list_groups(conn)
        assert found == sorted(found, key=lambda group: group.name)
        assert {GroupRow("other", 2_000_000), GroupRow("vip", 800_000)} <= set(found)
        assert await groups.get_group(conn, "vip") == GroupRow("vip", 800_000)
    async with db.begin() as conn:
        await groups.delete_group(conn, "vip")
        assert await groups.get_group(conn, "vip") is None
    assert ("group", "vip") in await all_changes(db)


async def test_use_counts_the_living(db: Database) -> None:
    user = await add_user(db, "alice")
    await add_token(db, user, group="default")
    for channel, model in ((1, "a"), (1, "b"), (2, "a")):
        await add_rows(db, "abilities", {"group": "default", "model": model, "channel_id": channel})
    async with db.read() as conn:
        assert await groups.get_group_use(conn, "default") == GroupUse(1, 1, 2)
        assert await groups.get_group_use(conn, "vip") == GroupUse(0, 0, 0)
