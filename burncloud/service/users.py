"""The rules of users: who pays, how much, and that there is always an administrator.

All raise Refusal with one sentence that says what to do.  A user is named by id or by name.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any, Final

from burncloud import clock
from burncloud.database import tokens as token_rows
from burncloud.database import users as rows
from burncloud.database.belongings import forget, forget_tokens_of
from burncloud.database.connection import Conn, row_id
from burncloud.database.engine import Database
from burncloud.database.users import UserRow
from burncloud.domain.money import AMOUNT_NANO_MAX, format_usd
from burncloud.errors import INVALID_REQUEST, NOT_FOUND, Refusal
from burncloud.service import secrets
from burncloud.service.groups import DEFAULT_GROUP, ensure_groups

ROLES: Final = ("admin", "user")
UNLIMITED: Final = -1
NAME: Final = re.compile(r"(?!\d+$)[\w.@+-]{1,64}")
PASSWORD_CHARS_MIN: Final = 8
FIRST_ADMIN: Final = "admin"


async def list_users(db: Database, after: int = 0, limit: int = 1000) -> list[UserRow]:
    """Users by id, those above `after`."""
    async with db.read() as conn:
        return await rows.list_users(conn, after, limit)


async def get_user(db: Database, who: str) -> UserRow:
    """One user by id or name."""
    async with db.read() as conn:
        return await find(conn, who)


async def create_user(
    db: Database,
    name: str,
    password: str = "",
    role: str = "user",
    group: str = DEFAULT_GROUP,
    quota_limit: int = UNLIMITED,
) -> UserRow:
    """A new user; without a password nobody can log in as him."""
    _check_name(name)
    _check_role(role)
    check_limit(quota_limit)
    hashed = await _hash(password) if password else ""

    async def work(conn: Conn) -> UserRow:
        await ensure_groups(conn, [group])
        user = await rows.create_user(conn, name, hashed, role, group, quota_limit, clock.now_s())
        if user is None:
            raise Refusal(INVALID_REQUEST, f"There is a user {name!r} already; choose another name")
        return await find(conn, str(user))

    return await db.run(work)


async def update_user(db: Database, who: str, changes: dict[str, Any]) -> UserRow:
    """Change name, role, group, quota_limit or enabled: those that `changes` holds."""
    if "name" in changes:
        _check_name(changes["name"])
    if "role" in changes:
        _check_role(changes["role"])
    if "quota_limit" in changes:
        check_limit(changes["quota_limit"])

    async def work(conn: Conn) -> UserRow:
        user = await find(conn, who)
        if changes.get("role", user.role) != "admin" or not changes.get("enabled", user.enabled):
            await _keep_an_admin(conn, user)
        if changes.get("name", user.name) != user.name and await rows.find_user(conn, changes["name"]):
            raise Refusal(INVALID_REQUEST, f"There is a user {changes['name']!r} already; choose another name")
        if "group" in changes:
            await ensure_groups(conn, [changes["group"]])
        if changes:
            await rows.update_user(conn, user.id, changes)
        return await find(conn, str(user.id))

    return await db.run(work)


async def delete_user(db: Database, who: str) -> UserRow:
    """Delete a user and all his tokens; his rows in the ledger stay.  What he was, is returned."""

    async def work(conn: Conn) -> UserRow:
        user = await find(conn, who)
        await _keep_an_admin(conn, user)
        now = clock.now_s()
        await rows.delete_user(conn, user.id, user.name, now)
        await token_rows.delete_tokens_of(conn, user.id, now)
        await forget(conn, f"user:{user.id}")
        await forget_tokens_of(conn, user.id)
        return user

    return await db.run(work)


async def topup_user(db: Database, who: str, amount: int) -> UserRow:
    """Give him `amount` nano-dollars more to use; one who was unlimited has just that much from now on."""
    if amount <= 0:
        raise Refusal(INVALID_REQUEST, "A top-up is more than 0; lower a quota with `burncloud user update --quota`")

    async def work(conn: Conn) -> UserRow:
        user = await find(conn, who, lock=True)
        limit = (user.used if user.quota_limit == UNLIMITED else user.quota_limit) + amount
        check_limit(limit)
        await rows.update_user(conn, user.id, {"quota_limit": limit})
        return await find(conn, str(user.id))

    return await db.run(work)


async def set_password(db: Database, who: str, password: str) -> UserRow:
    """A new password, of 8 characters or more."""
    hashed = await _hash(password)

    async def work(conn: Conn) -> UserRow:
        user = await find(conn, who)
        await rows.update_user(conn, user.id, {"password_hash": hashed})
        return user

    return await db.run(work)


async def ensure_admin(db: Database) -> str:
    """Make the first administrator where there was never a user; his password, shown to nobody before, else "".

    Safe against several processes starting at once: only one of them gets a password.
    """
    async with db.read() as conn:
        if await rows.exists_any(conn):
            return ""
    password = secrets.new_password()
    hashed = await _hash(password)

    async def work(conn: Conn) -> bool:
        if await rows.exists_any(conn):
            return False
        await ensure_groups(conn, [DEFAULT_GROUP])
        made = await rows.create_user(conn, FIRST_ADMIN, hashed, "admin", DEFAULT_GROUP, UNLIMITED, clock.now_s())
        return made is not None

    return password if await db.run(work) else ""


async def find(conn: Conn, who: str, lock: bool = False) -> UserRow:
    """By id or name; `lock` keeps others from changing the row until the transaction ends."""
    user_id = row_id(who)
    user = await (rows.find_user(conn, who, lock) if user_id is None else rows.get_user(conn, user_id, lock))
    if user is None:
        raise Refusal(NOT_FOUND, f"There is no user {who!r}; `burncloud user list` shows them all")
    return user


def check_limit(quota_limit: int) -> None:
    """−1 or 0 … 2^62 nano-dollars."""
    if not (quota_limit == UNLIMITED or 0 <= quota_limit <= AMOUNT_NANO_MAX):
        raise Refusal(INVALID_REQUEST, f"A quota is unlimited or between 0 and {format_usd(AMOUNT_NANO_MAX)} dollars")


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise Refusal(
            INVALID_REQUEST,
            f"{name!r} cannot be a user's name; use up to 64 letters, digits and . _ @ + -, not digits alone",
        )


def _check_role(role: str) -> None:
    if role not in ROLES:
        raise Refusal(INVALID_REQUEST, f"{role!r} is no role; use admin or user")


async def _hash(password: str) -> str:
    if len(password) < PASSWORD_CHARS_MIN:
        raise Refusal(INVALID_REQUEST, f"A password needs at least {PASSWORD_CHARS_MIN} characters")
    return await asyncio.to_thread(secrets.hash_password, password)  # 50 ms of purpose


async def _keep_an_admin(conn: Conn, user: UserRow) -> None:
    """Refuse where this user is the only administrator left who can do anything."""
    if user.role == "admin" and user.enabled and await rows.count_admins(conn) <= 1:
        raise Refusal(INVALID_REQUEST, f"{user.name!r} is the only administrator; make another one first")
