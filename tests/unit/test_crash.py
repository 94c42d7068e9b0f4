"""Crash points: off by default, and a hard end at exactly the n-th passing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from burncloud import crash

CODE = """
from burncloud import crash
print(crash.ARMED, flush=True)
for n in range(1, 6):
    crash.point("worker.after_end")
    crash.point("worker.before_end")
    print(n, flush=True)
"""


def run(crash_at: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "CRASH_AT": crash_at}
    return subprocess.run([sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, check=False)


def test_nothing_is_armed_in_real_life() -> None:
    assert not crash.ARMED
    for name in crash.POINTS:
        crash.point(name)


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
@pytest.mark.parametrize(("crash_at", "passed"), [("worker.before_end:3", 2), ("worker.before_end", 0)])
def test_the_nth_passing_is_the_end(crash_at: str, passed: int) -> None:
    done = run(crash_at)
    assert done.returncode == -signal.SIGKILL
    assert done.stdout.split() == ["True", *map(str, range(1, passed + 1))]


def test_an_unknown_point_is_refused() -> None:
    done = run("worker.nowhere:1")
    assert done.returncode == 1
    assert "no crash point" in done.stderr
