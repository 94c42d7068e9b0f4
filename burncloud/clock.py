"""The clocks: the only file that asks what time it is, so that tests can bend time in one place.

Call through the module (`clock.now_ns()`), so that a test can replace a clock.
"""

from __future__ import annotations

import sys
import time

from burncloud import config

_OFFSET_NS = config.clock_offset_ms() * 1_000_000


def _now_off_ns() -> int:
    return time.time_ns() + _OFFSET_NS


now_ns = _now_off_ns if _OFFSET_NS else time.time_ns
"""Wall clock, nanoseconds since 1970-01-01 UTC; it may jump."""

monotonic_ns = time.monotonic_ns
"""Nanoseconds since some start; never jumps, may stand still while the machine sleeps."""


def now_s() -> int:
    """Wall clock in whole seconds since 1970-01-01 UTC."""
    return now_ns() // 1_000_000_000


def monotonic_ms() -> int:
    """`monotonic_ns` in milliseconds."""
    return time.monotonic_ns() // 1_000_000


def boot_ms() -> int:
    """Milliseconds since the machine started, sleep included where the OS can tell (Linux), else monotonic."""
    if sys.platform == "linux":
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
    return monotonic_ms()


def sleep_ms(duration_ms: int) -> None:
    """Block this thread; never to be called on an event loop."""
    time.sleep(duration_ms / 1000)
