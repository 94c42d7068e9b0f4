"""The master key's fingerprint, on both engines."""

from __future__ import annotations

from burncloud.database import secrets
from burncloud.database.engine import Database


async def test_the_first_fingerprint_stays(db: Database) -> None:
    async with db.begin() as conn:
        assert await secrets.get_fingerprint(conn) == ""
        assert await secrets.create_fingerprint(conn, "one") == "one"
        assert await secrets.create_fingerprint(conn, "two") == "one"
    async with db.read() as conn:
        assert await secrets.get_fingerprint(conn) == "one"
