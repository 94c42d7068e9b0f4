"""The bulk paths: same words, same effect on both engines."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from burncloud.database.driver import add_rows, execute, fetch, insert_rows
from burncloud.database.engine import DATABASE_ERRORS, Database
from burncloud.database.schema import attempts, balances


async def test_rows_go_in_and_come_out(db: Database) -> None:
    rows = [(1, x, n, 3, 4, 5, "first", 1, 200, x * 10, 9) for x in range(50) for n in (1, 2)]
    async with db.begin() as connection:
        await connection.execute(text("SELECT 1"))
        await insert_rows(connection, attempts, rows)
        await insert_rows(connection, attempts, [])
        assert await fetch(connection, "SELECT * FROM attempts WHERE journal = $1 ORDER BY x, n", 1) == rows
        assert await execute(connection, "UPDATE attempts SET sent = $1 WHERE n = $2", 0, 2) == 50
        assert await execute(connection, "UPDATE attempts SET sent = $1 WHERE n = $2", 0, 9) == 0


async def test_adding_makes_rows_and_adds_to_rows(db: Database) -> None:
    sums = ("used", "leased")
    async with db.begin() as connection:
        await connection.execute(text("SELECT 1"))
        await add_rows(connection, balances, ("kind", "id"), sums, [("token", 1, 5, 6), ("user", 1, 1 << 61, -1)])
        await add_rows(connection, balances, ("kind", "id"), sums, [("token", 1, -2, 1), ("token", 2, 1, 0)])
        await add_rows(connection, balances, ("kind", "id"), ("leased",), [("user", 1, 3)])
        await add_rows(connection, balances, ("kind", "id"), sums, [])
        found = await fetch(connection, "SELECT kind, id, used, leased FROM balances ORDER BY kind, id")
    assert found == [("token", 1, 3, 7), ("token", 2, 1, 0), ("user", 1, 1 << 61, 2)]


async def test_all_of_it_is_in_the_transaction(db: Database) -> None:
    async def work() -> None:
        async with db.begin() as connection:
            await connection.execute(text("SELECT 1"))
            await insert_rows(connection, attempts, [(1, 1, 1, 3, 4, 5, "first", 1, 200, 0, 9)])
            await add_rows(connection, balances, ("kind", "id"), ("used",), [("user", 1, 1)])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await work()
    async with db.read() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM attempts"))).scalar() == 0
        assert (await connection.execute(text("SELECT count(*) FROM balances"))).scalar() == 0


async def test_a_key_twice_is_refused(db: Database) -> None:
    row = (1, 1, 1, 3, 4, 5, "first", 1, 200, 0, 9)

    async def work() -> None:
        async with db.begin() as connection:
            await connection.execute(text("SELECT 1"))
            await insert_rows(connection, attempts, [row, row])

    with pytest.raises(DATABASE_ERRORS):
        await work()
