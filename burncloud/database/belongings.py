"""What is deleted takes along what was said of it: its limits and policies, which are kept by name."""

from __future__ import annotations

from sqlalchemy import Text, cast, delete, literal, select

from burncloud.database.connection import Conn
from burncloud.database.schema import limits, policies, tokens


async def forget(conn: Conn, scope: str) -> None:
    """Of one thing: token:12, user:3, group:vip, channel:7."""
    await conn.execute(delete(limits).where(limits.c.name == scope))
    await conn.execute(delete(policies).where(policies.c.scope == scope))


async def forget_tokens_of(conn: Conn, user: int) -> None:
    """Of all tokens that a user ever had."""
    scopes = select(literal("token:") + cast(tokens.c.id, Text)).where(tokens.c.user_id == user)
    await conn.execute(delete(limits).where(limits.c.name.in_(scopes)))
    await conn.execute(delete(policies).where(policies.c.scope.in_(scopes)))
