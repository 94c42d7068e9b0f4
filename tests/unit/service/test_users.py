"""The rules of users, on both engines."""

from __future__ import annotations

import asyncio

import pytest

from burncloud.database import users as user_rows
from burncloud.database.engine import Database
from burncloud.domain.money import AMOUNT_NANO_MAX
from burncloud.errors import NOT_FOUND, Refusal
from burncloud.service import groups, secrets, tokens, users
from tests.unit.database.sql import execute


async def test_a_user_is_unlimited_in_the_default_group_unless_told(db: Database) -> None:
    alice = await users.create_user(db, "alice")
    assert (alice.quota_limit, alice.group, alice.role, alice.enabled) == (-1, "default", "user", True)
    bob = await users.create_user(db, "bob", "long enough", "admin", "vip", 5)
    assert (bob.quota_limit, bob.group, bob.role) == (5, "vip", "admin")
    assert await users.get_user(db, "bob") == await users.get_user(db, str(bob.id)) == bob
    assert "vip" in [group.name for group in await groups.list_groups(db)]
    assert [user.name for user in await users.list_users(db)] == ["alice", "bob"]


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        ("", {}, "cannot be a user's name"),
        ("123", {}, "not digits alone"),
        ("a b", {}, "cannot be a user's name"),
        ("x" * 65, {}, "up to 64"),
        ("alice", {"role": "root"}, "use admin or user"),
        ("alice", {"password": "short"}, "at least 8"),
        ("alice", {"quota_limit": -2}, "unlimited or between"),
        ("alice", {"quota_limit": AMOUNT_NANO_MAX + 1}, "unlimited or between"),
        ("alice", {"group": "no such/name"}, "group's name"),
    ],
)
async def test_what_no_user_can_be(sqlite_db: Database, name: str, arguments: dict[str, str], sentence: str) -> None:
    with pytest.raises(Refusal, match=sentence):
        await users.create_user(sqlite_db, name, **arguments)  # type: ignore[arg-type]
    assert await users.list_users(sqlite_db) == []


async def test_names_are_taken_once(db: Database) -> None:
    await users.create_user(db, "alice")
    await users.create_user(db, "bob")
    with pytest.raises(Refusal, match="already"):
        await users.create_user(db, "alice")
    with pytest.raises(Refusal, match="already"):
        await users.update_user(db, "bob", {"name": "alice"})
    assert (await users.update_user(db, "bob", {"name": "bob", "group": "vip"})).group == "vip"


async def test_an_update_changes_only_what_is_given(db: Database) -> None:
    before = await users.create_user(db, "alice", quota_limit=5)
    after = await users.update_user(db, "alice", {"enabled": False})
    assert after.enabled is False
    assert (after.quota_limit, after.group, after.name) == (before.quota_limit, before.group, before.name)
    assert await users.update_user(db, "alice", {}) == after
    for bad in ({"role": "king"}, {"quota_limit": -7}, {"name": "7"}):
        with pytest.raises(Refusal):
            await users.update_user(db, "alice", bad)


async def test_unknown_users(db: Database) -> None:
    for who in ("nobody", "77"):
        with pytest.raises(Refusal, match="no user") as caught:
            await users.get_user(db, who)
        assert caught.value.row is NOT_FOUND


async def test_topping_up(db: Database) -> None:
    await users.create_user(db, "prepaid", quota_limit=5)
    assert (await users.topup_user(db, "prepaid", 10)).quota_limit == 15
    free = await users.create_user(db, "free")
    await execute(db, "UPDATE balances SET used = 40 WHERE kind = 'user' AND id = :id", id=free.id)
    assert (await users.topup_user(db, "free", 10)).quota_limit == 50  # 10 left, whatever was used before
    for amount in (0, -1, AMOUNT_NANO_MAX):
        with pytest.raises(Refusal):
            await users.topup_user(db, "prepaid", amount)


async def test_top_ups_at_once_all_count(db: Database) -> None:
    await users.create_user(db, "alice", quota_limit=0)
    await asyncio.gather(*(users.topup_user(db, "alice", 1) for _ in range(8)))
    assert (await users.get_user(db, "alice")).quota_limit == 8


async def test_deleting_takes_the_tokens_along_and_frees_the_name(db: Database) -> None:
    old = await users.create_user(db, "alice")
    made = await tokens.create_token(db, "alice")
    assert await users.delete_user(db, "alice") == old
    assert await tokens.list_tokens(db) == []
    with pytest.raises(Refusal):
        await tokens.get_token(db, made.key)
    assert (await users.create_user(db, "alice")).id > old.id


async def test_the_last_administrator_stays(db: Database) -> None:
    await users.create_user(db, "boss", role="admin")
    for change in (
        users.delete_user(db, "boss"),
        users.update_user(db, "boss", {"role": "user"}),
        users.update_user(db, "boss", {"enabled": False}),
    ):
        with pytest.raises(Refusal, match="only administrator"):
            await change
    assert (await users.update_user(db, "boss", {"group": "vip"})).role == "admin"
    await users.create_user(db, "second", role="admin")
    await users.delete_user(db, "boss")
    with pytest.raises(Refusal, match="only administrator"):
        await users.delete_user(db, "second")


async def test_passwords(db: Database) -> None:
    user = await users.create_user(db, "alice")
    await users.set_password(db, "alice", "correct horse")
    async with db.read() as conn:
        hashed = await user_rows.get_password_hash(conn, user.id)
    assert secrets.check_password(hashed, "correct horse")
    with pytest.raises(Refusal, match="at least"):
        await users.set_password(db, "alice", "horse")


async def test_the_first_administrator_is_made_once(db: Database) -> None:
    """Several processes that start at once: one password is shown, and it is the right one."""
    passwords = await asyncio.gather(*(users.ensure_admin(db) for _ in range(4)))
    shown = [password for password in passwords if password]
    assert len(shown) == 1
    assert len(shown[0]) == 20
    admin = await users.get_user(db, "admin")
    assert (admin.role, admin.quota_limit) == ("admin", -1)
    async with db.read() as conn:
        assert secrets.check_password(await user_rows.get_password_hash(conn, admin.id), shown[0])
    assert await users.ensure_admin(db) == ""


async def test_no_administrator_comes_back_by_itself(db: Database) -> None:
    await users.create_user(db, "somebody")
    assert await users.ensure_admin(db) == ""
    assert [user.name for user in await users.list_users(db)] == ["somebody"]
