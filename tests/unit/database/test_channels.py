"""SQL of channels, their keys and abilities, on both engines."""

from __future__ import annotations

from burncloud.database import channels
from burncloud.database.engine import Database
from tests.unit.database.sql import all_changes, execute

VALUES = {
    "ref": "ch_1",
    "name": "main",
    "vendor": "openai",
    "base_url": "https://a.example/v1",
    "models": {"fast": "gpt-4o-mini"},
    "groups": ["default", "vip"],
    "priority": 3,
    "weight": 0,
    "options": {"verify_tls": False},
    "created_at": 9,
}


async def add(db: Database, **values: object) -> int:
    async with db.begin() as conn:
        return await channels.create_channel(conn, VALUES | values)


async def test_a_channel_is_made_with_a_balance_and_found(db: Database) -> None:
    channel = await add(db)
    await execute(db, "UPDATE balances SET used = 12 WHERE kind = 'channel'")
    async with db.read() as conn:
        row = await channels.get_channel(conn, channel)
        assert row is not None
        assert (row.models, row.groups, row.options) == (VALUES["models"], VALUES["groups"], VALUES["options"])
        assert (row.priority, row.weight, row.used, row.enabled) == (3, 0, 12, True)
        assert await channels.find_channel(conn, "main") == await channels.find_channel(conn, "ch_1") == row
        assert await channels.list_channels(conn) == await channels.list_channels(conn, ids=[channel]) == [row]
        assert await channels.list_channels(conn, after=channel) == []
        assert await channels.find_channel(conn, "other") is None


async def test_keys_come_and_go_and_tell_the_channel(db: Database) -> None:
    first, second = await add(db), await add(db, ref="ch_2", name="second")
    before = len(await all_changes(db))
    async with db.begin() as conn:
        await channels.add_keys(conn, first, [b"one", b"two"])
        await channels.add_keys(conn, second, [b"three"])
    async with db.read() as conn:
        keys = await channels.list_keys(conn, first, second)
        assert [(key.channel_id, key.secret) for key in keys] == [(first, b"one"), (first, b"two"), (second, b"three")]
        assert len(await channels.list_keys(conn, first, first)) == 2
    async with db.begin() as conn:
        await channels.delete_keys(conn, [keys[0].id])
    assert set((await all_changes(db))[before:]) == {("channel", str(first)), ("channel", str(second))}


async def test_abilities_are_rewritten(db: Database) -> None:
    channel = await add(db)
    for groups, models in ((["default", "vip"], ["a", "b"]), (["vip"], ["b"]), ([], [])):
        async with db.begin() as conn:
            await channels.rewrite_abilities(conn, channel, groups, models, True, 5, 2)
        rows = await execute(db, 'SELECT "group", model, channel_id, priority, weight FROM abilities')
        assert sorted(rows) == sorted((group, model, channel, 5, 2) for group in groups for model in models)


async def test_deleting_forgets_keys_and_abilities(db: Database) -> None:
    channel = await add(db)
    async with db.begin() as conn:
        await channels.add_keys(conn, channel, [b"secret"])
        await channels.rewrite_abilities(conn, channel, ["default"], ["a"], True, 0, 1)
        await channels.update_channel(conn, channel, {"weight": 4})
        await channels.delete_channel(conn, channel, 5)
    async with db.read() as conn:
        assert await channels.get_channel(conn, channel) is None
        assert await channels.list_keys(conn, channel, channel) == []
    assert await execute(db, "SELECT * FROM abilities") == []
    assert await execute(db, "SELECT weight, deleted_at FROM channels") == [(4, 5)]
