"""SQL of users, on both engines."""

from __future__ import annotations

from burncloud.database import users
from burncloud.database.engine import Database
from tests.unit.database.sql import add_user, all_changes, execute


async def test_a_user_is_made_with_a_balance_and_found(db: Database) -> None:
    async with db.begin() as conn:
        assert not await users.exists_any(conn)
        id_ = await users.create_user(conn, "alice", "$hash", "admin", "vip", 10_000, 1_700_000_000)
        assert id_ is not None
        assert await users.create_user(conn, "alice", "", "user", "default", -1, 0) is None
    await execute(db, "UPDATE balances SET used = 7, leased = 2 WHERE kind = 'user'")
    async with db.read() as conn:
        expected = users.UserRow(id_, "alice", "admin", "vip", 10_000, 7, 2, True, 1_700_000_000)
        assert await users.get_user(conn, id_) == expected
        assert await users.find_user(conn, "alice", lock=False) == expected
        assert await users.list_users(conn) == [expected]
        assert await users.get_password_hash(conn, id_) == "$hash"
        assert await users.exists_any(conn)
        assert await users.get_user(conn, id_ + 1) is None
        assert await users.find_user(conn, "bob") is None


async def test_pages_by_id(db: Database) -> None:
    ids = [await add_user(db, f"u{n}") for n in range(5)]
    async with db.read() as conn:
        assert [u.id for u in await users.list_users(conn, limit=2)] == ids[:2]
        assert [u.id for u in await users.list_users(conn, after=ids[1], limit=2)] == ids[2:4]
        assert [row[0] for row in await users.snapshot_users(conn, ids[2], 100)] == ids[3:]
        assert list(await users.snapshot_users(conn, ids=[ids[0]])) == [(ids[0], True, "default", -1)]


async def test_an_update_fires_its_changes_once(db: Database) -> None:
    user = await add_user(db, "alice")
    before = await all_changes(db)
    async with db.begin() as conn:
        await users.update_user(conn, user, {"quota_limit": 5})
    new = (await all_changes(db))[len(before) :]
    assert ("user", str(user)) in new
    assert ("quota_user", str(user)) in new
    async with db.begin() as conn:
        await users.update_user(conn, user, {"group": "vip"})
    assert (await all_changes(db))[len(before) + len(new) :] == [("user", str(user))]


async def test_a_deleted_user_is_gone_but_its_id_never_comes_back(db: Database) -> None:
    user = await add_user(db, "alice")
    async with db.begin() as conn:
        await users.delete_user(conn, user, "alice", 1)
    assert await add_user(db, "alice") > user
    async with db.read() as conn:
        assert await users.get_user(conn, user) is None
        assert list(await users.snapshot_users(conn, ids=[user])) == []
        assert await users.exists_any(conn)


async def test_only_live_administrators_count(db: Database) -> None:
    await add_user(db, "boss", role="admin")
    off = await add_user(db, "off", role="admin")
    gone = await add_user(db, "gone", role="admin")
    await add_user(db, "user")
    async with db.begin() as conn:
        await users.update_user(conn, off, {"enabled": False})
        await users.delete_user(conn, gone, "gone", 1)
    async with db.begin() as conn:
        assert await users.count_admins(conn) == 1
        assert await users.find_user(conn, "boss", lock=True) is not None
