"""One supervisor for one data directory: the lock on DATA_DIR/supervisor.lock, and what its holder says in it.

The operating system frees the lock with its process, however that ends; the text in the file only tells the
next one whom it meets: {"pid", "state": "running" | "draining", "run_dir"}, and `burncloud reload` that it can reload
and how the last one went: {"reload": {"n", "state": "none" | "checking" | "control" | "workers" | "done" | "refused",
"why"}}.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from typing import Any

WINDOWS = sys.platform == "win32"
# Far behind the text, since Windows' locks forbid reading what they cover.
_LOCKED_BYTE = 1 << 30
_NOTE_BYTES_MAX = 1 << 20


class Held(Exception):
    """Another process has the lock; `note` is what it says of itself ({} if nothing readable)."""

    def __init__(self, note: dict[str, Any]) -> None:
        super().__init__(note)
        self.note = note


def _try_lock(fd: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(fd, _LOCKED_BYTE, os.SEEK_SET)
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


class SupervisorLock:
    """The held lock.  Raises Held where it is another's, OSError where the file cannot be made."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        locked = _try_lock(self._fd)
        self.previous = self._read()
        """The note of the last holder, who may have died without a clean-up."""
        if not locked:
            os.close(self._fd)
            raise Held(self.previous)

    def _read(self) -> dict[str, Any]:
        os.lseek(self._fd, 0, os.SEEK_SET)
        try:
            note = json.loads(os.read(self._fd, _NOTE_BYTES_MAX))
        except ValueError:
            return {}
        return note if isinstance(note, dict) else {}

    def say(self, state: str, run_dir: str, **more: object) -> None:
        """Leave a note for others; it is never seen half written (white space at its end is what was there before)."""
        note = json.dumps({"pid": os.getpid(), "state": state, "run_dir": run_dir, **more}).encode()
        size = os.fstat(self._fd).st_size
        os.lseek(self._fd, 0, os.SEEK_SET)
        os.write(self._fd, note.ljust(size))
        os.ftruncate(self._fd, len(note))

    def release(self) -> None:
        """Give it up; the file stays, empty."""
        with contextlib.suppress(OSError):
            os.ftruncate(self._fd, 0)
        os.close(self._fd)


def note_of(path: str) -> dict[str, Any]:
    """What the holder of a lock says of itself; {} where nobody holds it.  Raises OSError for a forbidden file."""
    if not os.path.exists(path):
        return {}  # to look is not to make one
    try:
        SupervisorLock(path).release()
    except Held as held:
        return held.note
    return {}
