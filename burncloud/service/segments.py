"""Reading a journal's segment files: the tail of a living one and the replay of a dead one are the same walk.

A `Reader` stands after some record number and hands out the records that follow, a slice at a time.  Records
already booked are skipped by number, so that records rewritten after a failed sync, or read twice, count once.
A frame that is intact but no record, or broken with an intact frame behind it, is handed out as `Poison` and the
walk goes on; anything else broken ends its segment (shared MONEY.md §2).  All of this blocks: files in the page
cache take microseconds, `sync` is for a thread.
"""

from __future__ import annotations

import errno
import os
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from burncloud.domain.journal import (
    FORMAT_VERSION,
    FRAME,
    RECORD_BYTES_MAX,
    Again,
    End,
    Header,
    Intent,
    JournalRecord,
    Kept,
    Progress,
    scan,
)
from burncloud.wire.files import read_at

CHUNK_BYTES: Final = 256 << 10
CHUNK_BYTES_MAX: Final = 2 * (RECORD_BYTES_MAX + FRAME.size)
"""Enough for the longest frame and the length of the one behind it."""
SLICE_RECORDS: Final = 1_000
SLICE_ENDS: Final = 500
"""A slice is booked in one transaction; decoding one holds up the control process's loop for some 2 ms."""

_sync_file = getattr(os, "fdatasync", os.fsync)


class Foreign(Exception):
    """A journal that is not ours to read: another ledger's, another program's, or copied under a wrong name."""


class Poison(NamedTuple):
    """A frame that cannot be read as a record; it counts as one."""

    payload: bytes
    reason: str


class Gap(NamedTuple):
    """Records that are in no file: numbers first … last."""

    first: int
    last: int


class Slice(NamedTuple):
    """Consecutive records; the first has number `first`."""

    first: int
    records: list[JournalRecord | Poison]
    gap: Gap | None = None
    """What is missing just before them."""

    @property
    def last(self) -> int:
        """Number of the last record (first − 1 if there is none)."""
        return self.first + len(self.records) - 1


class _Segment(NamedTuple):
    n: int
    path: Path
    first_seq: int
    start: int
    """Offset of the first record, behind the header."""


def _frame_at(data: bytes, offset: int) -> bytes | None:
    """The payload of the frame at `offset` if it is all there, whatever its checksum."""
    if len(data) - offset < FRAME.size:
        return None
    length, _ = FRAME.unpack_from(data, offset)
    start = offset + FRAME.size
    if length == 0 or length > RECORD_BYTES_MAX or len(data) - start < length:
        return None
    return data[start : start + length]


def _intact(data: bytes, offset: int) -> bool:
    payload = _frame_at(data, offset)
    return payload is not None and zlib.crc32(payload) == FRAME.unpack_from(data, offset)[1]


def _poison(data: bytes) -> Poison | None:
    """What the broken frame at the start of `data` is, if the walk can go on behind it."""
    payload = _frame_at(data, 0)
    if payload is None:
        return None
    if _intact(data, 0):
        return Poison(payload, "not a known record")
    if _intact(data, FRAME.size + len(payload)):
        return Poison(payload, "checksum is wrong")
    return None


class Reader:
    """Walks one journal's files; not thread-safe, but `sync` may run in a thread while nothing else does."""

    def __init__(self, folder: Path, ledger: str) -> None:
        self.folder = folder
        self._ledger = ledger
        self.seq = 0
        """Number of the last record handed out or skipped."""
        self._segment: _Segment | None = None
        self._fd = -1
        self._offset = 0
        self._unsynced = False
        self._folder_unsynced = True
        self._suspect = -1
        self._at = 0
        """Number of the last record before the offset."""
        self._unsyncable: set[int] = set()
        self.broken: dict[Path, int] = {}
        """Segments that end in something broken, and where."""

    def close(self) -> None:
        """Let go of the file."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1
        self._segment = None

    def seek(self, acked: int) -> None:
        """Stand after record `acked`.  Raises Foreign, OSError."""
        self.close()
        self.seq = acked
        best: _Segment | None = None
        for segment in self._segments():
            if best is None or segment.first_seq <= acked + 1:
                best = segment
        if best is not None:
            self._enter(best)

    def read(self, dead: bool, records_max: int = SLICE_RECORDS) -> Slice:
        """The next records that are there; none (an empty slice) where there are no more yet.

        `dead`: nobody writes any more, so what is broken will stay so.  Raises Foreign, OSError.
        """
        gap: Gap | None = None
        if self._segment is None:
            self.seek(self.seq)
        while self._segment is not None:
            missing = self._gap()
            if missing is not None:
                gap = Gap(gap.first if gap else missing.first, missing.last)
                self.seq = missing.last
            before = self._offset
            following: _Segment | None = None
            found = self._read_here(dead, records_max)
            if found is None and self._offset == before:
                following = self._following(dead)
                if following is None:
                    break
                # The next segment's header is written after this one's last record: look once more, then leave.
                found = self._read_here(True, records_max)
            if found is not None:
                return found._replace(gap=gap)
            if following is not None and self._offset == before:
                self._enter(following)
        return Slice(self.seq + 1, [], gap)

    def sync(self) -> None:
        """Bring what was handed out to the disk.  Raises OSError: then it never will be there.

        A failed sync is not tried again: the kernel may have dropped the pages and called them clean.
        """
        if self._segment is None or not (self._unsynced or self._folder_unsynced):
            return
        if self._segment.n in self._unsyncable:
            raise OSError(errno.EIO, "an earlier sync of this segment failed", str(self._segment.path))
        try:
            if self._unsynced:
                _sync_file(self._fd)
            if self._folder_unsynced:
                _sync_folder(self.folder)
                _sync_folder(self.folder.parent)
        except OSError:
            self._unsyncable.add(self._segment.n)
            raise
        self._unsynced = self._folder_unsynced = False

    def _gap(self) -> Gap | None:
        assert self._segment is not None
        if self._offset == self._segment.start and self._segment.first_seq > self.seq + 1:
            return Gap(self.seq + 1, self._segment.first_seq - 1)
        return None

    def _segments(self, after: int = 0) -> Iterator[_Segment]:
        """Segments in use with a number above `after`, in their order."""
        for path in sorted(self.folder.glob("*.seg")):
            if path.stem.isdigit() and int(path.stem) > after:
                segment = self._header(path)
                if segment is not None:
                    yield segment

    def _following(self, dead: bool) -> _Segment | None:
        """The segment behind the current one, if it has begun.

        While the worker lives, this is asked at every turn: its next file is the next number, so no folder is read
        but where that is broken, or missing: a file whose header could not be written is taken away by the worker.
        """
        assert self._segment is not None
        path = self._segment.path.with_stem(f"{self._segment.n + 1:08d}")
        segment = self._header(path)
        if segment is None and (dead or path in self.broken or not path.exists()):
            segment = next(self._segments(self._segment.n), None)
        return segment

    def _header(self, path: Path) -> _Segment | None:
        try:
            fd = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        except FileNotFoundError:
            return None  # not there yet, or the worker took it away just now
        try:
            data = read_at(fd, 4096, 0)
        finally:
            os.close(fd)
        if not _intact(data, 0):
            if any(data):
                self.broken.setdefault(path, 0)
            return None
        found = scan(data, 0, 1)
        header = found.records[0] if found.records else None
        if not isinstance(header, Header) or header.version != FORMAT_VERSION:
            raise Foreign(f"{path}: written by a version that this program does not know")
        if header.ledger != self._ledger:
            raise Foreign(f"{path}: belongs to ledger {header.ledger}, this database is {self._ledger}")
        if header.journal != self.folder.name:
            raise Foreign(f"{path}: is a segment of journal {header.journal}")
        self.broken.pop(path, None)
        return _Segment(int(path.stem), path, header.first_seq, found.offset)

    def _enter(self, segment: _Segment) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = os.open(segment.path, os.O_RDWR | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0))
        self._segment = segment
        self._offset = segment.start
        self._at = segment.first_seq - 1
        self._folder_unsynced = True
        self._suspect = -1

    def _read_here(self, dead: bool, records_max: int) -> Slice | None:
        """New records of the current segment from the offset on, or None; moves the offset."""
        data = read_at(self._fd, FRAME.size, self._offset)
        if not any(data):
            return None
        data = read_at(self._fd, CHUNK_BYTES, self._offset)
        found = scan(data, 0, records_max)
        if not found.records and found.broken and len(data) == CHUNK_BYTES:
            data = read_at(self._fd, CHUNK_BYTES_MAX, self._offset)
            found = scan(data, 0, records_max)
        records: list[JournalRecord | Poison] = list(found.records)
        moved = found.offset
        if not records:
            poison = self._judge(data, dead) if found.broken else None
            if poison is None:
                return None
            records = [poison]
            moved = FRAME.size + len(poison.payload)
        if len(records) > SLICE_ENDS and sum(type(record) is End for record in records) > SLICE_ENDS:
            return self._read_here(dead, records_max // 2)
        self._offset += moved
        self._unsynced = True
        first = self._at + 1
        self._at += len(records)
        if self._at <= self.seq:
            return None
        if first <= self.seq:
            records = records[self.seq + 1 - first :]
        self.seq = self._at
        return Slice(self.seq - len(records) + 1, records)

    def _judge(self, data: bytes, dead: bool) -> Poison | None:
        """What to do about the broken frame at the offset: nothing yet, step over it, or stop here."""
        assert self._segment is not None
        if not dead and self._suspect != self._offset:
            self._suspect = self._offset  # perhaps it is being written: look again
            return None
        poison = _poison(data)
        if poison is None and dead:
            self.broken[self._segment.path] = self._offset
        return poison

    def open_exchanges(self, unbooked: Collection[int] = ()) -> list[Kept]:
        """Exchanges without an end, oldest first, from all kept segments; an end of `unbooked` counts for nothing.

        Not from the watermark on: an intent may be booked past long before its end.  Raises Foreign, OSError.
        """
        reader = Reader(self.folder, self._ledger)
        open_: dict[int, Kept] = {}
        ended: set[int] = set()
        try:
            while True:
                found = reader.read(True)
                for seq, record in enumerate(found.records, found.first):
                    if isinstance(record, End) and record.x in unbooked:
                        continue
                    _follow(open_, ended, seq, record)
                if not found.records:
                    break
        finally:
            reader.close()
        return [open_[x] for x in sorted(open_)]


def _follow(open_: dict[int, Kept], ended: set[int], seq: int, record: JournalRecord | Poison) -> None:
    """Keep the books of what is open across one record."""
    if isinstance(record, End):
        ended.add(record.x)
        open_.pop(record.x, None)
    elif isinstance(record, Intent):
        if seq not in ended:
            open_[seq] = Kept(seq, record)
    elif isinstance(record, Kept):
        if record.x not in ended:
            open_[record.x] = record
    elif isinstance(record, Again) and record.x in open_:
        kept = open_[record.x]
        kept.agains = (*kept.agains, record)
    elif isinstance(record, Progress) and record.x in open_:
        open_[record.x].progress = record


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows cannot open a folder; NTFS journals its entries itself
        return
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
