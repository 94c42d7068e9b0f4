"""SQL of prices, on both engines."""

from __future__ import annotations

from burncloud.database import prices
from burncloud.database.engine import Database
from burncloud.domain.usage import KINDS
from tests.unit.database.sql import all_changes


async def test_only_kinds_that_are_set_are_in_the_row(db: Database) -> None:
    async with db.begin() as conn:
        await prices.create_price(conn, "b", {"input": 1, "reasoning": 0, "request": 5, "revision": 7, "updated_at": 8})
        await prices.create_price(conn, "a", dict.fromkeys(KINDS, 3) | {"alias": "b", "ratio_ppm": 9})
    async with db.read() as conn:
        row = await prices.get_price(conn, "b")
        assert row == prices.PriceRow("b", {"input": 1, "reasoning": 0}, 5, 1_000_000, None, 0, 7, 8)
        found = await prices.list_prices(conn)
        assert [row.model for row in found] == ["a", "b"]
        assert found[0].kinds == dict.fromkeys(KINDS, 3)
        assert await prices.list_aliases_of(conn, "b") == ["a"]
        assert await prices.get_price(conn, "c") is None


async def test_update_and_delete_tell_by_name(db: Database) -> None:
    async with db.begin() as conn:
        await prices.create_price(conn, "a", {"input": 1})
        await prices.update_price(conn, "a", {"input": None, "output": 2})
    async with db.read() as conn:
        row = await prices.get_price(conn, "a")
        assert row is not None
        assert row.kinds == {"output": 2}
    async with db.begin() as conn:
        await prices.delete_price(conn, "a")
    async with db.read() as conn:
        assert await prices.list_prices(conn) == []
    assert set(await all_changes(db)) == {("price", "a")}


async def test_revisions_count_up_for_ever(db: Database) -> None:
    found = []
    for _ in range(3):
        async with db.begin() as conn:
            found.append(await prices.next_revision(conn))
    assert found == [1, 2, 3]
