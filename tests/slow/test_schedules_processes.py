"""Processes that stand still, come twice, or outlive their supervisor (schedules 3 and 4 of docs/money.md)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.product import ROOT
from tests.slow.conftest import MakeHouse, both_engines
from tests.slow.house import House
from tests.slow.kill_loop import KillLoop


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


async def until(there: Callable[[], bool]) -> None:
    """Wait until it is so."""
    for _ in range(1_200):
        if there():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it does not come")


async def stop_between_transactions(house: House, pid: int) -> None:
    """SIGSTOP a process at a moment when it does not hold SQLite's write lock, which only its end would free."""
    while True:
        os.kill(pid, signal.SIGSTOP)
        with contextlib.closing(sqlite3.connect(house.folder / "ledger.db", timeout=0, isolation_level=None)) as probe:
            try:
                probe.executescript("BEGIN IMMEDIATE; ROLLBACK")
            except sqlite3.OperationalError:
                os.kill(pid, signal.SIGCONT)
            else:
                return
        await asyncio.sleep(0.03)


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


def second_control(house: House, run_dir: str) -> subprocess.Popen[bytes]:
    """Another control process on the same data and database, as the next supervisor would start it."""
    (pid,) = house.pids("control")
    pairs = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    environment = dict(pair.decode().split("=", 1) for pair in pairs if b"=" in pair)
    boot = json.loads(environment["BURNCLOUD_BOOT"])
    boot |= {"run_dir": run_dir, "alive_fd": -1, "ready_fd": -1, "listen_fds": [], "load_fd": -1}
    environment["BURNCLOUD_BOOT"] = json.dumps(boot)
    with (house.folder / "second.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "burncloud.app.control"], cwd=ROOT, env=environment, stdout=log, stderr=log
        )


@pytest.mark.timeout(240)
@both_engines
async def test_the_epoch_refuses_an_old_control_process(make_house: MakeHouse, engine: str) -> None:
    """Control stands still, another passes it by and takes over its books; woken, it must write nothing and go.

    It holds its locks all the while: the other one waits as long as a drain may last, then goes on without them.
    """

    async def take_over(house: House, rng: random.Random) -> None:
        await asyncio.sleep(0.5)
        (first,) = house.pids("control")
        if house.url.startswith("sqlite"):
            await stop_between_transactions(house, first)
        else:  # PostgreSQL takes the locks of who stands still in a transaction
            os.kill(first, signal.SIGSTOP)
        with tempfile.TemporaryDirectory() as run_dir:
            second = second_control(house, run_dir)
            try:
                await until(lambda: '"control serves"' in (house.folder / "second.log").read_text())
                assert {"control.lock", *database_lock(house)} <= {path.name for path, _ in locks_of(first)}
                os.kill(first, signal.SIGCONT)
                await until(lambda: first not in house.pids("control"))
                await asyncio.sleep(0.5)
            finally:
                second.kill()
                second.wait()

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
