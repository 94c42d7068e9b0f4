"""Processes that stand still, come twice, or outlive their supervisor (schedules 3 and 4 of docs/money.md)."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import tempfile
from pathlib import Path

import pytest

from tests.slow.conftest import MakeHouse, both_engines
from tests.slow.house import House
from tests.slow.kill_loop import KillLoop
from tests.slow.successor import epoch, judge_passed_by, second_control, stop_between_transactions, taken_over


async def test_a_worker_that_stood_still_is_not_replayed(make_house: MakeHouse) -> None:
    """Five seconds, in which control dies, too: its successor must not take the journal for a dead one's."""

    async def stand_still(house: House, rng: random.Random) -> None:
        await asyncio.sleep(0.5)
        workers = [process for process in house.processes() if process.role.startswith("worker")]
        house.kill(workers, signal.SIGSTOP)
        await asyncio.sleep(0.5)
        house.kill_roles("control")
        await asyncio.sleep(4.5)
        opened = await house.ledger.open_journals()
        house.kill(workers, signal.SIGCONT)
        assert opened == len(workers)
        await asyncio.sleep(1)
        assert {process.pid for process in workers} <= set(house.pids("worker"))

    async with KillLoop(make_house(workers=2), 1) as loop:
        await loop.round("stand still", stand_still)
        await loop.stop()
        assert loop.tally.violations == []
        assert not loop.tally.states["interrupted"]


def database_lock(house: House) -> list[str]:
    """The name of the lock beside the database: a SQLite file is one server's, PostgreSQL is there for several."""
    return ["ledger.db.lock"] if house.url.startswith("sqlite") else []


def locks_of(pid: int) -> list[tuple[Path, int]]:
    """(path, flags) of the lock files that a process has open."""
    found = []
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        path = Path(os.readlink(fd))
        if path.name.endswith("lock"):
            lines = (fd.parent.parent / "fdinfo" / fd.name).read_text().splitlines()
            flags = next(line.split()[1] for line in lines if line.startswith("flags"))
            found.append((path, int(flags, 8)))
    return found


@pytest.mark.timeout(240)
@both_engines
async def test_the_epoch_refuses_an_old_control_process(make_house: MakeHouse, engine: str) -> None:
    """Control stands still, another passes it by and takes over its books; woken, it must write nothing and go.

    It holds its locks all the while: the other one waits as long as a drain may last, then goes on without them.
    """

    async def take_over(house: House, rng: random.Random) -> None:
        await asyncio.sleep(0.5)
        (first,) = house.pids("control")
        before = await epoch(house)
        await stop_between_transactions(house, first)
        with tempfile.TemporaryDirectory() as run_dir:
            second = second_control(house, first, run_dir)
            try:
                passed = await taken_over(house, first, before)
                assert {"control.lock", *database_lock(house)} <= {path.name for path, _ in locks_of(first)}
                os.kill(first, signal.SIGCONT)
                assert await house.wait_gone(first, 30)
                await asyncio.sleep(0.5)
            finally:
                second.kill()
                second.wait()
        assert await judge_passed_by(house, passed) == []

    async with KillLoop(make_house(engine, LOG_LEVEL="info"), 1) as loop:
        await loop.round("take over", take_over)
        await loop.stop()
        assert loop.tally.violations == []
        assert "another control process has taken over" in loop.house.product.log()


async def test_locks_are_not_inherited(make_house: MakeHouse) -> None:
    """A child of a worker or of control that lives on must not keep a lock held."""
    async with KillLoop(make_house(), 1) as loop:
        house = loop.house
        locks = {process.role: locks_of(process.pid) for process in house.processes()}
        names = {role: {path.name for path, _ in held} for role, held in locks.items()}
        assert names["supervisor"] >= {"supervisor.lock"}
        assert names["control"] == {"control.lock", *database_lock(house)}
        assert names["worker-0"] == {"lock"}, "its journal's"
        assert all(flags & os.O_CLOEXEC for held in locks.values() for _, flags in held), locks


async def test_a_second_supervisor_while_orphans_drain(make_house: MakeHouse) -> None:
    """Two supervisors die one after the other under load; a third takes what they left."""

    async def again(house: House, rng: random.Random) -> None:
        for _ in range(2):
            await asyncio.sleep(0.7)
            house.kill_roles("supervisor")
            await house.start(wait=False)
        await asyncio.sleep(1)

    async with KillLoop(make_house(workers=2), 1) as loop:
        await loop.round("second supervisor", again)
        await loop.stop()
        assert loop.tally.violations == []
