"""What a stream has delivered: nothing is lost, and little is kept."""

from __future__ import annotations

import os
import random
import zlib
from base64 import b64encode
from typing import Any

import pytest

from burncloud.adaptors import record
from burncloud.adaptors.record import PLAINLY_BYTES, Record, Room
from tests.speech import delta, event


def test_all_of_it_comes_back() -> None:
    """However long; a long one takes a small part of its size, and gives that back."""
    room = Room()
    kept = Record(room)
    pieces = [delta(f"word {number}") for number in range(2000)]
    for piece in pieces:
        kept.add(piece)
    whole = b"".join(pieces)
    assert kept.whole() == whole
    taken = record.ROOM_BYTES - room.free
    assert 0 < taken < len(whole) / 10
    kept.drop()
    assert room.free == record.ROOM_BYTES
    assert kept.whole() == b""
    assert not kept.lost


def test_small_blocks_pack_as_well() -> None:
    """Where there are thousands, each packs by what its first block was like."""
    pieces = [delta(f"word {number}") for number in range(2000)]
    taken = []
    for count in (0, 9000):
        room = Room()
        room.count(count)
        kept = Record(room)
        for piece in pieces:
            kept.add(piece)
        assert kept.whole() == b"".join(pieces)
        taken.append(record.ROOM_BYTES - room.free)
    assert taken[1] < 2 * taken[0]


def test_what_does_not_pack_comes_back() -> None:
    """Blocks that stay larger than what is unpacked at once."""
    noise = random.Random(1).randbytes
    room = Room()
    kept = Record(room)
    pieces = [noise(size) for size in (40_000, 1, record.BLOCK_BYTES, 100_000, 700)]
    for piece in pieces:
        kept.add(piece)
    assert kept.whole() == b"".join(pieces)


def test_a_short_one_takes_no_room() -> None:
    """Up to a block there are only references."""
    room = Room(0)
    kept = Record(room)
    kept.add(b"x" * record.BLOCK_BYTES)
    assert kept.whole() == b"x" * record.BLOCK_BYTES


def test_many_streams_hold_less_each() -> None:
    """Blocks are smaller while there are many."""
    room = Room()
    assert room.block == record.BLOCK_BYTES
    kept = [Record(room) for _ in range(2048)]
    assert room.block == record.RAW_BYTES // 2048
    kept += [Record(room) for _ in range(10_000)]
    assert room.block == record.BLOCK_BYTES_MIN
    for one in kept:
        one.drop()
        one.drop()
    assert room.block == record.BLOCK_BYTES


def test_what_is_too_much_is_forgotten() -> None:
    """No room in the worker, or too much for one stream: nobody can say any more what was delivered."""
    noise = random.Random(1).randbytes
    for room, count in ((Room(1000), 2), (Room(), 40)):
        free = room.free
        kept = Record(room)
        for _ in range(count):
            kept.add(noise(record.BLOCK_BYTES + 1))
        assert kept.lost
        assert kept.whole() == b""
        assert room.free == free
        kept.add(b"more")
        assert kept.whole() == b""


def test_large_pieces_are_kept_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between packed ones, whole; the compressor does nothing to them."""
    small, large = delta("word " * 300), event({"image": b64encode(os.urandom(PLAINLY_BYTES)).decode()})
    kept = Record(Room())
    for piece in [small] * 20 + [large] + [small] * 20:
        kept.add(piece)
    assert kept.whole() == small * 20 + large + small * 20
    levels: list[int] = []
    made = zlib.compressobj

    def noted(level: int, *given: Any) -> Any:
        levels.append(level)
        return made(level, *given)

    monkeypatch.setattr(zlib, "compressobj", noted)
    Record(Room()).add(large)
    assert levels == [0]
