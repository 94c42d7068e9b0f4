"""Two control processes on the same books: one stands still, another takes over, the first wakes up.

Its locks held, a control process is passed by only after as long as a drain may last (app/control.py).  What keeps
the books whole from then on is the epoch alone: who was passed by must write nothing more, and go.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from tests.product import ROOT
from tests.slow.house import House, PassedBy

TAKE_OVER_S: Final = 60.0
"""A start of Python on a busy machine, a drain that is waited for, a PostgreSQL that must end a transaction."""


async def stop_between_transactions(house: House, pid: int) -> None:
    """SIGSTOP; on SQLite at a moment when it does not hold the write lock, which only its end would free.

    PostgreSQL takes the locks of who stands still in a transaction.
    """
    while True:
        os.kill(pid, signal.SIGSTOP)
        if not house.url.startswith("sqlite"):
            return
        path = house.url.removeprefix("sqlite:")
        with contextlib.closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as probe:
            try:
                probe.executescript("BEGIN IMMEDIATE; ROLLBACK")
            except sqlite3.OperationalError:
                os.kill(pid, signal.SIGCONT)
            else:
                return
        await asyncio.sleep(0.03)


def second_control(house: House, pid: int, run_dir: str) -> subprocess.Popen[bytes]:
    """Another control process like `pid`, on the same data and database, as the next supervisor would start it."""
    pairs = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    environment = dict(pair.decode().split("=", 1) for pair in pairs if b"=" in pair)
    boot = json.loads(environment["BURNCLOUD_BOOT"])
    boot |= {"run_dir": run_dir, "alive_fd": -1, "ready_fd": -1, "listen_fds": [], "load_fd": -1}
    environment["BURNCLOUD_BOOT"] = json.dumps(boot)
    with (house.folder / "second.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "burncloud.app.control"], cwd=ROOT, env=environment, stdout=log, stderr=log
        )


async def epoch(house: House) -> int:
    """Which control process may write now."""
    found = await house.ledger.fetch("SELECT value FROM meta WHERE key LIKE 'epoch:%'")
    return int(found[0][0][0])


async def taken_over(house: House, pid: int, before: int) -> PassedBy:
    """Wait until the epoch is another than `before`.  AssertionError if that never comes."""
    deadline = time.monotonic() + TAKE_OVER_S
    while (now := await epoch(house)) == before:
        assert time.monotonic() < deadline, (house.folder / "second.log").read_text()[-2000:]
        await asyncio.sleep(0.05)
    newest = await house.ledger.fetch("SELECT coalesce(max(id), 0) FROM journals")
    return PassedBy(pid, now, newest[0][0][0])


async def judge_passed_by(house: House, passed: PassedBy) -> list[str]:
    """What a control process that was passed by did all the same."""
    late = await house.ledger.fetch(
        f"SELECT count(*) FROM journals WHERE id > {passed.journal} AND epoch < {passed.epoch}"
    )
    faults = [f"{late[0][0][0]} journals were opened by a control process that was passed by"] * bool(late[0][0][0])
    if passed.pid in house.pids("control"):
        faults.append("a control process that was passed by goes on")
    return faults
