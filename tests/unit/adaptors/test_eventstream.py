"""Frames of AWS event streams, equal to botocore's reading of them."""

from __future__ import annotations

import itertools
import struct
from zlib import crc32

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given, settings
from hypothesis import strategies as st

from burncloud.adaptors import eventstream as es
from burncloud.adaptors.canon import Unreadable
from burncloud.adaptors.eventstream import Decoder, Frame, write_frame

VALUES = st.one_of(
    st.booleans(),
    st.integers(-(1 << 7), (1 << 7) - 1).map(lambda value: (es.BYTE, value)),
    st.integers(-(1 << 15), (1 << 15) - 1).map(lambda value: (es.SHORT, value)),
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.integers(0, 1 << 60).map(lambda value: (es.TIMESTAMP, value)),
    st.binary(min_size=16, max_size=16).map(lambda value: (es.UUID, value)),
    st.binary(max_size=300),
    st.text(max_size=40),
)
NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
FRAMES = st.tuples(st.dictionaries(NAMES, VALUES, max_size=6), st.binary(max_size=400))


def theirs(data: bytes) -> list[Frame]:
    """What botocore reads."""
    buffer = EventStreamBuffer()
    buffer.add_data(data)
    return [Frame(message.headers, message.payload) for message in buffer]


@settings(max_examples=350, deadline=None)
@given(st.lists(FRAMES, min_size=3, max_size=5), st.lists(st.integers(0, 5000), max_size=8))
def test_equal_to_botocore(given_frames: list[tuple[dict[str, object], bytes]], cuts: list[int]) -> None:
    """More than 1,000 frames, cut anywhere."""
    data = b"".join(write_frame(headers, payload) for headers, payload in given_frames)  # type: ignore[arg-type]
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    decoder = Decoder()
    found = [frame for start, end in itertools.pairwise(edges) for frame in decoder.feed(data[start:end])]
    assert found == theirs(data)
    assert [frame.payload for frame in found] == [payload for _, payload in given_frames]
    for frame, (headers, _) in zip(found, given_frames, strict=True):
        assert dict(frame.headers) == {
            name: value[1] if type(value) is tuple else value for name, value in headers.items()
        }
    assert not decoder.is_inside


def test_byte_by_byte() -> None:
    frame = write_frame({":event-type": "chunk", "n": 7}, b"{}" * 50)
    decoder = Decoder()
    found = [made for byte in frame * 3 for made in decoder.feed(bytes((byte,)))]
    assert found == [Frame({":event-type": "chunk", "n": 7}, b"{}" * 50)] * 3


def test_inside() -> None:
    decoder = Decoder()
    assert decoder.feed(write_frame({}, b"")[:-1]) == []
    assert decoder.is_inside
    assert decoder.feed(write_frame({}, b"")[-1:]) == [Frame({}, b"")]
    assert not decoder.is_inside


@pytest.mark.parametrize("at", [0, 5, 9, 14, 40, -1])
def test_damaged(at: int) -> None:
    frame = bytearray(write_frame({":event-type": "chunk"}, b"payload"))
    frame[at] ^= 1
    with pytest.raises(Unreadable):
        Decoder().feed(bytes(frame))


def framed(head: bytes) -> bytes:
    """A frame of any bytes as headers, its checksums right."""
    prelude = struct.pack("!II", len(head) + 16, len(head))
    body = prelude + struct.pack("!I", crc32(prelude)) + head
    return body + struct.pack("!I", crc32(body))


@pytest.mark.parametrize(
    "head",
    [b"\x01", b"\x01a", b"\x01a\x0a", b"\x01a\x07\x00", b"\x01a\x07\x00\x05ab", b"\x01a\x07\x00\x01\xff",
     b"\x01a\x09abc", b"\x01a\x04\x00", b"\x01a\x00\x01a\x00", b"\x09a"],
)  # fmt: skip
def test_malformed_headers(head: bytes) -> None:
    with pytest.raises(Unreadable):
        Decoder().feed(framed(head))


@pytest.mark.parametrize("lengths", [(15, 0), (16, 1), (20, 200_000), ((24 << 20) + 17, 0), (1 << 31, 0)])
def test_impossible_lengths(lengths: tuple[int, int]) -> None:
    prelude = struct.pack("!II", *lengths)
    with pytest.raises(Unreadable):
        Decoder().feed(prelude + struct.pack("!I", crc32(prelude)))


@given(st.binary(max_size=200))
def test_anything(data: bytes) -> None:
    decoder = Decoder()
    try:
        for byte in data:
            decoder.feed(bytes((byte,)))
    except Unreadable:
        pass


@pytest.mark.parametrize("headers", [{"": 1}, {"a" * 256: 1}, {"a": "x" * 65_536}, {"a": 1 << 63}, {"a": (2, 128)}])
def test_what_does_not_fit(headers: dict[str, es.Value | tuple[int, es.Value]]) -> None:
    with pytest.raises(ValueError):
        write_frame(headers, b"")


def test_too_long() -> None:
    with pytest.raises(ValueError):
        write_frame({}, b"x" * (es.PAYLOAD_BYTES_MAX + 1))
