"""SQL of the table `users` and of the balances that stand beside it.

Each function takes an open connection (`Database.read()` or `.begin()`) and decides nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Select, and_, func, insert, select, update

from burncloud.database.connection import Conn, insert_into
from burncloud.database.schema import balances, users

KIND = "user"
"""Of its rows in balances and changes."""


class UserRow(msgspec.Struct, frozen=True):
    """A user that is not deleted; money in nano-dollars, times in unix seconds."""

    id: int
    name: str
    role: str
    group: str
    quota_limit: int
    """−1 = unlimited."""
    used: int
    leased: int
    enabled: bool
    created_at: int


def _select() -> Select[Any]:
    balance = and_(balances.c.kind == KIND, balances.c.id == users.c.id)
    return (
        select(
            users.c.id,
            users.c.name,
            users.c.role,
            users.c.group,
            users.c.quota_limit,
            func.coalesce(balances.c.used, 0),
            func.coalesce(balances.c.leased, 0),
            users.c.enabled,
            users.c.created_at,
        )
        .select_from(users.outerjoin(balances, balance))
        .where(users.c.deleted_at.is_(None))
    )


async def list_users(conn: Conn, after: int = 0, limit: int = 1000) -> list[UserRow]:
    """Users by id, those above `after`."""
    rows = await conn.execute(_select().where(users.c.id > after).order_by(users.c.id).limit(limit))
    return [UserRow(*row) for row in rows]


async def get_user(conn: Conn, user: int, lock: bool = False) -> UserRow | None:
    """One user by id; `lock` keeps others from changing the row until the transaction ends."""
    return await _first(conn, _select().where(users.c.id == user), lock)


async def find_user(conn: Conn, name: str, lock: bool = False) -> UserRow | None:
    """One user by name."""
    return await _first(conn, _select().where(users.c.name == name), lock)


async def _first(conn: Conn, query: Select[Any], lock: bool) -> UserRow | None:
    row = (await conn.execute(query.with_for_update(of=users) if lock else query)).first()
    return UserRow(*row) if row else None


async def get_password_hash(conn: Conn, user: int) -> str:
    """The PHC string, "" = no password can log in."""
    return str((await conn.execute(select(users.c.password_hash).where(users.c.id == user))).scalar() or "")


async def exists_any(conn: Conn) -> bool:
    """Whether there was ever a user, deleted ones counted."""
    return (await conn.execute(select(users.c.id).limit(1))).first() is not None


async def count_admins(conn: Conn) -> int:
    """How many administrators are neither deleted nor off; they stay so until the transaction ends."""
    query = select(users.c.id).where(users.c.role == "admin", users.c.enabled, users.c.deleted_at.is_(None))
    return len((await conn.execute(query.with_for_update())).all())


async def snapshot_users(
    conn: Conn, after: int = 0, limit: int = 0, ids: Sequence[int] = ()
) -> Sequence[tuple[int, bool, str, int]]:
    """(id, enabled, group, quota_limit) of these users, or of the next `limit` above `after`."""
    query = select(users.c.id, users.c.enabled, users.c.group, users.c.quota_limit).where(users.c.deleted_at.is_(None))
    if ids:
        query = query.where(users.c.id.in_(ids))
    else:
        query = query.where(users.c.id > after).order_by(users.c.id).limit(limit)
    rows: Sequence[Any] = (await conn.execute(query)).all()
    return rows


async def create_user(
    conn: Conn,
    name: str,
    password_hash: str,
    role: str,
    group: str,
    quota_limit: int,
    created_at: int,
) -> int | None:
    """A new user with a balance of 0; its id, or None where the name is taken."""
    values = {
        "name": name,
        "password_hash": password_hash,
        "role": role,
        "group": group,
        "quota_limit": quota_limit,
        "created_at": created_at,
    }
    query = insert_into(conn, users).values(values).on_conflict_do_nothing().returning(users.c.id)
    user = (await conn.execute(query)).scalar()
    if user is None:
        return None
    await conn.execute(insert(balances).values(kind=KIND, id=user))
    return int(user)


async def update_user(conn: Conn, user: int, values: dict[str, Any]) -> None:
    """Set these columns."""
    await conn.execute(update(users).where(users.c.id == user).values(values))


async def delete_user(conn: Conn, user: int, name: str, at: int) -> None:
    """Mark it deleted, and give its name free by taking another, which nobody can type."""
    values = {"deleted_at": at, "enabled": False, "name": f"{name} (deleted {user})"}
    await conn.execute(update(users).where(users.c.id == user).values(values))
