"""The one spelling of INSERT … ON CONFLICT."""

from __future__ import annotations

from burncloud.database.connection import insert_into, row_id
from burncloud.database.engine import Database
from burncloud.database.schema import meta


async def test_a_conflict_can_be_passed_over_or_updated(db: Database) -> None:
    async with db.begin() as conn:
        for value in ("one", "two"):
            query = insert_into(conn, meta).values(key="k", value=value).on_conflict_do_nothing()
            count = (await conn.execute(query)).rowcount
            assert count == (1 if value == "one" else 0)
        query = insert_into(conn, meta).values(key="k", value="three")
        query = query.on_conflict_do_update(index_elements=[meta.c.key], set_={"value": "three"})
        assert (await conn.execute(query.returning(meta.c.value))).scalar_one() == "three"


def test_ids_that_people_type() -> None:
    assert [row_id(text) for text in ("0", "17", "9" * 18)] == [0, 17, 10**18 - 1]
    assert [row_id(text) for text in ("", "a", "-1", "1.0", "٣", "²")] == [None] * 6
    assert [row_id(text) for text in ("9" * 19, "9" * 5000)] == [-1, -1]
