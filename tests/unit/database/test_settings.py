"""SQL of settings, on both engines."""

from __future__ import annotations

from burncloud.database import settings
from burncloud.database.engine import Database
from tests.unit.database.sql import all_changes


async def test_set_again_and_forgotten(db: Database) -> None:
    async with db.begin() as conn:
        assert await settings.get_setting(conn, "unpriced") is None
        await settings.update_setting(conn, "unpriced", "free")
        await settings.update_setting(conn, "unpriced", "refuse")
        assert await settings.list_settings(conn) == {"unpriced": "refuse"}
        assert await settings.get_setting(conn, "unpriced") == "refuse"
        await settings.delete_setting(conn, "unpriced")
        assert await settings.list_settings(conn) == {}
    assert set(await all_changes(db)) == {("setting", "unpriced")}
