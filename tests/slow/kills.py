"""How a round kills: one row a way, each while the load runs.

A way by crash point lays the point ready for the next process of the role and kills the present one, so that a
round has at least two deaths: one at a random time, one at the point.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import tempfile
from collections.abc import Awaitable, Callable
from typing import Final

from burncloud.crash import POINTS
from tests.books import until
from tests.slow import successor
from tests.slow.house import House, Process

FALL_S: Final = 8.0
"""As long a process may take to come up and to pass its point so often."""
COUNTS: Final = {
    "worker.before_intent": 60,
    "worker.after_intent": 60,
    "worker.after_send": 60,
    "worker.first_byte": 50,
    "worker.mid_stream": 120,
    "worker.before_end": 50,
    "worker.after_end": 50,
    "worker.before_last_write": 50,
    "worker.rollover": 3,
    "control.before_commit": 5,
    "control.after_commit": 5,
    "control.before_ack": 5,
    "control.grant_committed": 4,
    "control.in_close": 1,
    "control.after_close": 1,
    "control.replay": 1,
    "worker.before_again": 25,
    "worker.after_again": 25,
    "worker.stream_broken": 10,
    "worker.race_won": 10,
}
"""Crash point → up to which passing it may strike."""
BETWEEN: Final = tuple(point for point in POINTS[16:])
"""Between the attempts of one request (MONEY.md §8, schedule 11)."""
IN_REPLAY: Final = ("control.in_close", "control.after_close", "control.replay")
"""Points that only a control process with a dead journal passes."""

RELOAD_S: Final = 4.0
"""About as long a reload takes under load."""
VICTIMS: Final[dict[str, Callable[[Process, set[int]], bool]]] = {
    "supervisor": lambda process, old: process.role == "supervisor",
    "control": lambda process, old: process.role == "control",
    "old worker": lambda process, old: process.pid in old,
    "new worker": lambda process, old: process.role.startswith("worker") and process.pid not in old,
    "all": lambda process, old: True,
}
"""Who dies in a reload → whether it is this process, if these were the workers before."""

Way = Callable[[House, random.Random], Awaitable[None]]


async def pause(rng: random.Random, low: float, high: float) -> None:
    """Let the load run."""
    await asyncio.sleep(rng.uniform(low, high))


def some_worker(house: House, rng: random.Random) -> str:
    """The place of one that lives (after a reload they are others than 0 and 1)."""
    return rng.choice(sorted({p.role for p in house.processes() if p.role.startswith("worker")}) or ["worker-0"])


def at_point(point: str) -> Way:
    """Die at a named point."""
    n_max = COUNTS[point]

    async def way(house: House, rng: random.Random) -> None:
        role = "control" if point.startswith("control") else some_worker(house, rng)
        house.arm(role, point, rng.randint(1, n_max))
        await pause(rng, 0.1, 0.8)
        if point in IN_REPLAY:
            house.kill_roles("control", "worker")
        else:
            house.kill_roles(role)
        await house.wait_fall(role, FALL_S)

    return way


async def twice_in_a_row(house: House, rng: random.Random) -> None:
    """Control dies at a point, and its successor at another."""
    points = [point for point in POINTS if point.startswith("control")]
    for point in rng.sample(points, 2):
        house.arm("control", point, 1)
    await pause(rng, 0.1, 0.5)
    house.kill_roles("control", "worker")
    await house.wait_fall("control", 2 * FALL_S)


async def both_at_points(house: House, rng: random.Random) -> None:
    """A worker and control, each at a point of its own."""
    worker = some_worker(house, rng)
    for role, points in ((worker, POINTS[:8]), ("control", POINTS[9:13])):
        point = rng.choice(points)
        house.arm(role, point, rng.randint(1, COUNTS[point]))
    await pause(rng, 0.1, 0.5)
    house.kill_roles(worker, "control")
    await house.wait_fall(worker, FALL_S)
    await house.wait_fall("control", FALL_S)


def at_random(*roles: str, times: int = 1) -> Way:
    """SIGKILL at a random time."""

    async def way(house: House, rng: random.Random) -> None:
        for _ in range(times):
            await pause(rng, 0.2, 1.5)
            house.kill_roles(*roles)
            if "supervisor" in roles:
                await house.start(wait=False)
        await pause(rng, 0.2, 1.0)

    return way


async def one_of_the_workers(house: House, rng: random.Random) -> None:
    """A worker dies three times."""
    for _ in range(3):
        await pause(rng, 0.1, 1.0)
        house.kill_roles(some_worker(house, rng))


async def an_old_worker(house: House, rng: random.Random) -> None:
    """A worker dies that has filled and given up many segments, with streams open that are older than those."""
    await pause(rng, 4.0, 6.0)
    house.kill_roles(some_worker(house, rng))


async def everything(house: House, rng: random.Random) -> None:
    """All at once, then a start."""
    await pause(rng, 0.2, 1.5)
    house.kill_everything()
    await house.start(wait=False)
    await pause(rng, 0.5, 1.5)


async def during_start(house: House, rng: random.Random) -> None:
    """All at once, and again somewhere in the start and its replay."""
    await pause(rng, 0.2, 1.0)
    house.kill_everything()
    await house.start(wait=False)
    await pause(rng, 0.1, 2.5)
    house.kill_everything()
    await house.start(wait=False)
    await pause(rng, 0.2, 1.0)


async def drained(house: House, rng: random.Random) -> None:
    """A stop under load, in which somebody is killed, too; then a start."""
    await pause(rng, 0.2, 1.0)
    house.kill_roles("supervisor", number=signal.SIGTERM)
    await pause(rng, 0.0, 1.0)
    house.kill_roles(rng.choice(["control", "worker", "worker-0", "supervisor", "nobody"]))
    await asyncio.to_thread(house.product.stop)
    await house.start(wait=False)
    await pause(rng, 0.2, 1.0)


def in_reload(victim: str) -> Way:
    """SIGKILL at a random time of a reload.  Whoever is left reloads once more; a dead supervisor's house drains."""
    is_hit = VICTIMS[victim]

    async def way(house: House, rng: random.Random) -> None:
        await pause(rng, 0.2, 0.8)
        old = set(house.pids("worker"))
        house.kill_roles("supervisor", number=signal.SIGUSR2)
        if victim == "new worker":
            await until(lambda: not set(house.pids("worker")) <= old)
        await pause(rng, 0.0, RELOAD_S if victim != "new worker" else 1.0)
        if house.kill([p for p in house.processes() if is_hit(p, old)])["supervisor"]:
            if rng.random() < 0.5:
                await house.drained()
            await house.start(wait=False)
            await pause(rng, 0.5, 1.5)
        else:
            await house.wait_ready()
            await asyncio.to_thread(house.product.cli, "reload")

    return way


def frozen(role: str) -> Way:
    """SIGSTOP for a while, then SIGCONT: nothing of it may be replayed or booked twice."""

    async def way(house: House, rng: random.Random) -> None:
        await pause(rng, 0.2, 1.0)
        targets = [process for process in house.processes() if process.role.startswith(role)]
        house.kill(targets, signal.SIGSTOP)
        await pause(rng, 0.5, 2.0)
        if rng.random() < 0.5:
            house.kill_roles("control" if role == "worker" else "worker")
            await pause(rng, 0.5, 2.0)
        house.kill(targets, signal.SIGCONT)
        await pause(rng, 0.1, 0.5)

    return way


async def passed_by(house: House, rng: random.Random) -> None:
    """Control stands still while another takes over its books, as if no lock were held; then it wakes up.

    A worker dies then, too, so that a journal is opened at once with whoever believes that the books are his.
    """
    await pause(rng, 0.2, 0.8)
    first = house.pids("control")
    if not first:
        return  # it has just died otherwise
    before = await successor.epoch(house)
    await successor.stop_between_transactions(house, first[0])
    for lock in (house.data_dir / "control.lock", house.folder / "ledger.db.lock"):
        lock.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as run_dir:
        second = successor.second_control(house, first[0], run_dir)
        try:
            house.passed_by = await successor.taken_over(house, first[0], before)
            os.kill(first[0], signal.SIGCONT)
            house.kill_roles(some_worker(house, rng))
            await house.wait_gone(first[0], FALL_S)
        finally:
            second.kill()
            second.wait()


async def power(house: House, rng: random.Random) -> None:
    """All at once, and what was never synced is gone (the loop takes it away and knows what may be missing)."""
    await pause(rng, 2.2, 3.0)
    house.kill_everything()


RELOADS: Final = {f"{victim} in reload": in_reload(victim) for victim in VICTIMS}
WAYS: Final[dict[str, Way]] = {
    **{point: at_point(point) for point in POINTS},
    "control twice": twice_in_a_row,
    "worker + control": both_at_points,
    "random worker": one_of_the_workers,
    "old worker": an_old_worker,
    "random control": at_random("control", times=2),
    "random both": at_random("control", "worker"),
    "supervisor": at_random("supervisor"),
    "supervisor + control": at_random("supervisor", "control"),
    "all": everything,
    "all in start": during_start,
    "stop": drained,
    **RELOADS,
    "frozen worker": frozen("worker"),
    "frozen control": frozen("control"),
    "passed by": passed_by,
    "power": power,
}
"""Way → what it does; a pass of the loop goes through all of them in random order."""
