"""Accepting from descriptors that the supervisor opened, so that workers come and go without a lost connection.

Every worker waits on the same sockets.  A worker takes one connection a wake, and leaves it to the others
while it has clearly more than the least busy of them (DATAPLANE.md rule 15); the counts stand in a small
shared map, one u32 a worker.
"""

from __future__ import annotations

import asyncio
import mmap
import socket
import struct
from collections.abc import Callable
from typing import Final

SLOTS: Final = 64
_COUNT: Final = struct.Struct("<I")
HEAD_START_S: Final = 0.002
UNUSED: Final = 0xFFFFFFFF
"""The count of a slot with no worker behind it, or one that does not accept yet."""
DRAINING: Final = 0x80000000
"""Added to the count of a worker that accepts no more: so busy that all others come first."""


class LoadMap:
    """Open connections of each worker, shared by all of them."""

    def __init__(self, fd: int, index: int) -> None:
        self._index = index
        self._map = mmap.mmap(fd, SLOTS * _COUNT.size) if fd >= 0 else None
        self._there = self._others()
        self.set(UNUSED)

    def set(self, count: int) -> None:
        """Publish my count."""
        if self._map is not None:
            _COUNT.pack_into(self._map, self._index * _COUNT.size, count)

    def least_other(self) -> int:
        """The smallest count of another accepting worker; UNUSED if there is none."""
        if self._map is None:
            return UNUSED
        least = UNUSED
        for slot in range(SLOTS):
            if slot != self._index:
                least = min(least, _COUNT.unpack_from(self._map, slot * _COUNT.size)[0])
        return least

    def gone(self) -> frozenset[int]:
        """The other workers that have ended since this was asked last: the supervisor says so."""
        before, self._there = self._there, self._others()
        return before - self._there

    def _others(self) -> frozenset[int]:
        counts = () if self._map is None else _COUNT.iter_unpack(self._map[: SLOTS * _COUNT.size])
        return frozenset(slot for slot, (count,) in enumerate(counts) if count != UNUSED and slot != self._index)


class Listener:
    """One worker's share of the listening sockets."""

    def __init__(
        self, sockets: list[socket.socket], load: LoadMap, workers: int, make: Callable[[], asyncio.Protocol]
    ) -> None:
        self._sockets = sockets
        self._load = load
        self._alone = workers <= 1
        self._make = make
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[object]] = set()
        self.connections = 0

    def start(self) -> None:
        """Begin to accept."""
        self._load.set(self.connections)
        for sock in self._sockets:
            sock.setblocking(False)
            self._loop.add_reader(sock.fileno(), self._accept, sock)

    def stop(self) -> None:
        """Accept no more; the descriptors stay open for the others."""
        for sock in self._sockets:
            self._loop.remove_reader(sock.fileno())
            sock.close()
        self._sockets = []
        self._load.set(DRAINING + self.connections)

    def count(self, change: int) -> None:
        """A connection was made (+1) or lost (−1)."""
        self.connections += change
        self._load.set(self.connections if self._sockets else DRAINING + self.connections)

    def _accept(self, sock: socket.socket) -> None:
        if not self._alone:
            least = self._load.least_other()
            if least < DRAINING and self.connections > least + least // 10 + 1:
                # let a less busy worker have it; but one that stands still must not keep all from being served
                self._loop.remove_reader(sock.fileno())
                self._loop.call_later(HEAD_START_S, self._listen_again, sock, True)
                return
        self._take(sock)

    def _take(self, sock: socket.socket) -> None:
        try:
            client, _ = sock.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError:
            # out of descriptors: try again when some may have been closed
            self._loop.remove_reader(sock.fileno())
            self._loop.call_later(0.1, self._listen_again, sock)
            return
        client.setblocking(False)
        if client.family != getattr(socket, "AF_UNIX", -1):
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        task = self._loop.create_task(self._loop.connect_accepted_socket(self._make, client), name="accept")
        self._tasks.add(task)
        task.add_done_callback(self._taken)

    def _taken(self, task: asyncio.Task[object]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()

    def _listen_again(self, sock: socket.socket, take: bool = False) -> None:
        if sock in self._sockets:
            self._loop.add_reader(sock.fileno(), self._accept, sock)
            if take:
                self._take(sock)
