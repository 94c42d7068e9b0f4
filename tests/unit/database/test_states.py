"""SQL of states, on both engines."""

from __future__ import annotations

from burncloud.database import channels, states
from burncloud.database.engine import Database
from burncloud.database.states import StateRow


async def test_put_again_and_dropped(db: Database) -> None:
    key = StateRow("a", 1, 7, "", "off", "refused", 401, 10, 70, 60_000)
    model = StateRow("a", 1, 0, "m", "cooling", "broken", 500, 10, 11, 2_000)
    other = StateRow("b", 2, 0, "m", "ready")
    async with db.begin() as conn:
        await states.put_states(conn, [StateRow("a", 1, 7, "", "cooling"), model, other])
        await states.put_states(conn, [key])
        assert sorted(await states.list_states(conn), key=str) == sorted([key, model, other], key=str)
        assert {row.key for row in await states.list_states(conn, 1)} == {0, 7}
        await states.drop_states(conn, "a", [(1, 0, "m"), (2, 0, "m")])
        assert await states.list_states(conn) == [key, other]


async def test_what_is_gone_is_forgotten(db: Database) -> None:
    async with db.begin() as conn:
        kept = await channels.create_channel(conn, {"ref": "ch_1", "vendor": "openai"})
        gone = await channels.create_channel(conn, {"ref": "ch_2", "vendor": "openai"})
        for channel in (kept, gone):
            await channels.add_keys(conn, channel, [b"x"])
        [key] = await channels.list_keys(conn, kept, kept)
        rows = [
            StateRow("a", kept, key.id, "", "off"),
            StateRow("a", kept, 99, "", "off"),
            StateRow("a", kept, 0, "m", "off"),
        ]
        await states.put_states(conn, [*rows, StateRow("a", gone, 0, "m", "off")])
        await channels.delete_channel(conn, gone, 1)
        await states.prune_states(conn)
        assert {(row.key, row.model) for row in await states.list_states(conn)} == {(key.id, ""), (0, "m")}
