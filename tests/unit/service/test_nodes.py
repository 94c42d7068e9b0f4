"""The parts that live nodes have of a limit."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial

import pytest

from burncloud.database import journals
from burncloud.database.engine import Database
from burncloud.database.events import EventRow
from burncloud.domain.snapshot import Limit
from burncloud.service import events, limits, nodes
from burncloud.service.snapshots import divided
from tests.unit.service.test_snapshots import Following


@pytest.mark.parametrize("whole", [-1, 0, 1, 2, 7, 60, 10_001])
@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_the_parts_make_up_the_whole(whole: int, count: int) -> None:
    parts = [divided(Limit("token:1", whole, whole, whole), place, count) for place in range(count)]
    for name in ("requests", "tokens", "concurrency"):
        values = [getattr(part, name) for part in parts]
        assert (set(values) == {-1}) if whole < 0 else (sum(values) == whole and max(values) - min(values) <= 1)


async def test_who_is_live(db: Database) -> None:
    assert await nodes.part_of(db, "b") == (0, 1)
    for node in ("c", "a", "a"):
        guard = await db.ledger(partial(journals.bump_epoch, node=node))
        await db.ledger(partial(journals.ensure_journal, guard=guard, uuid=f"{node}{guard.epoch}", now_s=1))
    assert await nodes.part_of(db, "b") == (1, 3)


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
