"""A request body: kept until the answer is committed, so that any failover has it whole.

Up to SPOOL_FROM bytes it is held as it came, in memory; above, it goes to an unlinked file, so that
big uploads cost page cache instead of heap.  Both kinds of room are counted in a `Budget` of the worker
before a byte is read; who does not fit waits in order (DATAPLANE.md rule 8).
"""

from __future__ import annotations

import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from burncloud.wire.files import read_at

SPOOL_FROM: Final = 1 << 20
PIECE_BYTES: Final = 256 << 10
PARTS_MAX: Final = 512
"""A body that comes in crumbs is joined now and then: a bytes object weighs 33 bytes more than what it holds."""

LARGE_BYTES: Final = 4 << 20
"""To close an unlinked file of this size and more takes the system milliseconds (3 to 10 for 64 MiB)."""
_closer: Final = ThreadPoolExecutor(1, "closer")
"""Its thread begins with the first large file."""


class Budget:
    """Bytes of body that a worker may hold, first come first served."""

    __slots__ = ("_giving", "free", "total", "waiting")

    def __init__(self, total: int) -> None:
        self.total = total
        self.free = total
        self._giving = False
        self.waiting: deque[tuple[int, Callable[[], None]]] = deque()

    def take(self, amount: int) -> bool:
        """Take room now; False = wait for it with `wait`."""
        free = self.free - amount
        if free < 0 or self.waiting:
            return False
        self.free = free
        return True

    def wait(self, amount: int, ready: Callable[[], None]) -> Callable[[], None]:
        """Have `ready` called once, with the room taken; returns what cancels the wait."""
        entry = (amount, ready)
        self.waiting.append(entry)

        def cancel() -> None:
            if entry in self.waiting:
                self.waiting.remove(entry)
                self.give(0)

        return cancel

    def give(self, amount: int) -> None:
        """Return room, and let in who fits now."""
        self.free += amount
        if not self.waiting or self._giving:
            return  # the latter: who was let in has given back at once; the loop below goes on with that
        self._giving = True
        try:
            while self.waiting and self.waiting[0][0] <= self.free:
                need, ready = self.waiting.popleft()
                self.free -= need
                ready()
        finally:
            self._giving = False


class Body:
    """Bytes of one request as they come."""

    __slots__ = ("_fd", "_parts", "size")

    def __init__(self, first: bytes = b"", fd: int = -1, size: int = 0) -> None:
        """`first`: what is there of it already, at most SPOOL_FROM bytes; or an open file with `size` bytes of it."""
        self.size = len(first) or size
        self._parts = [first] if first else []
        self._fd = fd

    @property
    def spooled(self) -> bool:
        """True where the bytes are in a file."""
        return self._fd >= 0

    def add(self, piece: bytes) -> None:
        """Append; raises OSError if the spool cannot be written."""
        self.size += len(piece)
        if self._fd >= 0:
            self._write(piece)
            return
        self._parts.append(piece)
        if self.size > SPOOL_FROM:
            self._spool()
        elif len(self._parts) >= PARTS_MAX:
            self._parts = [b"".join(self._parts)]

    def _spool(self) -> None:
        fd, path = tempfile.mkstemp(prefix="burncloud-body-")
        os.unlink(path)
        self._fd = fd
        parts, self._parts = self._parts, []
        for part in parts:
            self._write(part)

    def _write(self, piece: bytes) -> None:
        view = memoryview(piece)
        while view:
            view = view[os.write(self._fd, view) :]

    def whole(self) -> bytes:
        """All bytes of a body in memory (a spooled one is read in pieces, never whole)."""
        parts = self._parts
        if len(parts) != 1:
            self._parts = parts = [b"".join(parts)]
        return parts[0]

    def file(self) -> int:
        """An open file with the bytes, the caller's to close."""
        if self._fd >= 0:
            return os.dup(self._fd)
        fd, path = tempfile.mkstemp(prefix="burncloud-body-")
        os.unlink(path)
        for part in self._parts:
            view = memoryview(part)
            while view:
                view = view[os.write(fd, view) :]
        return fd

    def everything(self) -> bytes:
        """All bytes, wherever they are."""
        return b"".join(self.pieces()) if self.spooled else self.whole()

    def replace(self, data: bytes) -> None:
        """Put spliced bytes in the place of a body in memory."""
        self._parts = [data]
        self.size = len(data)

    def read(self, offset: int, length: int) -> bytes:
        """A piece of a spooled body."""
        return read_at(self._fd, length, offset)

    def pieces(self, start: int = 0, end: int = -1) -> Iterator[bytes]:
        """The body (or its part start..end) in pieces of PIECE_BYTES."""
        end = self.size if end < 0 else end
        while start < end:
            size = min(PIECE_BYTES, end - start)
            piece = read_at(self._fd, size, start) if self.spooled else self.whole()[start : start + size]
            if not piece:
                raise OSError("the spooled body ends early")
            start += len(piece)
            yield piece

    def spliced(self, cuts: list[tuple[int, int, bytes]]) -> Iterator[bytes]:
        """The body in pieces, with other bytes in the place of [start, end) of each cut, in order."""
        start = 0
        for cut_start, cut_end, new in cuts:
            yield from self.pieces(start, cut_start)
            yield new
            start = cut_end
        yield from self.pieces(start)

    def close(self) -> None:
        """Forget the bytes."""
        self._parts = []
        fd, self._fd = self._fd, -1
        if fd < 0:
            return
        if self.size >= LARGE_BYTES:
            _closer.submit(os.close, fd)
        else:
            os.close(fd)
