"""What a person should know without having looked: a key that its vendor refuses, and when it is good again.

Events are few and kept for a while; the newest say the most.
"""

from __future__ import annotations

from typing import Final

from burncloud import clock
from burncloud.database import events as rows
from burncloud.database.connection import Conn
from burncloud.database.engine import Database
from burncloud.database.events import EventRow

KEY_OFF: Final = "key_off"
KEY_READY: Final = "key_ready"
REDIS_AWAY: Final = "redis_away"
REDIS_SLOW: Final = "redis_slow"
REDIS_THERE: Final = "redis_there"
KINDS: Final[dict[str, str]] = {
    KEY_OFF: "the vendor refuses the key; it is not used until it is changed or found good",
    KEY_READY: "a key that was off is good again",
    REDIS_AWAY: "Redis does not answer a worker; limits are kept by each node alone",
    REDIS_SLOW: "Redis answers a worker too late; what cannot wait is decided by each node alone",
    REDIS_THERE: "Redis answers all workers again, and in time",
}
KEEP_S: Final = 90 * 86_400
KEEP: Final = 10_000
HINT_FROM: Final = 12
"""Of a shorter key nothing is shown."""


async def record(
    conn: Conn, kind: str, node: str, channel: int = 0, key: int = 0, hint: str = "", detail: str = ""
) -> None:
    """It happened now."""
    await rows.add_event(conn, EventRow(0, clock.now_s(), kind, node, channel, key, hint, detail))


async def list_events(db: Database, limit: int = 100, channel: int = 0, since: int = 0) -> list[EventRow]:
    """The newest, newest first."""
    async with db.read() as conn:
        return await rows.list_events(conn, limit, channel, since)


async def prune(conn: Conn) -> None:
    """Forget the old ones."""
    await rows.prune_events(conn, clock.now_s() - KEEP_S, KEEP)


def hint_of(secret: str) -> str:
    """The end of a key, by which its owner knows it; "" of one that is short or a JSON key file."""
    return f"…{secret[-4:]}" if len(secret) >= HINT_FROM and not secret.lstrip().startswith("{") else ""
