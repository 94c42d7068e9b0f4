"""Named points at which a process kills itself, for the tests that prove that a crash loses no money.

`CRASH_AT=worker.before_end:3` makes the third call of `point("worker.before_end")` a SIGKILL of
this process: no clean-up, no flush, as if the power of that one process had gone.  On a hot path
callers write `if crash.ARMED: crash.point(…)`, which costs nothing when it is off.
"""

from __future__ import annotations

import os
import signal
from typing import Final

from burncloud import config

POINTS: Final = (
    "worker.before_intent",
    "worker.after_intent",
    "worker.after_send",
    "worker.first_byte",
    "worker.mid_stream",
    "worker.before_end",
    "worker.after_end",
    "worker.before_last_write",
    "worker.rollover",
    "control.before_commit",
    "control.after_commit",
    "control.before_ack",
    "control.in_close",
    "control.after_close",
    "control.grant_committed",
    "control.replay",
    # between the attempts of one request
    "worker.before_again",
    "worker.after_again",
    "worker.stream_broken",
    "worker.race_won",
)
"""Every point there is, in the order of a receipt's life."""


def _armed() -> tuple[str, int]:
    name, _, count = config.crash_at().partition(":")
    if name and name not in POINTS:
        raise config.ConfigError(f"CRASH_AT names {name!r}, which is no crash point (see crash.py).")
    return name, int(count or "1")


_name, _left = _armed()
ARMED: Final = bool(_name)
"""Whether any point is armed in this process."""


def point(name: str) -> None:
    """Die here, if this is the n-th passing of the armed point."""
    global _left
    if name != _name:
        return
    _left -= 1
    if _left == 0:
        # Windows has no SIGKILL; SIGTERM there is TerminateProcess, which is as hard.
        os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
