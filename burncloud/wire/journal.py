"""The worker's journal: an append-only file, written once a loop tick, that survives the worker.

`put` queues a record and gives its number; at the end of the tick one pwrite puts all queued records in
the page cache and then lets go what waited for them (`after`): the request that leaves, the last bytes of
an answer.  What has reached the page cache outlives a killed process; the control process reads the same
files, syncs them and acknowledges (MONEY.md §2, docs/money.md).

Segments are preallocated, with a spare always ready.  At rollover the intents still open are copied to
the new segment, so that an old one can go as soon as its records are acknowledged.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from burncloud import clock, crash
from burncloud.domain.journal import (
    FORMAT_VERSION,
    FRAME,
    SEGMENT_BYTES,
    Again,
    Close,
    End,
    Header,
    Intent,
    Kept,
    Progress,
    Return,
    frame,
)
from burncloud.wire.files import read_at, write_at

RETENTION_MS: Final = 600_000
SETTLE_ROOM_BYTES: Final = 1 << 20
"""The end of the last segment that only streams in flight may fill when no spare can be had."""

CANNOT_WRITE: Final = "the journal cannot be written"
NO_ROOM: Final = "the journal has no room"
TOO_LONG: Final = "the journal has reached its limit"

Waiter = Callable[[Any, bool], None]

if sys.platform == "win32":
    import msvcrt

    def lock_file(fd: int) -> None:
        """Lock an open file for this process's life; raises OSError if another holds it."""
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def lock_file(fd: int) -> None:
        """Lock an open file for this process's life; raises OSError if another holds it."""
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


class Segment:
    """One file of the journal."""

    __slots__ = ("acked_ms", "fd", "first_seq", "kept_until", "last_seq", "n", "path")

    def __init__(self, n: int, path: Path, fd: int) -> None:
        self.n = n
        self.path = path
        self.fd = fd
        self.first_seq = 0
        self.last_seq = 0
        self.kept_until = 0
        """Number of the last copied record (K) at its start: once acked, older segments are not needed."""
        self.acked_ms = 0


class JournalWriter:
    """The journal of one worker process."""

    def __init__(self, root: Path, journal: str, ledger: str, node: str, bytes_max: int) -> None:
        self._dir = root / journal
        self._journal = journal
        self._ledger = ledger
        self._node = node
        self._bytes_max = bytes_max
        self._loop = asyncio.get_running_loop()
        self._lock_fd = -1
        self._segments: list[Segment] = []
        self._spare: Segment | None = None
        self._making = False
        self._next_n = 1
        self._offset = 0
        """Where the queued frames will end in the current segment."""
        self._written = 0
        self._limit = SEGMENT_BYTES
        """Where the current segment is full: further on if copies of open exchanges fill much of it already."""
        self.seq = 0
        """Number of the newest record."""
        self.acked = 0
        self._queue: list[bytes] = []
        self._queue_seq = 0
        self._waiters: list[tuple[Waiter, Any]] = []
        self._scheduled = False
        self._open: dict[int, Intent | Kept] = {}
        """Exchanges without an end: the intent, or once there is more, the copy for the next segment."""
        self.failed = ""
        """Why nothing is admitted, or ""."""
        self.on_grown: Callable[[int], None] = lambda seq: None

    # Life

    def open(self) -> None:
        """Make the directory, take the lock for life and write the first header.

        Raises OSError, and then leaves nothing behind: another writer may try the same journal again.
        """
        self._dir.mkdir(parents=True, mode=0o700)
        try:
            self._lock_fd = os.open(self._dir / "lock", os.O_CREAT | os.O_RDWR, 0o600)
            lock_file(self._lock_fd)
            if not self._start_segment(self._allocate(), 1):
                raise OSError("the journal's first segment cannot be written")
            self._spare = self._allocate()
        except OSError:
            for fd in [*(segment.fd for segment in self._segments), self._lock_fd]:
                if fd >= 0:
                    os.close(fd)
            shutil.rmtree(self._dir, ignore_errors=True)
            raise
        self._flush()

    def close(self) -> None:
        """A clean stop: say that nothing is open (if so) and let go of the files; control closes the rest."""
        if not self._open:
            self._append(frame(Close()))
        self._flush()
        for segment in [*self._segments, *([self._spare] if self._spare else [])]:
            os.close(segment.fd)
        os.close(self._lock_fd)

    @property
    def ready(self) -> bool:
        """Whether a new exchange may begin: there is room for its end, too."""
        return not self.failed and (self._spare is not None or self._offset < self._limit - SETTLE_ROOM_BYTES)

    # Records

    def intend(self, intent: Intent) -> int:
        """Queue an intent; its number is the exchange's x."""
        x = self._append(frame(intent))
        self._open[x] = intent
        return x

    def again(self, record: Again) -> None:
        """Queue a further attempt of an open exchange."""
        self._append(frame(record))
        kept = self._kept(record.x)
        kept.agains += (record,)

    def progress(self, record: Progress) -> None:
        """Queue what an open exchange has used so far."""
        self._append(frame(record))
        self._kept(record.x).progress = record

    def end(self, record: End) -> None:
        """Queue the receipt of an exchange."""
        self._append(frame(record))
        del self._open[record.x]

    def give_back(self, record: Return) -> None:
        """Queue the return of a part of a lease."""
        self._append(frame(record))

    def after(self, waiter: Waiter, argument: Any) -> None:
        """Call `waiter(argument, ok)` once everything queued so far is in the page cache; not ok = it never will be."""
        self._waiters.append((waiter, argument))
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    # Acknowledgement

    def ack(self, seq: int) -> None:
        """Records up to `seq` are durably booked: old segments may go after their time."""
        self.acked = max(self.acked, seq)
        self.janitor()

    def janitor(self) -> None:
        """What must be done now and then: clear up, have a spare, try again what could not be written."""
        self._clear_up()
        if self._spare is None:
            self._make_spare()
        if self._queue and not self._scheduled:
            self._flush()

    def _clear_up(self) -> None:
        """Delete segments that are booked and old, or booked and in the way; refuse work when too much is unbooked."""
        now = clock.monotonic_ms()
        crowded = len(self._segments) * SEGMENT_BYTES > self._bytes_max // 2
        while len(self._segments) > 1:
            oldest, following = self._segments[0], self._segments[1]
            if self.acked < oldest.last_seq or self.acked < following.kept_until:
                break
            oldest.acked_ms = oldest.acked_ms or now
            if not crowded and now - oldest.acked_ms < RETENTION_MS:
                break
            self._segments.pop(0)
            os.close(oldest.fd)
            oldest.path.unlink(missing_ok=True)
            crowded = len(self._segments) * SEGMENT_BYTES > self._bytes_max // 2
        if len(self._segments) * SEGMENT_BYTES > self._bytes_max:
            self.failed = TOO_LONG
        elif self.failed == TOO_LONG:
            self.failed = ""

    def rewrite(self) -> None:
        """Give up the current segment, whose sync failed, and write all that is not acked into a new one."""
        self._flush()
        records: list[bytes] = []
        first = 0
        taken = self.acked
        for segment in self._segments:
            # an earlier rewrite has put some records into two segments: each is taken once
            if segment.last_seq > taken:
                frames = _frames(segment)
                first = first or max(segment.first_seq, taken + 1)
                records += frames[max(0, taken + 1 - segment.first_seq) :]
                taken = segment.first_seq + len(frames) - 1
        if not self._queue and records and self._roll(first):
            self._queue = records
            self._offset += sum(map(len, records))
            self._keep_open()
            self._flush()

    # Own matters

    def _kept(self, x: int) -> Kept:
        kept = self._open[x]
        if isinstance(kept, Intent):
            kept = self._open[x] = Kept(x, kept)
        return kept

    def _append(self, data: bytes) -> int:
        end = self._offset + len(data)
        if end > self._limit:
            # who waits is not woken here, in the middle of somebody's record: what he appends would be numbered wrongly
            if self._put_down() and self._roll(self.seq + 1):
                self._keep_open()
            end = self._offset + len(data)
        self._offset = end
        self._queue.append(data)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)
        self.seq = seq = self.seq + 1
        return seq

    def _flush(self) -> None:
        """One write for all that was queued in this tick, then everything that waited for it.

        What cannot be written stays queued and is tried again by the janitor.
        """
        self._scheduled = False
        ok = self._put_down()
        waiters = self._waiters
        if waiters:
            self._waiters = []
            for waiter, argument in waiters:
                waiter(argument, ok)

    def _put_down(self) -> bool:
        """Write what is queued; whether all of it stands in the page cache now."""
        queue = self._queue
        if not queue:
            return True
        if not (self._write(queue) or self._write_in_spare(queue)):
            self.failed = CANNOT_WRITE
            return False
        queue.clear()
        self._segments[-1].last_seq = seq = self.seq
        self.on_grown(seq)
        return True

    def _write(self, queue: list[bytes]) -> bool:
        """Write the queue at the current place."""
        data = queue[0] if len(queue) == 1 else b"".join(queue)
        size = len(data)
        try:
            if write_at(self._segments[-1].fd, data, self._written) != size:
                return False
        except OSError:
            return False
        self._written += size
        if self.failed == CANNOT_WRITE:
            self.failed = ""
        return True

    def _write_in_spare(self, queue: list[bytes]) -> bool:
        """Seal the segment that cannot be written, and write the queue behind copies of what is open in the spare."""
        if not self._roll(self.seq - len(queue) + 1):
            return False
        self._offset += sum(map(len, queue))
        self._keep_open()
        return self._write(queue)

    def _roll(self, first_seq: int) -> bool:
        """Go on in the spare, whose first record will be `first_seq`; False if there is none."""
        if crash.ARMED:
            crash.point("worker.rollover")
        spare, self._spare = self._spare, None
        if spare is None:
            if self._making:
                # its number is given away already; until it is there the current segment grows beyond its size
                return False
            try:
                spare = self._allocate()
            except OSError:
                self.failed = NO_ROOM
                return False
        self._segments[-1].last_seq = first_seq - 1
        started = self._start_segment(spare, first_seq)
        self._make_spare()
        return started

    def _keep_open(self) -> None:
        """Queue copies of what is still open, so that no older segment is needed for it.

        The journal is a segment longer now: how long it may be is seen to here and not later, however fast it grows.
        """
        for x in list(self._open):
            data = frame(self._kept(x))
            self._queue.append(data)
            self._offset += len(data)
            self.seq += 1
        self._segments[-1].kept_until = self.seq
        self._limit = max(SEGMENT_BYTES, self._offset + SEGMENT_BYTES // 2)
        self._clear_up()

    def _start_segment(self, segment: Segment, first_seq: int) -> bool:
        """Write the header and go on there; False, and the segment is gone, if that cannot be done."""
        segment.first_seq = first_seq
        segment.last_seq = first_seq - 1
        header = frame(Header(FORMAT_VERSION, self._ledger, self._node, self._journal, first_seq))
        try:
            written = write_at(segment.fd, header, 0)
        except OSError:
            written = 0
        if written != len(header):
            self.failed = CANNOT_WRITE
            os.close(segment.fd)
            segment.path.unlink(missing_ok=True)
            return False
        self._segments.append(segment)
        self._offset = self._written = len(header)
        self._limit = SEGMENT_BYTES
        return True

    def _allocate(self) -> Segment:
        n = self._next_n
        path = self._dir / f"{n:08d}.seg"
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        try:
            _preallocate(fd)
        except OSError:
            os.close(fd)
            path.unlink(missing_ok=True)
            raise
        self._next_n += 1
        return Segment(n, path, fd)

    def _make_spare(self) -> None:
        """Allocate the next segment off the loop: on some file systems it takes milliseconds."""
        if self._making:
            return
        self._making = True

        def done(future: asyncio.Future[Segment]) -> None:
            self._making = False
            if future.cancelled() or future.exception() is not None:
                self.failed = self.failed or NO_ROOM
                return
            if self.failed == NO_ROOM:
                self.failed = ""
            self._spare = future.result()

        self._loop.run_in_executor(None, self._allocate).add_done_callback(done)


def _preallocate(fd: int) -> None:
    """Have the file system set aside the whole segment, so that a later write cannot meet a full disk."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(fd, 0, SEGMENT_BYTES)
    else:
        os.write(fd, bytes(SEGMENT_BYTES))


def _frames(segment: Segment) -> list[bytes]:
    """The whole frames of a segment as they stand in its file, without the header."""
    data = read_at(segment.fd, os.fstat(segment.fd).st_size, 0)
    frames: list[bytes] = []
    offset = 0
    count = segment.last_seq - segment.first_seq + 2
    while len(frames) < count and offset + FRAME.size <= len(data):
        length = FRAME.unpack_from(data, offset)[0]
        if not length:
            break
        frames.append(data[offset : offset + FRAME.size + length])
        offset += FRAME.size + length
    return frames[1:]
