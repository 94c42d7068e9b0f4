"""Where a conversation was last: a table of fixed size in a file that all workers of a node have mapped.

A place is a channel and a key, kept by the fingerprint of the conversation until its time is over or newer ones need
the room: nothing grows, nothing is locked, nobody is asked.  Two workers that write the same entry at once may leave
it torn; its check tells, and a torn entry is none.
"""

from __future__ import annotations

import mmap
import os
import struct
from typing import Final

ENTRIES: Final = 1 << 17
_ENTRY: Final = struct.Struct("<QIIII")
BYTES: Final = ENTRIES * _ENTRY.size
"""3 MiB; pages that were never written take no memory."""
_WAYS: Final = 4
"""Entries that a fingerprint may stand in."""
_MASK: Final = 0xFFFFFFFF


class Places:
    """The table; without a file it is this process's own."""

    def __init__(self, path: str = "") -> None:
        """`path` is made where it is missing.  Raises OSError."""
        if not path:
            self._table = mmap.mmap(-1, BYTES)
            return
        fd = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
        try:
            os.ftruncate(fd, BYTES)
            self._table = mmap.mmap(fd, BYTES)
        finally:
            os.close(fd)

    def get(self, fingerprint: int, now_s: int) -> tuple[int, int, int] | None:
        """(channel, key, until when in s) where it was; None = unknown, or too long ago."""
        base = fingerprint % (ENTRIES // _WAYS) * _WAYS
        for place in range(base, base + _WAYS):
            known, channel, key, until_s, check = _ENTRY.unpack_from(self._table, place * _ENTRY.size)
            if known == fingerprint:
                if check != _check(known, channel, key, until_s) or until_s <= now_s:
                    return None
                return channel, key, until_s
        return None

    def put(self, fingerprint: int, channel: int, key: int, until_s: int) -> None:
        """It is there now; of a full set the entry that ends first makes room."""
        base = fingerprint % (ENTRIES // _WAYS) * _WAYS
        soonest, found = 1 << 40, base
        for place in range(base, base + _WAYS):
            known, _, _, until, _ = _ENTRY.unpack_from(self._table, place * _ENTRY.size)
            if known == fingerprint:
                found = place
                break
            if until < soonest:
                soonest, found = until, place
        check = _check(fingerprint, channel & _MASK, key & _MASK, until_s)
        _ENTRY.pack_into(self._table, found * _ENTRY.size, fingerprint, channel & _MASK, key & _MASK, until_s, check)

    def close(self) -> None:
        """Let go of the file."""
        self._table.close()


def _check(fingerprint: int, channel: int, key: int, until_s: int) -> int:
    return (fingerprint ^ fingerprint >> 32 ^ channel * 2_654_435_761 ^ key * 40_503 ^ until_s * 97) & _MASK
