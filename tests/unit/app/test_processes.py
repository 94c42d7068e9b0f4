"""One child's place: start, readiness, death, the pause before the next start."""

from __future__ import annotations

import os
import select
import signal
import sys

import pytest

from burncloud import clock
from burncloud.app.processes import RESTART_DELAYS_MS, Child
from burncloud.config import Boot
from tests.unit.app.supervised import until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and descriptor passing")

READY = "import json, os; os.write(json.loads(os.environ['BURNCLOUD_BOOT'])['ready_fd'], b'1'); "


def child(code: str) -> Child:
    return Child(Boot("worker", index=2), (sys.executable, "-I", "-S", "-c", code))


def wait_readable(fd: int) -> None:
    assert select.select([fd], [], [], 10)[0]


def end_of(place: Child) -> int:
    seen: list[int] = []

    def look() -> bool:
        status = place.ended()
        if status is not None:
            seen.append(status)
        return bool(seen)

    until(look)
    return seen[0]


def test_a_child_that_gets_ready_and_stops() -> None:
    place = child(READY + "import time; time.sleep(60)")
    place.start()
    wait_readable(place.ready_fd)
    assert place.says_ready()
    assert place.name == "worker 2"
    assert place.ended() is None
    place.stop(10_000)
    assert end_of(place) == -signal.SIGTERM
    assert place.failures == 0
    assert place.restart_at_ms <= clock.monotonic_ms()


def test_deaths_before_ready_are_counted_and_slow_the_next_start() -> None:
    place = child("raise SystemExit(3)")
    for failures in (1, 2):
        place.start()
        wait_readable(place.ready_fd)
        assert not place.says_ready()
        before = clock.monotonic_ms()
        assert end_of(place) == 3
        assert place.failures == failures
        assert place.restart_at_ms >= before + RESTART_DELAYS_MS[failures]
    place.failures = 1000
    place.start()
    assert end_of(place) == 3
    place.close_ready()
    assert place.restart_at_ms <= clock.monotonic_ms() + RESTART_DELAYS_MS[-1]


def test_a_child_that_does_not_stop_in_time_is_killed() -> None:
    place = child("import signal; signal.signal(15, signal.SIG_IGN); " + READY + "import time; time.sleep(60)")
    place.start()
    wait_readable(place.ready_fd)
    place.says_ready()
    assert not place.kill_if_due()
    place.stop(50)
    assert not place.kill_if_due()
    until(place.kill_if_due)
    assert end_of(place) == -signal.SIGKILL


def test_a_program_that_cannot_be_started_leaks_nothing() -> None:
    place = Child(Boot("control"), ("/nonexistent/program",))
    before = sorted(os.listdir("/dev/fd"))
    with pytest.raises(OSError, match="nonexistent"):
        place.start()
    assert sorted(os.listdir("/dev/fd")) == before
    assert (place.failures, place.process, place.name) == (1, None, "control")
