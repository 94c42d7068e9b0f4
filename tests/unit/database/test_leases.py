"""What a grant reads and writes."""

from __future__ import annotations

from functools import partial

import pytest
from sqlalchemy import text

from burncloud.database import journals, leases, schema
from burncloud.database.engine import Database
from burncloud.database.journals import Guard, StaleEpoch
from burncloud.database.leases import Holding, Standing
from burncloud.database.limits import LimitRow, update_limits
from tests.books import add_accounts, balance

USER, TOKEN = ("user", 1), ("token", 1)
TODAY = 20_000  # the 4th of a month
NOW_S = TODAY * 86_400 + 5


async def _prepare(db: Database) -> tuple[Guard, int, int]:
    await add_accounts(db, 1_000, -1, tokens=2)
    guard = await db.ledger(lambda tx: journals.bump_epoch(tx, "here"))
    ids = []
    for uuid in ("a", "b"):
        row = await db.ledger(partial(journals.ensure_journal, guard=guard, uuid=uuid, now_s=1))
        ids.append(row.id)
    return guard, ids[0], ids[1]


async def _read(db: Database, guard: Guard, *ids: int) -> Standing:
    return await db.ledger(lambda tx: leases.read_standing(tx, guard, ids, {USER, TOKEN, ("token", 9)}, NOW_S))


async def test_the_standing_of_a_question(db: Database) -> None:
    guard, first, second = await _prepare(db)
    standing = await _read(db, guard, first)
    assert standing.open_journals == 2
    assert standing.states == {first: "open"}
    assert standing.limits == {USER: 1_000, TOKEN: -1}  # no token 9
    assert standing.granted == {}
    grants = {(first, *USER): 30, (second, *USER): 5, (first, *TOKEN): 7}
    await db.ledger(lambda tx: leases.add_grants(tx, grants))
    standing = await _read(db, guard, first)
    assert standing.granted == {(first, *USER): 30, (first, *TOKEN): 7}
    assert (standing.balances[USER], standing.balances[TOKEN]) == ((0, 35), (0, 7))
    amounts = [*standing.granted.values(), *standing.limits.values(), *standing.balances[USER]]
    assert {type(amount) for amount in amounts} == {int}  # not Decimals, as PostgreSQL adds them up
    assert (await balance(db, *USER)).leased == 35


async def test_what_is_left_of_budgets(db: Database) -> None:
    guard, first, _ = await _prepare(db)
    async with db.begin() as conn:
        await update_limits(conn, LimitRow("token:1", 5, budget_daily=100, budget_monthly=1_000))
        await update_limits(conn, LimitRow("user:1", budget_monthly=50))
        await update_limits(conn, LimitRow("token:2", budget_daily=1))
    rows = [("token", 1, TODAY - 4, 500), ("token", 1, TODAY - 3, 40), ("token", 1, TODAY, 7), ("user", 2, TODAY, 3)]
    await db.ledger(lambda tx: tx.add_rows(schema.spend, ("kind", "id", "day"), ("amount",), rows))
    standing = await _read(db, guard, first)
    assert standing.budgets == {TOKEN: {"daily": 93, "monthly": 953}, USER: {"monthly": 50}}


async def test_the_deleted_have_no_limit_left(db: Database) -> None:
    guard, first, _ = await _prepare(db)
    async with db.begin() as connection:
        await connection.execute(text("UPDATE tokens SET deleted_at = 5 WHERE id = 1"))
    assert (await _read(db, guard, first)).limits == {USER: 1_000}


async def test_a_stale_control_process_reads_nothing(db: Database) -> None:
    guard, first, _ = await _prepare(db)
    await db.ledger(lambda tx: journals.bump_epoch(tx, "here"))
    with pytest.raises(StaleEpoch):
        await _read(db, guard, first)


async def test_who_holds_something(db: Database) -> None:
    _, first, second = await _prepare(db)
    grants = {(first, *USER): 30, (second, *USER): 5, (first, *TOKEN): 7}
    await db.ledger(lambda tx: leases.add_grants(tx, grants))
    async with db.begin() as connection:
        await connection.execute(text("UPDATE leases SET drawn = 10, returned = 2 WHERE granted = 30"))
        await connection.execute(text("UPDATE leases SET returned = 5 WHERE granted = 5"))
    async with db.read() as connection:
        assert await leases.holdings(connection, USER) == [Holding(first, "a", 30, 18)]
        assert await leases.holdings(connection, TOKEN) == [Holding(first, "a", 7, 7)]
        assert await leases.holdings(connection, ("token", 2)) == []
        assert await leases.count_outstanding(connection) == (2, 25)
