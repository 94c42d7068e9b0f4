"""The run directory: a private folder for the two local sockets, gone when its supervisor is.

Its supervisor holds a lock in it for life; one whose lock is free was left by a supervisor that was killed, and
the next one to start, with whatever data directory, takes it away.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator

from burncloud.app.lock import Held, SupervisorLock

PREFIX = "burncloud-"
LOCK_FILE = "lock"


@contextlib.contextmanager
def run_dir() -> Iterator[str]:
    """A new one, as long as the block runs."""
    path = tempfile.mkdtemp(prefix=PREFIX)
    try:
        if sys.platform == "win32":  # no sockets lie there
            yield path
            return
        # Under its own name only once it is held: `sweep` of another supervisor must not meet it in between.
        new = os.path.join(path, LOCK_FILE + ".new")
        lock = SupervisorLock(new)
        os.rename(new, os.path.join(path, LOCK_FILE))
        try:
            yield path
        finally:
            lock.release()
    finally:
        shutil.rmtree(path, ignore_errors=True)


def sweep(*also: str) -> None:
    """Take away what dead supervisors of this user left among the temporary files, and in the folders `also`."""
    if sys.platform == "win32":
        return
    found = [entry.path for entry in os.scandir(tempfile.gettempdir()) if entry.name.startswith(PREFIX)]
    for path in {*found, *also}:
        if os.path.basename(path).startswith(PREFIX) and _is_left(path):
            shutil.rmtree(path, ignore_errors=True)


def _is_left(path: str) -> bool:
    """Whether it is a run directory of this user without a supervisor."""
    lock_path = os.path.join(path, LOCK_FILE)
    try:
        about = os.lstat(path)
        if not stat.S_ISDIR(about.st_mode) or not os.path.isfile(lock_path):
            return False
        if sys.platform != "win32" and about.st_uid != os.getuid():
            return False
        SupervisorLock(lock_path).release()
    except (Held, OSError):
        return False
    return True
