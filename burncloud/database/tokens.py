"""SQL of the table `tokens` and of the balances that stand beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Select, Text, and_, cast, func, insert, select, update

from burncloud.database.connection import Conn
from burncloud.database.schema import balances, tokens, users

KIND = "token"
"""Of its rows in balances and changes."""


class TokenRow(msgspec.Struct, frozen=True):
    """A token that is not deleted, without its hash; money in nano-dollars, times in unix seconds."""

    id: int
    hint: str
    name: str
    user_id: int
    user: str
    quota_limit: int
    """−1 = unlimited."""
    used: int
    leased: int
    expires_at: int
    """−1 = never."""
    group: str
    """"" = the user's."""
    models: list[str] | None
    """None = all of its group."""
    networks: list[str]
    enabled: bool
    created_at: int
    options: dict[str, Any]
    """strict: refuse what cannot be translated without loss."""


def _select() -> Select[Any]:
    balance = and_(balances.c.kind == KIND, balances.c.id == tokens.c.id)
    return (
        select(
            tokens.c.id,
            tokens.c.hint,
            tokens.c.name,
            tokens.c.user_id,
            users.c.name,
            tokens.c.quota_limit,
            func.coalesce(balances.c.used, 0),
            func.coalesce(balances.c.leased, 0),
            tokens.c.expires_at,
            tokens.c.group,
            tokens.c.models,
            tokens.c.networks,
            tokens.c.enabled,
            tokens.c.created_at,
            tokens.c.options,
        )
        .select_from(tokens.join(users, users.c.id == tokens.c.user_id).outerjoin(balances, balance))
        .where(tokens.c.deleted_at.is_(None))
    )


async def list_tokens(conn: Conn, user: int = 0, after: int = 0, limit: int = 1000) -> list[TokenRow]:
    """Tokens by id, those above `after`; of one user unless `user` is 0."""
    query = _select().where(tokens.c.id > after).order_by(tokens.c.id).limit(limit)
    if user:
        query = query.where(tokens.c.user_id == user)
    return [TokenRow(*row) for row in await conn.execute(query)]


async def get_token(conn: Conn, token: int) -> TokenRow | None:
    """One token by id."""
    row = (await conn.execute(_select().where(tokens.c.id == token))).first()
    return TokenRow(*row) if row else None


async def find_token(conn: Conn, hash_: bytes) -> TokenRow | None:
    """One token by the hash of its key."""
    row = (await conn.execute(_select().where(tokens.c.hash == hash_))).first()
    return TokenRow(*row) if row else None


SnapshotToken = tuple[int, bytes, int, bool, int, int, str, str | None, str, str]


async def snapshot_tokens(
    conn: Conn, after: int = 0, limit: int = 0, ids: Sequence[int] = ()
) -> Sequence[SnapshotToken]:
    """(id, hash, user, enabled, quota_limit, expires_at, group, models, networks, options) of these tokens, or of
    the next `limit` above `after`; the last three as JSON text, since most are trivial and there may be 100,000."""
    query = select(
        tokens.c.id,
        tokens.c.hash,
        tokens.c.user_id,
        tokens.c.enabled,
        tokens.c.quota_limit,
        tokens.c.expires_at,
        tokens.c.group,
        cast(tokens.c.models, Text),
        cast(tokens.c.networks, Text),
        cast(tokens.c.options, Text),
    ).where(tokens.c.deleted_at.is_(None))
    if ids:
        query = query.where(tokens.c.id.in_(ids))
    else:
        query = query.where(tokens.c.id > after).order_by(tokens.c.id).limit(limit)
    rows: Sequence[Any] = (await conn.execute(query)).all()
    return rows


async def create_token(conn: Conn, values: dict[str, Any]) -> int:
    """A new token with a balance of 0; its id."""
    token = int((await conn.execute(insert(tokens).values(values).returning(tokens.c.id))).scalar_one())
    await conn.execute(insert(balances).values(kind=KIND, id=token))
    return token


async def update_token(conn: Conn, token: int, values: dict[str, Any]) -> None:
    """Set these columns."""
    await conn.execute(update(tokens).where(tokens.c.id == token).values(values))


async def delete_token(conn: Conn, token: int, at: int) -> None:
    """Mark it deleted."""
    await conn.execute(update(tokens).where(tokens.c.id == token).values(deleted_at=at, enabled=False))


async def delete_tokens_of(conn: Conn, user: int, at: int) -> int:
    """Mark all tokens of a user deleted; how many."""
    query = update(tokens).where(tokens.c.user_id == user, tokens.c.deleted_at.is_(None))
    return (await conn.execute(query.values(deleted_at=at, enabled=False))).rowcount
