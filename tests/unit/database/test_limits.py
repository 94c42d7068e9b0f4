"""SQL of limits and of what was spent, on both engines."""

from __future__ import annotations

from burncloud.database import limits, schema
from burncloud.database.engine import Database
from burncloud.database.limits import LimitRow
from tests.books import add_accounts
from tests.unit.database.sql import add_token, add_user, all_changes


async def test_set_again_and_forgotten(db: Database) -> None:
    async with db.begin() as conn:
        assert await limits.get_limits(conn, "token:1") == LimitRow("token:1")
        await limits.update_limits(conn, LimitRow("token:1", 60, 10_000, 5, 7, 8))
        await limits.update_limits(conn, LimitRow("token:1", 61))
        await limits.update_limits(conn, LimitRow("tokenish:1", 1))
        await limits.update_limits(conn, LimitRow("user:3", budget_monthly=0))
        await limits.update_limits(conn, LimitRow("token:12", budget_daily=5))
        assert await limits.list_limits(conn, "token") == [LimitRow("token:1", 61), LimitRow("token:12", -1, -1, -1, 5)]
        assert len(await limits.list_limits(conn)) == 4
        found = await limits.list_limits(conn, names=["token:1", "token:12", "token:7"])
        assert [row.name for row in found] == ["token:1", "token:12"]
        await limits.delete_limits(conn, "token:1")
        assert await limits.get_limits(conn, "token:1") == LimitRow("token:1")
    changes = await all_changes(db)
    assert changes.count(("limit", "token:1")) == 3
    assert ("limit", "user:3") in changes


async def test_who_has_a_budget(db: Database) -> None:
    """Of those that are asked for: each page of tokens has its own."""
    user = await add_user(db, "alice")
    first, second, third = [await add_token(db, user, n) for n in (1, 2, 3)]
    async with db.begin() as conn:
        await limits.update_limits(conn, LimitRow(f"token:{first}", budget_daily=0))
        await limits.update_limits(conn, LimitRow(f"token:{second}", 7))
        await limits.update_limits(conn, LimitRow(f"token:{third}", budget_monthly=5))
        await limits.update_limits(conn, LimitRow(f"user:{user}", budget_monthly=5))
        assert await limits.budgeted(conn, "token", first, third) == {first, third}
        assert await limits.budgeted(conn, "token", first, second) == {first}
        assert await limits.budgeted(conn, "token", first, third, [second, third]) == {third}
        assert await limits.budgeted(conn, "user", 1, user) == {user}


async def test_a_touched_account_is_told_of_anew(db: Database) -> None:
    await add_accounts(db, 1_000, -1)
    before = await all_changes(db)
    async with db.begin() as conn:
        await limits.touch(conn, "token", 1)
        await limits.touch(conn, "user", 1)
    assert (await all_changes(db))[len(before) :] == [("token", "1"), ("user", "1")]


async def test_what_was_spent(db: Database) -> None:
    rows = [("token", 1, 9, 40), ("token", 1, 10, 2), ("token", 1, 12, 3), ("token", 2, 12, 9), ("user", 1, 12, 8)]
    await db.ledger(lambda tx: tx.add_rows(schema.spend, ("kind", "id", "day"), ("amount",), rows))
    async with db.read() as conn:
        assert await limits.spent(conn, "token", 1, 10) == 5
        assert await limits.spent(conn, "token", 1, 13) == 0
