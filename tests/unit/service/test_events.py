"""Events: what is kept of them, and how much of a key is shown."""

from __future__ import annotations

import pytest

from burncloud import clock
from burncloud.database.engine import Database
from burncloud.service import events


@pytest.mark.parametrize(
    ("secret", "hint"), [("sk-1234567890abcd", "…abcd"), ("short-key", ""), ('{"type": "service_account"}', "")]
)
def test_the_end_of_a_key(secret: str, hint: str) -> None:
    assert events.hint_of(secret) == hint


async def test_the_old_ones_go(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    now = clock.now_s()
    for ago in (events.KEEP_S + 10, 10, 0):
        monkeypatch.setattr(clock, "now_s", lambda ago=ago: now - ago)
        async with db.begin() as conn:
            await events.record(conn, events.KEY_OFF, "here", 1, 7, "…abcd", "refused, status 401")
    async with db.begin() as conn:
        await events.prune(conn)
    assert [event.at for event in await events.list_events(db)] == [now, now - 10]
    assert len(await events.list_events(db, since=now)) == 1
    assert await events.list_events(db, channel=2) == []
