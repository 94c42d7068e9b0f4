"""CPU time, memory and placement of processes: what the bench reads off the system.

CPU time comes from each process's own CPU clock (nanoseconds, all its threads), not from
/proc/PID/stat, whose ticks of 10 ms are coarser than a short measurement.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable, Mapping
from pathlib import Path


def cpu_ns(pid: int) -> int:
    """User and system time of a process so far, all threads, in nanoseconds."""
    return time.clock_gettime_ns((~pid << 3) | 2)  # the kernel's MAKE_PROCESS_CPUCLOCK(pid, CPUCLOCK_SCHED)


def cpu_by_role(roles: Mapping[str, Iterable[int]]) -> dict[str, int]:
    """CPU time so far of each role's processes, in nanoseconds."""
    return {role: sum(cpu_ns(pid) for pid in pids) for role, pids in roles.items()}


def _kilobytes(path: Path, field: str) -> int:
    for line in path.read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1])
    raise ValueError(f"{path} has no {field}")


def rss_mb(pid: int) -> float:
    """Resident memory of a process, in megabytes of 2^20 bytes."""
    return _kilobytes(Path(f"/proc/{pid}/status"), "VmRSS:") / 1024


def pss_mb(pid: int) -> float:
    """Like rss_mb, with each shared page counted by the part that is this process's."""
    return _kilobytes(Path(f"/proc/{pid}/smaps_rollup"), "Pss:") / 1024


def descendants(pid: int) -> list[int]:
    """The processes below `pid`, nearest first."""
    found: list[int] = []
    queue = [pid]
    while queue:
        for task in Path(f"/proc/{queue.pop(0)}/task").glob("*/children"):
            children = [int(child) for child in task.read_text().split()]
            found += children
            queue += children
    return found


def command(pid: int) -> str:
    """A process's command line."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()


def pin(pid: int, core: int) -> None:
    """Let all threads of a process run on one core only."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), {core})


def cores() -> tuple[int, int]:
    """(the core of the gateway under test, the core of its peers); the same one where there is only one."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[-1], allowed[0]


def wait_port(port: int, timeout_s: float = 10) -> None:
    """Return once something accepts on the loopback port; TimeoutError if nothing does in time."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)
    raise TimeoutError(f"nothing listens on port {port} after {timeout_s} s")
