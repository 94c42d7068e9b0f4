"""Frames: what is written is what wsproto writes, and what passes is read as wsproto reads it, in any cut."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, Message, Ping, Pong, TextMessage
from wsproto.frame_protocol import FrameProtocol, Opcode

from burncloud.wire.websocket import (
    BINARY,
    CLOSE,
    PING,
    TEXT,
    BrokenFrames,
    FrameReader,
    accept_of,
    close_frame,
    frame,
    is_key,
    new_key,
    offer_of,
    unmask,
)

MOST = 1 << 20


def test_the_handshake_of_the_rfc() -> None:
    """RFC 6455 §1.3."""
    assert accept_of(b"dGhlIHNhbXBsZSBub25jZQ==") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_keys() -> None:
    """Ours are keys, each another; what is no 16 bytes in base64 is none."""
    assert is_key(new_key())
    assert new_key() != new_key()
    assert not any(map(is_key, (b"", b"x", b"AAAA", b"dGhlIHNhbXBsZSBub25jZQ", b"dGhlIHNhbXBsZSBub25jZ!==")))


def test_an_offer() -> None:
    """Protocols may stand in one field or in several."""
    fields = [
        (b"Sec-WebSocket-Key", b" k "), (b"sec-websocket-version", b"13"), (b"Host", b"h"),
        (b"Sec-WebSocket-Protocol", b"realtime, a.b"), (b"Sec-WebSocket-Protocol", b"c,"),
    ]  # fmt: skip
    assert offer_of(fields) == (b"k", b"13", (b"realtime", b"a.b", b"c"))
    assert offer_of([]) == (b"", b"", ())


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 70000])
@pytest.mark.parametrize("mask", [b"", b"\1\2\3\4"])
def test_frames_are_what_wsproto_reads(size: int, mask: bytes) -> None:
    """All three lengths, masked and not."""
    payload = bytes(range(256)) * (size // 256 + 1)
    proto = FrameProtocol(client=not mask, extensions=[])
    proto.receive_bytes(frame(BINARY, payload[:size], mask))
    [read] = proto.received_frames()
    assert (read.opcode, read.payload, read.message_finished) == (Opcode.BINARY, payload[:size], True)


def test_a_close() -> None:
    """Code and reason; a reason is cut to what a control frame takes, at a character."""
    connection = Connection(ConnectionType.CLIENT)
    connection.receive_data(close_frame(1001, "Ü" * 100))
    [event] = connection.events()
    assert isinstance(event, CloseConnection)
    assert (event.code, event.reason) == (1001, "Ü" * 61)


LONG = st.sampled_from([125, 126, 127, 65_535, 65_536, 70_000]).map(lambda size: (bytes(range(251)) * 300)[:size])
PARTS = st.lists(st.binary(max_size=40) | LONG, min_size=1, max_size=4)
MESSAGES = st.lists(st.tuples(PARTS, st.lists(st.binary(max_size=20), max_size=2)), max_size=6)


def told(messages: list[tuple[list[bytes], list[bytes]]], client: bool) -> bytes:
    """The messages as wsproto sends them: in fragments, with pings between these."""
    proto = FrameProtocol(client=client, extensions=[])
    data = b""
    for parts, pings in messages:
        for place, part in enumerate(parts):
            data += proto.send_data(part, fin=place == len(parts) - 1)
            data += b"".join(proto.ping(ping) for ping in pings)
    return data


def heard(data: bytes, client: bool) -> list[bytes]:
    """The messages as wsproto's other side reads them."""
    connection = Connection(ConnectionType.SERVER if client else ConnectionType.CLIENT)
    connection.receive_data(data)
    whole: list[bytes] = []
    begun = b""
    for event in connection.events():
        if isinstance(event, Message):
            begun += event.data.encode() if isinstance(event, TextMessage) else bytes(event.data)
            if event.message_finished:
                whole.append(begun)
                begun = b""
        else:
            assert isinstance(event, Ping | Pong)
    return whole


@settings(max_examples=100, deadline=None)
@given(MESSAGES, st.booleans(), st.lists(st.integers(1, 400), min_size=1, max_size=5))
def test_any_cut_reads_the_same(messages: list[tuple[list[bytes], list[bytes]]], client: bool, cuts: list[int]) -> None:
    """Fragmented, interleaved with pings, masked and not, cut anywhere: the messages that wsproto reads."""
    data = told(messages, client)
    reader = FrameReader(MOST)
    read: list[bytes] = []
    pos = turn = 0
    while pos < len(data):
        size = cuts[turn % len(cuts)] * (1 if turn % 7 else 40)
        read += reader.feed(data[pos : pos + size])
        pos += size
        turn += 1
    assert read == heard(data, client) == [b"".join(parts) for parts, _ in messages]
    assert reader.open_bytes == 0


@settings(max_examples=100, deadline=None)
@given(MESSAGES.filter(bool), st.booleans(), st.data())
def test_where_something_may_be_put_between(
    messages: list[tuple[list[bytes], list[bytes]]], client: bool, data: st.DataObject
) -> None:
    """open_bytes counts back to a place where another message fits: read with it there, nothing is lost."""
    whole = told(messages, client)
    cut = data.draw(st.integers(0, len(whole)))
    reader = FrameReader(MOST)
    before = reader.feed(whole[:cut])
    place = cut - reader.open_bytes
    assert 0 <= place <= cut
    ours = frame(TEXT, b"ours", b"abcd" if client else b"")
    read = heard(whole[:place] + ours + whole[place:], client)
    assert read[len(before)] == b"ours"
    assert len(read) == len(messages) + 1


def test_long_messages_are_followed_and_not_kept() -> None:
    """The next one is read again; nothing of the long one stays."""
    reader = FrameReader(10)
    data = frame(TEXT, b"x" * 11) + frame(TEXT, b"short") + bytes([0x01, 6]) + b"y" * 6 + bytes([0x80, 6]) + b"y" * 6
    assert reader.feed(data + frame(TEXT, b"z" * 10)) == [b"short", b"z" * 10]
    assert FrameReader(0).feed(data) == []


def test_a_close_is_noticed() -> None:
    """And only a whole one."""
    reader = FrameReader(0)
    reader.feed(close_frame(1000)[:-1])
    assert not reader.closed
    reader.feed(close_frame(1000)[-1:])
    assert reader.closed


@pytest.mark.parametrize("data", [
    bytes([0xC1, 0]), bytes([0x83, 0]), bytes([0x8B, 0]), bytes([0x09, 0]), bytes([0x89, 126, 0, 126]),
    bytes([0x80, 0]), bytes([0x01, 0, 0x81, 0]), bytes([0x82, 127]) + b"\xff" * 8,
])  # fmt: skip
def test_what_are_no_frames(data: bytes) -> None:
    """Reserved bits and opcodes, long or split control frames, messages inside messages, absurd lengths."""
    with pytest.raises(BrokenFrames):
        FrameReader(MOST).feed(data)


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    """Frames or BrokenFrames, nothing else."""
    reader = FrameReader(MOST)
    try:
        for byte in data:
            reader.feed(bytes([byte]))
    except BrokenFrames:
        pass


def test_unmask_is_its_own_inverse() -> None:
    """And of nothing is nothing."""
    assert unmask(unmask(b"hello", b"\x9a\xbc\xde\xf0"), b"\x9a\xbc\xde\xf0") == b"hello"
    assert unmask(b"", b"abcd") == b""
    assert frame(PING, mask=b"\0\0\0\0") == bytes([0x80 | PING, 0x80, 0, 0, 0, 0])
    assert frame(CLOSE) == bytes([0x88, 0])
