"""Triggers fill `changes`, and who follows hears of it soon, in order, once."""

from __future__ import annotations

import asyncio
import time

import pytest
from sqlalchemy import text

from burncloud.database.changes import Change, follow, newest_change, prune_changes, read_changes
from burncloud.database.engine import Database, open_database

USER = "INSERT INTO users (name) VALUES ('u')"
CHANNEL = "INSERT INTO channels (ref, vendor) VALUES ('ch_1', 'openai')"


async def _do(db: Database, *statements: str) -> list[tuple[str, str]]:
    """Run them in one transaction; the changes that came of the last one."""
    async with db.begin() as connection:
        for statement in statements[:-1]:
            await connection.execute(text(statement))
        before = await newest_change(connection)
        await connection.execute(text(statements[-1]))
        return [(change.kind, change.id) for change in await read_changes(connection, before)]


@pytest.mark.parametrize(
    ("statements", "changes"),
    [
        ([USER], [("user", "1")]),
        ([USER, "UPDATE users SET enabled = false"], [("user", "1")]),
        ([USER, "UPDATE users SET quota_limit = 5"], [("quota_user", "1"), ("user", "1")]),
        ([USER, "UPDATE users SET quota_limit = 0"], [("user", "1")]),  # it was 0
        ([USER, "DELETE FROM users"], [("user", "1")]),
        ([USER, "INSERT INTO tokens (hash, user_id) VALUES ('a', 1)"], [("token", "1")]),
        (
            [USER, "INSERT INTO tokens (hash, user_id) VALUES ('a', 1)", "UPDATE tokens SET quota_limit = 7"],
            [("quota_token", "1"), ("token", "1")],
        ),
        ([CHANNEL], [("channel", "1")]),
        ([CHANNEL, "INSERT INTO channel_keys (channel_id, secret) VALUES (1, 'k')"], [("channel", "1")]),
        (["INSERT INTO prices (model) VALUES ('gpt-4')"], [("price", "gpt-4")]),
        (["INSERT INTO groups (name) VALUES ('vip')"], [("group", "vip")]),
        (
            ["INSERT INTO groups (name) VALUES ('vip')", "UPDATE groups SET name = 'VIP'"],
            [("group", "VIP"), ("group", "vip")],
        ),
        (["INSERT INTO settings (name, value) VALUES ('a', 'b')"], [("setting", "a")]),
        (["INSERT INTO balances (kind, id, used) VALUES ('user', 1, 5)"], []),
        (["INSERT INTO journals (uuid, node) VALUES ('j', 'n')"], []),
    ],
)
async def test_what_triggers_write(db: Database, statements: list[str], changes: list[tuple[str, str]]) -> None:
    cast = [s.replace("'a', 1)", "'\\x61', 1)").replace("'k')", "'\\x6b')") for s in statements]
    found = await _do(db, *(cast if db.dialect == "postgresql" else statements))
    assert sorted(found) == changes


async def _collect(db: Database, after: int, into: list[Change]) -> None:
    async for changes in follow(db, after):
        into += changes


async def _set(db: Database, name: str) -> None:
    async with db.begin() as connection:
        await connection.execute(text("INSERT INTO settings (name, value) VALUES (:n, '')"), {"n": name})


@pytest.mark.parametrize("own", [True, False], ids=["own_writer", "other_process"])
async def test_a_change_is_heard_within_100_ms(db: Database, database_url: str, own: bool) -> None:
    writer = db if own else open_database(database_url)
    await _set(writer, "before")
    heard: list[Change] = []
    task = asyncio.create_task(_collect(db, 0, heard))
    await asyncio.sleep(0.15)
    delays = []
    for n in range(5):
        await _set(writer, str(n))
        start = time.monotonic()
        while heard[-1].id != str(n):  # noqa: ASYNC110 - the time until it is there is what is measured
            await asyncio.sleep(0.001)
        delays.append(time.monotonic() - start)
    assert sorted(delays)[2] < 0.1
    assert [change.id for change in heard] == ["before", "0", "1", "2", "3", "4"]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    if not own:
        await writer.close()


async def test_numbers_become_visible_in_their_order(db: Database) -> None:
    """A transaction that drew a number and is slow to commit must not be passed by."""
    heard: list[Change] = []
    task = asyncio.create_task(_collect(db, 0, heard))

    async def write(n: int) -> None:
        async with db.begin() as connection:
            await connection.execute(text("INSERT INTO settings (name, value) VALUES (:n, '')"), {"n": str(n)})
            await asyncio.sleep(0.02 if n % 2 else 0)

    await asyncio.gather(*(write(n) for n in range(12)))
    async with asyncio.timeout(5):
        while len(heard) < 12:  # noqa: ASYNC110 - a list has no event
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert [change.seq for change in heard] == sorted(change.seq for change in heard)
    assert {change.id for change in heard} == {str(n) for n in range(12)}


async def test_a_lost_connection_is_made_anew(postgres_url: str) -> None:
    from burncloud.database.migrate import ensure_schema

    db = open_database(postgres_url)
    await ensure_schema(db)
    heard: list[Change] = []
    task = asyncio.create_task(_collect(db, 0, heard))
    await asyncio.sleep(0.2)
    async with db.begin() as connection:
        await connection.execute(
            text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                 "WHERE pid <> pg_backend_pid() AND datname = current_database()")
        )  # fmt: skip
    await _set(db, "a")
    async with asyncio.timeout(5):
        while not heard:  # noqa: ASYNC110 - a list has no event
            await asyncio.sleep(0.01)
    assert [change.id for change in heard] == ["a"]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await db.close()


async def test_old_changes_are_forgotten(db: Database) -> None:
    for n in range(5):
        await _set(db, str(n))
    await db.run(lambda connection: prune_changes(connection, keep=2))
    async with db.read() as connection:
        assert [change.id for change in await read_changes(connection, 0)] == ["3", "4"]
        assert await newest_change(connection) == 5
