"""SQL of the log and of usage, on both engines."""

from __future__ import annotations

from typing import Any

from burncloud.database import logs
from burncloud.database.engine import Database
from burncloud.database.logs import AttemptRow, LogFilter
from tests.unit.database.sql import add_rows, add_token, add_user, execute


def receipt(x: int, **values: Any) -> dict[str, Any]:
    return {"journal": 1, "x": x, "day": 20_000, "time_ns": x * 1_000_000_000, "model": "gpt-4"} | values


async def test_newest_first_in_pages_that_neither_skip_nor_repeat(db: Database) -> None:
    # rows 3 and 4 share a moment, as do two journals
    times = [1, 2, 3, 3, 5, 6]
    rows = [receipt(x, time_ns=at) for x, at in enumerate(times, 1)] + [receipt(3, journal=2, time_ns=3)]
    await add_rows(db, "receipts", *rows)
    seen = []
    before = None
    async with db.read() as conn:
        while page := await logs.list_log(conn, LogFilter(before=before), 2):
            seen += [(row.time_ns, row.journal, row.x) for row in page]
            before = seen[-1]
    assert seen == sorted(((row["time_ns"], row["journal"], row["x"]) for row in rows), reverse=True)


async def test_a_row_has_names_usage_and_attempts(db: Database) -> None:
    user = await add_user(db, "alice")
    token, nameless = await add_token(db, user, 1, name="ci"), await add_token(db, user, 2)
    named = {"user": user, "token": token, "channel": 99, "charge": 15_000_000, "input": 100, "output": 200}
    await add_rows(db, "receipts", receipt(1, **named), receipt(2, user=user, token=nameless), receipt(3, user=77))
    sends: list[dict[str, Any]] = [
        {"n": 2, "charge": 15_000_000, "status": 200},
        {"n": 1, "sent": 0, "reason": "first"},
    ]
    for send in sends:
        await add_rows(db, "attempts", {"journal": 1, "x": 1, "day": 20_000, "channel": 99, "key": 4} | send)
    async with db.read() as conn:
        unknown, second, first = await logs.list_log(conn, LogFilter(), 10)
    assert (first.user, first.token, first.channel, first.channel_id) == ("alice", "ci", None, 99)
    assert (first.charge, first.usage, first.time_ns) == (15_000_000, {"input": 100, "output": 200}, 1_000_000_000)
    assert first.attempts == [
        AttemptRow(1, 99, 4, "first", 0, 0, 0, 0, 0), AttemptRow(2, 99, 4, "first", 1, 200, 15_000_000, 0, 0)
    ]  # fmt: skip
    assert (second.token, second.attempts, second.usage) == ("sk-…abcd", [], {})
    assert (unknown.user, unknown.user_id) == (None, 77)


async def test_filters(db: Database) -> None:
    await add_rows(
        db, "receipts",
        receipt(1, user=1, token=1), receipt(2, user=1, token=2, model="o1"), receipt(3, user=2, token=3),
    )  # fmt: skip
    cases = [
        (LogFilter(user=1), [2, 1]),
        (LogFilter(token=3), [3]),
        (LogFilter(model="gpt-4"), [3, 1]),
        (LogFilter(since_ns=2_000_000_000), [3, 2]),
        (LogFilter(user=1, model="gpt-4", since_ns=2_000_000_000), []),
    ]
    async with db.read() as conn:
        for wanted, xs in cases:
            assert [row.x for row in await logs.list_log(conn, wanted, 10)] == xs


async def test_no_page_counts_skips_or_sorts_the_table(db: Database) -> None:
    """The plan of a deep page reads an index backwards; were it a sort, page 1,000 of 10 million rows would hang."""
    if db.dialect != "sqlite":
        return
    await add_rows(db, "receipts", *[receipt(x, user=1) for x in range(1, 50)])
    sort = "TEMP B-TREE FOR ORDER BY"  # of rows of the same nanosecond it may be
    for where in ("", "WHERE user = 1", "WHERE token = 1"):
        plan = await execute(
            db, f"EXPLAIN QUERY PLAN SELECT x FROM receipts {where} ORDER BY time_ns DESC, journal DESC, x DESC"
        )
        assert sort not in str(plan), plan
        assert "USING" in str(plan), plan


async def test_usage_sums_the_roll_up(db: Database) -> None:
    user = await add_user(db, "alice")
    hours = [
        {"hour": 3600, "user": user, "token": 1, "channel": 1, "model": "a", "requests": 2, "input": 5, "charge": 10},
        {"hour": 7200, "user": user, "token": 1, "channel": 2, "model": "a", "requests": 1, "output": 3, "charge": 30},
        {"hour": 7200, "user": 9, "token": 2, "channel": 1, "model": "b", "requests": 4, "charge": 5},
    ]
    await add_rows(db, "usage_hourly", *hours)
    async with db.read() as conn:
        first, second = await logs.sum_usage(conn)
        assert (first.user, first.model, first.requests, first.charge) == ("alice", "a", 3, 40)
        assert first.usage == {"input": 5, "output": 3}
        assert (second.user, second.user_id, second.charge) == (None, 9, 5)
        assert [row.charge for row in await logs.sum_usage(conn, since=7200)] == [30, 5]
        assert [row.model for row in await logs.sum_usage(conn, user=9)] == ["b"]
        assert [row.model for row in await logs.sum_usage(conn, token=1)] == ["a"]
        assert [row.user_id for row in await logs.sum_usage(conn, model="b")] == [9]
        assert len(await logs.sum_usage(conn, limit=1)) == 1
