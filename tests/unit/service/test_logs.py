"""The log and usage for people, on both engines."""

from __future__ import annotations

import pytest

from burncloud.database.engine import Database
from burncloud.errors import Refusal
from burncloud.service import logs, tokens, users
from tests.unit.database.sql import add_rows


async def fill(db: Database) -> tuple[int, int]:
    user = (await users.create_user(db, "alice")).id
    token = (await tokens.create_token(db, "alice")).token.id
    for x in range(1, 6):
        payer = {"user": user, "token": token} if x % 2 else {"user": 99, "token": 98}
        at = {"journal": 1, "x": x, "day": 1, "time_ns": x * 1_000_000_000}
        await add_rows(db, "receipts", at | payer | {"model": "m", "charge": x})
        place = {"hour": 3600 * x, "channel": 1, "model": "m"}
        await add_rows(db, "usage_hourly", place | payer | {"requests": 1, "charge": x})
    return user, token


async def test_pages_by_cursor(db: Database) -> None:
    await fill(db)
    first = await logs.list_log(db, limit=2)
    assert [row.x for row in first] == [5, 4]
    second = await logs.list_log(db, before=logs.cursor(first[-1]), limit=2)
    assert [row.x for row in second] == [3, 2]
    assert logs.parse_cursor(logs.cursor(first[0])) == (5_000_000_000, 1, 5)


async def test_filters_by_name_and_by_the_id_of_who_is_gone(db: Database) -> None:
    user, token = await fill(db)
    assert [row.x for row in await logs.list_log(db, who="alice")] == [5, 3, 1]
    await users.delete_user(db, "alice")
    assert [row.x for row in await logs.list_log(db, who=str(user))] == [5, 3, 1]
    assert [row.x for row in await logs.list_log(db, token=str(token), since=3)] == [5, 3]
    assert [row.x for row in await logs.list_log(db, who="99")] == [4, 2]
    with pytest.raises(Refusal, match="no user"):
        await logs.list_log(db, who="alice")


async def test_usage_begins_with_the_hour(db: Database) -> None:
    await fill(db)
    assert [row.charge for row in await logs.sum_usage(db)] == [9, 6]
    assert [row.charge for row in await logs.sum_usage(db, since=3600 * 4 + 1800)] == [5, 4]
    assert [row.charge for row in await logs.sum_usage(db, who="alice", model="m")] == [9]


async def test_what_cannot_be_asked(db: Database) -> None:
    for limit in (0, logs.LIMIT_MAX + 1):
        with pytest.raises(Refusal, match="--limit"):
            await logs.list_log(db, limit=limit)
        with pytest.raises(Refusal, match="--limit"):
            await logs.sum_usage(db, limit=limit)
    for cursor in ("x", "1-2", "1-2-3-4", "-1-2-3", "1-2-x", "9" * 30 + "-1-1"):
        with pytest.raises(Refusal, match="no cursor"):
            await logs.list_log(db, before=cursor)
