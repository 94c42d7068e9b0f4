"""The parts that live nodes have of a limit."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from burncloud import clock
from burncloud.database import journals
from burncloud.database import probes as rows
from burncloud.database.engine import Database, open_database
from burncloud.database.events import EventRow
from burncloud.database.migrate import ensure_schema
from burncloud.domain.link import Ask, Grant
from burncloud.domain.snapshot import Limit
from burncloud.service import events, limits, nodes, probes
from burncloud.service.journals import JournalRefused
from burncloud.service.snapshots import divided
from tests.books import NODE, Account, Writer, add_accounts, balance, intent, make_books, until
from tests.unit.service.test_snapshots import Following


@pytest.mark.parametrize("whole", [-1, 0, 1, 2, 7, 60, 10_001])
@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_the_parts_make_up_the_whole(whole: int, count: int) -> None:
    parts = [divided(Limit("token:1", whole, whole, whole), place, count) for place in range(count)]
    for name in ("requests", "tokens", "concurrency"):
        values = [getattr(part, name) for part in parts]
        assert (set(values) == {-1}) if whole < 0 else (sum(values) == whole and max(values) - min(values) <= 1)


async def opened(db: Database, *names: str) -> None:
    """These nodes have an open journal."""
    for node in names:
        guard = await db.ledger(partial(journals.bump_epoch, node=node))
        await db.ledger(partial(journals.ensure_journal, guard=guard, uuid=f"{node}{guard.epoch}", now_s=1))


async def test_who_is_live(db: Database) -> None:
    watch = nodes.Nodes(db, "b")
    assert await watch.live() == ["b"]
    await opened(db, "c", "a", "a")
    assert await watch.live() == ["a", "b", "c"]


async def test_a_node_that_crashed_for_good_is_gone_some_day(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    now_ms, watch = 1_000_000, nodes.Nodes(db, "b")
    monkeypatch.setattr(clock, "monotonic_ms", lambda: now_ms)
    await opened(db, "a", "b", "c")
    seen = []
    for second in range(0, 200, 5):
        now_ms += 5_000
        if second != 60:
            await db.run(partial(journals.beat, node="a", now_s=second))
        seen.append(await watch.live())
    gone = nodes.GONE_MS // 5_000
    assert seen == [["a", "b", "c"]] * gone + [["a", "b"]] * (40 - gone)
    await db.run(partial(journals.beat, node="c", now_s=1))
    assert await watch.live() == ["a", "b", "c"]
    now_ms += nodes.GONE_MS  # the database was away, or we stood still
    assert await watch.live() == ["a", "b", "c"]
    assert await nodes.Nodes(db, "a").live() == ["a", "b", "c"]


async def test_a_node_that_is_gone_lapses_and_may_come_back(db: Database, tmp_path: Path) -> None:
    """What it had on lease is others' at once; what it wrote is booked late, once, to the last receipt."""
    await add_accounts(db, 1_000, 1_000)
    books = await make_books(db, tmp_path)
    failed: list[BaseException] = []
    books.on_fatal = failed.append
    writer = Writer(tmp_path, books.ledger)
    await books.open_journal(writer.uuid)
    assert await books.ask(writer.uuid, Ask(1, 1, 50, 1_000, 1, 50, 1_000)) == Grant(1, "ok", 250, 250)
    writer.exchange(30, hold=50)
    await until(lambda: books._desks[writer.uuid].keeper.acked == 2)
    assert await balance(db, "user") == await balance(db, "token") == Account(30, 220)
    gave = await db.ledger(partial(nodes.lapse, node=NODE, now_s=9))
    assert sorted(gave) == [("token", 1), ("user", 1)]
    assert await db.ledger(partial(nodes.lapse, node=NODE, now_s=9)) == []
    assert await balance(db, "user") == await balance(db, "token") == Account(30, 0)
    writer.exchange(40, hold=50)  # it lives after all
    writer.put(intent(hold=50, lost=2))
    await until(lambda: len(failed) == 1)
    assert isinstance(failed[0], journals.StaleEpoch)
    await books.stop(0)
    again = await make_books(db, tmp_path)
    with pytest.raises(JournalRefused):
        await again.open_journal(writer.uuid)
    writer.kill()
    again.journal_lost(writer.uuid)
    await until(lambda: not writer.folder.exists())
    assert await balance(db, "user") == await balance(db, "token") == Account(72, 0)
    await again.stop()
    report = await again.verify()
    assert (report.ok, report.receipts) == (True, 3)


async def test_who_is_silent_lapses(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """But not who never had a heartbeat: it may be of an older version."""
    monkeypatch.setattr(nodes, "LOOK_S", 0.01)
    monkeypatch.setattr(nodes, "GONE_MS", 300)
    db = open_database(postgres_url)
    await ensure_schema(db)
    await opened(db, "a", "b", "c", "old")

    async def still_open() -> list[str]:
        async with db.read() as conn:
            return sorted(row.node for row in await journals.open_journals(conn))

    for node in ("b", "c"):
        await db.run(partial(journals.beat, node=node, now_s=1))
    async with Following(db) as following, following_nodes(db, following):
        async with asyncio.timeout(20):
            beat = 1
            while "b" in await still_open():
                await db.run(partial(journals.beat, node="c", now_s=(beat := beat + 1)))
                await asyncio.sleep(0.02)
        assert await still_open() == ["a", "c", "old"]
    await db.close()


async def test_what_a_dead_node_tested_is_over(db: Database) -> None:
    async with db.begin() as conn:
        ids = await rows.ask_probes(conn, [rows.ProbeRow(0, at, 1, 1, "m", "chat") for at in (1, 2, 3)])
        await rows.take_probes(conn, "dead", 0)
        await rows.ask_again(conn, "dead", 2, {})
        await rows.take_probes(conn, "a", 3)
        await rows.take_probes(conn, "dead", 2)
    async with Following(db) as following, following_nodes(db, following):
        async with asyncio.timeout(5):
            while (found := await probes.look(db, ids))[1].state != rows.DONE:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    assert [row.state for row in found] == [rows.DONE, rows.DONE, rows.RUNNING]
    assert found[1].result == {"ok": False, "error": probes.INTERRUPTED}


async def test_a_division_that_failed_is_made_up_for(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "LOOK_S", 0.01)
    db = open_database(postgres_url)
    await ensure_schema(db)
    await limits.update_limits(db, "model", "m", {"requests": 5})
    await opened(db, "b")
    async with Following(db) as following:
        divide, tries = following.snapshots.divide, []

        async def fail_once(*part: int) -> None:
            tries.append(part)
            if len(tries) == 1:
                raise OSError
            await divide(*part)

        monkeypatch.setattr(following.snapshots, "divide", fail_once)
        async with following_nodes(db, following):
            await following.sees(lambda: following.world.of("limit")["model:m"].requests == 3)
    await db.close()


@contextlib.asynccontextmanager
async def following_nodes(db: Database, following: Following) -> AsyncIterator[None]:
    task = asyncio.create_task(nodes.follow(db, "a", following.snapshots))
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_limits_are_divided_as_nodes_come(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "LOOK_S", 0.01)
    await limits.update_limits(db, "model", "m", {"requests": 5})
    async with Following(db) as following:
        world = following.world
        task = asyncio.create_task(nodes.follow(db, "a", following.snapshots))
        assert world.of("limit")["model:m"].requests == 5
        guard = await db.ledger(partial(journals.bump_epoch, node="b"))
        await db.ledger(partial(journals.ensure_journal, guard=guard, uuid="b", now_s=1))
        if db.path is None:
            await following.sees(lambda: world.of("limit")["model:m"].requests == 3)
            await limits.update_limits(db, "model", "m", {"requests": 8})
            await following.sees(lambda: world.of("limit")["model:m"].requests == 4)
            assert following.late_world().of("limit")["model:m"].requests == 4
        else:
            await asyncio.sleep(0.05)
            assert world.of("limit")["model:m"].requests == 5
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_what_is_known_since_before_a_reload_is_not_noted_again(db: Database) -> None:
    await db.run(partial(events.record, kind=events.REDIS_AWAY, node="a"))
    await db.run(partial(events.record, kind=events.REDIS_THERE, node="b"))
    told, said = asyncio.Event(), {"redis_away"}
    task = asyncio.create_task(nodes.watch_redis(db, "a", told, said.__contains__))
    told.set()
    await asyncio.sleep(0.2)
    said.clear()
    told.set()
    async with asyncio.timeout(5):
        while len(found := await events.list_events(db)) < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert [event.kind for event in found] == ["redis_there", "redis_there", "redis_away"]
    task.cancel()


async def test_it_is_noted_when_redis_goes_is_slow_and_comes(db: Database) -> None:
    told, said = asyncio.Event(), set[str]()
    task = asyncio.create_task(nodes.watch_redis(db, "a", told, said.__contains__))
    expected: list[str] = []
    found: list[EventRow] = []
    try:
        for now, kind in (
            (set(), ""), ({"redis_away"}, "redis_away"), ({"redis_away", "redis_slow"}, ""),
            ({"redis_slow"}, "redis_slow"), (set(), "redis_there"), ({"redis_away"}, "redis_away"),
        ):  # fmt: skip
            said.clear()
            said |= now
            told.set()
            expected += [kind] if kind else []
            for _ in range(1_000):
                await asyncio.sleep(0.005)
                found = await events.list_events(db)
                if not told.is_set() and len(found) >= len(expected):
                    break
            assert [(event.kind, event.node) for event in reversed(found)] == [(kind, "a") for kind in expected]
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
