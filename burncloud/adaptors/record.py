"""What a stream has delivered so far, kept cheaply in case it breaks.

The last reads are kept as they came, by reference; every BLOCK_BYTES of them are packed (a block of events, all alike
but for a word, packs to a seventeenth of its size and costs 45 µs).  So nothing of it is lost and nothing is
interpreted until the stream breaks, which hardly any does (DATAPLANE.md rule 14; docs/decisions/0090).  What all
streams of a worker keep is counted in one `Room`; a stream that finds none left forgets its record.
"""

from __future__ import annotations

import zlib
from typing import Final

BLOCK_BYTES: Final = 16 << 10
PACKED_BYTES_MAX: Final = 256 << 10
"""Of one stream: about as much as 64 KiB of text need in OpenAI's chunks, with their ids and padding."""
ROOM_BYTES: Final = 64 << 20
LEVEL: Final = 1


class Room:
    """What the records of a worker may hold together."""

    __slots__ = ("free",)

    def __init__(self, size: int = ROOM_BYTES) -> None:
        self.free = size


class Record:
    """add() what is delivered, whole() when it is needed, drop() at the end."""

    __slots__ = ("_held", "_packed", "_pieces", "_room", "_taken", "lost")

    def __init__(self, room: Room) -> None:
        self._room = room
        self._pieces: list[bytes] = []
        self._held = 0
        self._packed: list[bytes] = []
        self._taken = 0
        self.lost = False
        """It grew too large, or there was no room: nobody can say what was delivered."""

    def add(self, data: bytes) -> None:
        """More was delivered."""
        self._pieces.append(data)
        self._held += len(data)
        if self._held > BLOCK_BYTES:
            self._pack()

    def _pack(self) -> None:
        block = b"".join(self._pieces)
        self._pieces, self._held = [], 0
        if self.lost:
            return
        packed = zlib.compress(block, LEVEL)
        size = len(packed)
        if self._taken + size > PACKED_BYTES_MAX or size > self._room.free:
            self.forget()
            return
        self._room.free -= size
        self._taken += size
        self._packed.append(packed)

    def whole(self) -> bytes:
        """All that was delivered; b"" if it is lost."""
        if self.lost:
            return b""
        return b"".join([*(zlib.decompress(block) for block in self._packed), *self._pieces])

    def forget(self) -> None:
        """It is not to be had any more."""
        self.drop()
        self.lost = True

    def drop(self) -> None:
        """It is not needed any more."""
        self._room.free += self._taken
        self._taken, self._held = 0, 0
        self._packed, self._pieces = [], []
