"""The log and the usage, for people."""

from __future__ import annotations

from typing import Final

from burncloud.database import logs as rows
from burncloud.database.connection import Conn, row_id
from burncloud.database.engine import Database
from burncloud.database.logs import LogFilter, LogRow, Position, UsageRow
from burncloud.errors import INVALID_REQUEST, Refusal
from burncloud.service import tokens, users

LIMIT_MAX: Final = 10_000
HOUR_S: Final = 3600


async def list_log(
    db: Database, who: str = "", token: str = "", model: str = "", since: int = 0, before: str = "", limit: int = 50
) -> list[LogRow]:
    """The newest rows before the cursor `before`, newest first; those since `since` (unix seconds)."""
    _check_limit(limit)
    position = parse_cursor(before) if before else None
    async with db.read() as conn:
        user_id, token_id = await _ids(conn, who, token)
        return await rows.list_log(conn, LogFilter(user_id, token_id, model, since * 1_000_000_000, position), limit)


async def sum_usage(
    db: Database, who: str = "", token: str = "", model: str = "", since: int = 0, limit: int = 1000
) -> list[UsageRow]:
    """Sums by user, token and model, the dearest first; from the beginning of the hour of `since`."""
    _check_limit(limit)
    async with db.read() as conn:
        user_id, token_id = await _ids(conn, who, token)
        return await rows.sum_usage(conn, user_id, token_id, model, since // HOUR_S * HOUR_S, limit)


def cursor(row: LogRow) -> str:
    """Where the page after this row begins."""
    return f"{row.time_ns}-{row.journal}-{row.x}"


def parse_cursor(text: str) -> Position:
    """The reverse of `cursor`."""
    parts = text.split("-")
    if len(parts) != 3 or not all(part.isdecimal() and len(part) < 20 and int(part) < 1 << 63 for part in parts):
        raise Refusal(INVALID_REQUEST, f"{text!r} is no cursor; take it from the end of the page before")
    return int(parts[0]), int(parts[1]), int(parts[2])


async def _ids(conn: Conn, who: str, token: str) -> tuple[int, int]:
    """An id is taken as it is: rows outlive what they name."""
    user_id, token_id = row_id(who or "0"), row_id(token or "0")
    return (
        (await users.find(conn, who)).id if user_id is None else user_id,
        (await tokens.find(conn, token)).id if token_id is None else token_id,
    )


def _check_limit(limit: int) -> None:
    if not 1 <= limit <= LIMIT_MAX:
        raise Refusal(INVALID_REQUEST, f"--limit is between 1 and {LIMIT_MAX}")
