"""Disks that are full, fail a sync, or take half of a write (schedule 7 of docs/money.md)."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.slow.conftest import LONG, MakeHouse, both_engines, long_only
from tests.slow.house import SEGMENT_BYTES, House
from tests.slow.kill_loop import KillLoop
from tests.slow.kills import Way
from tests.slow.load import Sent
from tests.slow.test_schedules_quota import at_once, outcomes

MIB = 1 << 20
SEGMENTS = 4


@pytest.fixture
def make_disk() -> Iterator[Callable[[int], Path]]:
    """`make_disk(bytes)`: a file system of that size; skipped where this user may not mount one."""
    disks: list[Path] = []
    with tempfile.TemporaryDirectory(prefix="disk-") as folder:

        def make(size: int) -> Path:
            disk = Path(folder) / str(len(disks))
            disk.mkdir()
            command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(disk)]
            if sys.platform != "linux" or subprocess.run(command, capture_output=True).returncode:
                pytest.skip("a small file system cannot be mounted here (it takes Linux and root)")
            disks.append(disk)
            return disk

        try:
            yield make
        finally:
            for disk in disks:
                subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(disk: Path) -> Path:
    """Leave no byte free; the file that does so."""
    path = disk / "fill"
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)) == 4096:
            pass
    return path


def full_for(disk: Path, seconds: float) -> Way:
    """The disk is full for a while, and somebody dies meanwhile."""

    async def way(house: House, rng: random.Random) -> None:
        await asyncio.sleep(1)
        filler = fill(disk)
        await asyncio.sleep(seconds)
        house.kill_roles(rng.choice(["control", "worker"]))
        await asyncio.sleep(1)
        filler.unlink()
        await asyncio.sleep(1.5)

    return way


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    "full", [pytest.param("journal", marks=long_only), pytest.param("database", marks=long_only), "both"]
)
async def test_a_full_disk(make_house: MakeHouse, make_disk: Callable[[int], Path], tmp_path: Path, full: str) -> None:
    disk = make_disk(6 * MIB)
    data_dir = disk / "data" if full != "database" else None
    url = f"sqlite:{disk / 'ledger.db'}" if full != "journal" else ""
    async with KillLoop(make_house(url=url, data_dir=data_dir), 1) as loop:
        for _ in range(1 + LONG):
            await loop.round(f"{full} full", full_for(disk, 3))
        await loop.stop()
        assert loop.tally.violations == []
        assert loop.tally.outcomes["complete"]


@both_engines
@pytest.mark.parametrize("fault", ["eio", "short"])
async def test_a_disk_that_fails(make_house: MakeHouse, engine: str, fault: str) -> None:
    """A sync fails, a write is short: the worker goes on in another file.  Then power is lost."""
    taken = 0

    async def way(house: House, rng: random.Random) -> None:
        nonlocal taken
        for _ in range(3):
            await asyncio.sleep(0.5)
            (house.kill_dir / fault).touch()
        await asyncio.sleep(1.5)
        taken += (house.kill_dir / f"{fault}.taken").exists()

    async with KillLoop(make_house(engine), 1) as loop:
        await loop.round(fault, way, alarms=("sync",))
        await loop.round("power")
        await loop.stop()
        assert loop.tally.violations == []
        assert taken
        assert not (loop.house.kill_dir / fault).exists()


async def test_a_journal_at_its_limit(make_house: MakeHouse) -> None:
    """Nobody books: the journal grows to its bound, then 503, never 402; and all is well when control is back."""

    async def way(house: House, rng: random.Random) -> None:
        stopped = [process for process in house.processes() if process.role == "control"]
        house.kill(stopped, signal.SIGSTOP)
        sent: list[Sent] = []
        for _ in range(100):
            sent = await at_once(loop.load, ["free"], 20)
            if outcomes(sent)["503"]:
                break
        segments = len(list(house.data_dir.glob("journal/*/*.seg")))
        house.kill(stopped, signal.SIGCONT)
        assert outcomes(sent)["503"], outcomes(sent)
        assert SEGMENTS <= segments <= SEGMENTS + 3  # the one too many, one for those in flight then, and a spare

    async with KillLoop(make_house(JOURNAL_BYTES_MAX=str(SEGMENTS * SEGMENT_BYTES)), 1) as loop:
        await loop.round("journal limit", way)
        await loop.stop()
        assert loop.tally.violations == []
