"""A lock that several processes share, which the death of its holder opens.

On Linux it is a robust pthread mutex in shared memory: 0.35 µs to take and give, no system call while nobody
waits, and the kernel hands it on when its holder dies.  Elsewhere it is a POSIX record lock (2 µs).  A process
that shares with nobody needs neither.
"""

from __future__ import annotations

import ctypes
import errno
import sys
from collections.abc import Callable
from typing import Any, Final

MUTEX_BYTES: Final = 128
"""Room for a pthread_mutex_t with whatever the C library makes of it (40 bytes on glibc x86-64)."""
_ATTRIBUTE_BYTES: Final = 64
_PROCESS_SHARED: Final = 1
_ROBUST: Final = 1


def _free() -> bool:
    return False


class Mutex:
    """`take()` and `give()`; `take` says whether the last holder died and may have left things half done."""

    def __init__(self, fd: int, memory: Any, fresh: Callable[[], bool]) -> None:
        """`memory`: MUTEX_BYTES of a writable shared mapping, `fd` its file; −1 = nobody shares it.

        `fresh()`: called by one process at a time; True for the one that must set the mutex up.
        """
        self.take: Callable[[], bool] = _free
        self.give: Callable[[], object] = _free
        if fd < 0:
            return
        lock, unlock = _record_lock(fd)
        if sys.platform != "linux":
            self.take, self.give = lock, unlock
            return
        # PyDLL: letting go of the interpreter for 0.1 µs would cost more than the call
        library = ctypes.PyDLL(None)
        at = ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(memory)))
        lock()
        try:
            if fresh():
                _set_up(library, at)
        finally:
            unlock()
        self.take, self.give = _robust(library, at)


if sys.platform == "win32":

    def _record_lock(fd: int) -> tuple[Callable[[], bool], Callable[[], object]]:
        """There is one worker there, which shares with nobody."""
        raise OSError("no lock can be shared here")

else:

    def _record_lock(fd: int) -> tuple[Callable[[], bool], Callable[[], object]]:
        import fcntl

        lockf, exclusive, off = fcntl.lockf, fcntl.LOCK_EX, fcntl.LOCK_UN

        def take() -> bool:
            lockf(fd, exclusive, 1)
            return False

        return take, lambda: lockf(fd, off, 1)


def _set_up(library: ctypes.PyDLL, at: ctypes.c_void_p) -> None:
    attributes = ctypes.create_string_buffer(_ATTRIBUTE_BYTES)
    for status in (
        library.pthread_mutexattr_init(attributes),
        library.pthread_mutexattr_setpshared(attributes, _PROCESS_SHARED),
        library.pthread_mutexattr_setrobust(attributes, _ROBUST),
        library.pthread_mutex_init(at, attributes),
    ):
        if status:
            raise OSError(status, "a shared mutex cannot be made")


def _robust(library: ctypes.PyDLL, at: ctypes.c_void_p) -> tuple[Callable[[], bool], Callable[[], object]]:
    lock, unlock, consistent = (
        library.pthread_mutex_lock,
        library.pthread_mutex_unlock,
        library.pthread_mutex_consistent,
    )
    for function in (lock, unlock, consistent):
        function.argtypes = [ctypes.c_void_p]

    def take() -> bool:
        status = lock(at)
        if not status:
            return False
        if status != errno.EOWNERDEAD:
            raise OSError(status, "the shared mutex cannot be taken")
        consistent(at)
        return True

    return take, lambda: unlock(at)
