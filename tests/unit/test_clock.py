"""The clocks: units, and the wall clock that a test can put wrong."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from burncloud import clock


def test_units() -> None:
    assert abs(clock.now_ns() - time.time_ns()) < 10**9
    assert abs(clock.now_s() - time.time()) < 2
    assert abs(clock.monotonic_ns() - time.monotonic_ns()) < 10**9
    assert abs(clock.monotonic_ms() - time.monotonic() * 1000) < 1000


def test_monotonic_clocks_do_not_go_back() -> None:
    for read in (clock.monotonic_ns, clock.monotonic_ms, clock.boot_ms):
        seen = [read() for _ in range(1000)]
        assert seen == sorted(seen)


def test_sleeping_takes_as_long_as_said() -> None:
    before = clock.monotonic_ns()
    clock.sleep_ms(20)
    assert clock.monotonic_ns() - before >= 19_000_000


def test_the_wall_clock_can_be_put_wrong_for_a_test() -> None:
    code = "import time; from burncloud import clock; print(clock.now_s() - int(time.time()))"
    environment = {**os.environ, "CLOCK_OFFSET_MS": "-86400000"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True)
    assert abs(int(done.stdout) + 86400) <= 1
