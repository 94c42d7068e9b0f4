"""What a stream has delivered so far, kept cheaply in case it breaks.

The last reads are copied to one buffer (half the time of a list of references), and every block of them is packed:
events, all alike but for a word, pack to a seventeenth of their size.  A block is packed as what goes on from the end
of the first one, so that small ones pack as well as large ones.  So nothing of it is lost and nothing is interpreted
until the stream breaks, which hardly any does (DATAPLANE.md rule 14; docs/decisions/0090).
What all streams of a worker keep is counted in one `Room`: the more there are, the smaller are their blocks; a stream
that finds no room left forgets its record.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final

BLOCK_BYTES: Final = 16 << 10
"""Where there are few: 35 µs, 0.7 an event of OpenAI's."""
BLOCK_BYTES_MIN: Final = 1536
"""8 µs, 1.6 an event."""
LIKE_BYTES: Final = 384
"""Of the first block, to pack the others by: an event or two."""
RAW_BYTES: Final = 16 << 20
"""What is not packed yet of all streams together, about."""
PACKED_BYTES_MAX: Final = 256 << 10
"""Of one stream: about as much as 64 KiB of text need in OpenAI's chunks, with their ids and padding."""
PLAINLY_BYTES: Final = 48 << 10
"""More in one piece is kept as it is: an image in one event would take 30 ms a MiB to pack, and stay as large."""
AT_ONCE_BYTES_MAX: Final = 192 << 10
"""Still more would not fit."""
ROOM_BYTES: Final = 64 << 20
LEVEL, WINDOW_BITS, MEMORY_LEVEL = 1, 13, 6
"""A compressor of 64 KiB in place of 256: half the time for small blocks, and no holes in the heap."""


class Room:
    """What the records of a worker may hold together."""

    __slots__ = ("_count", "block", "free")

    def __init__(self, size: int = ROOM_BYTES) -> None:
        self.free = size
        self.block = BLOCK_BYTES
        """Bytes that a record holds before it packs them."""
        self._count = 0

    def count(self, change: int) -> None:
        """A record begins (1) or ends (−1)."""
        self._count += change
        self.block = max(BLOCK_BYTES_MIN, min(BLOCK_BYTES, RAW_BYTES // (self._count or 1)))


class Record:
    """add() what is delivered, whole() when it is needed, drop() at the end."""

    __slots__ = ("_counted", "_like", "_packed", "_raw", "_room", "_taken", "lost")

    def __init__(self, room: Room) -> None:
        self._room = room
        self._raw = bytearray()
        self._packed = bytearray()
        self._like = b""
        """What all blocks but the first were packed by."""
        self._taken = 0
        self._counted = True
        room.count(1)
        self.lost = False
        """It grew too large, or there was no room: nobody can say what was delivered."""

    def add(self, data: bytes) -> None:
        """More was delivered."""
        raw = self._raw
        raw += data
        if len(raw) > self._room.block:
            self._pack()

    def _pack(self) -> None:
        block, self._raw = self._raw, bytearray()
        if self.lost:
            return
        if len(block) > AT_ONCE_BYTES_MAX:
            self.forget()
            return
        compressor = zlib.compressobj(
            LEVEL if len(block) <= PLAINLY_BYTES else 0,
            zlib.DEFLATED,
            -WINDOW_BITS,
            MEMORY_LEVEL,
            zlib.Z_DEFAULT_STRATEGY,
            self._like,
        )
        packed = compressor.compress(block) + compressor.flush()
        size = len(packed)
        if self._taken + size > PACKED_BYTES_MAX or size > self._room.free:
            self.forget()
            return
        self._room.free -= size
        self._taken += size
        self._packed += packed
        if not self._like:
            self._like = bytes(block[-LIKE_BYTES:])

    def whole(self) -> bytes:
        """All that was delivered; b"" if it is lost."""
        return b"".join(self.blocks())

    def blocks(self) -> Iterator[bytes]:
        """The same in pieces of whole reads; it may be dropped meanwhile."""
        if self.lost:
            return
        packed, raw, used, like, pos = self._packed, self._raw, self._like, b"", 0
        while pos < len(packed):
            block, parts = zlib.decompressobj(-WINDOW_BITS, like), []
            while not block.eof:
                piece = packed[pos : pos + BLOCK_BYTES]
                parts.append(block.decompress(piece))
                pos += len(piece)
            pos -= len(block.unused_data)
            like = used
            yield b"".join(parts)
        if raw:
            yield bytes(raw)

    def forget(self) -> None:
        """It is not to be had any more."""
        self.drop()
        self.lost = True

    def drop(self) -> None:
        """It is not needed any more."""
        self._room.free += self._taken
        if self._counted:
            self._counted = False
            self._room.count(-1)
        self._taken = 0
        self._packed, self._like, self._raw = bytearray(), b"", bytearray()
