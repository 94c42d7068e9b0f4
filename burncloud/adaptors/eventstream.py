"""The AWS event stream: binary frames of headers and a payload (application/vnd.amazon.eventstream).

A frame is: length of all (4 bytes), length of the headers (4), CRC-32 of these eight, the headers, the payload, CRC-32
of all before.  A header is: length of its name (1), the name, its type (1), its value.  Smithy spec, "Amazon Event
Stream Encoding"; the limits are botocore's.  Most frames of a stream have the same few headers, so these are
remembered.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NamedTuple
from zlib import crc32

from burncloud.adaptors.canon import Unreadable

HEADERS_BYTES_MAX: Final = 128 << 10
PAYLOAD_BYTES_MAX: Final = 24 << 20
_AROUND: Final = 16
"""Bytes of a frame that are neither headers nor payload."""

TRUE, FALSE, BYTE, SHORT, INT, LONG, BYTES, STRING, TIMESTAMP, UUID = range(10)
"""Types of header values; a timestamp is in milliseconds since 1970, a UUID is its 16 bytes."""

Value = bool | int | bytes | str
Headers = Mapping[str, Value]

_PRELUDE: Final = struct.Struct("!III")
_WORD: Final = struct.Struct("!I")
_SIZE: Final = struct.Struct("!H")
_INTEGERS: Final = {
    BYTE: struct.Struct("!b"), SHORT: struct.Struct("!h"), INT: struct.Struct("!i"), LONG: struct.Struct("!q"),
    TIMESTAMP: struct.Struct("!q"),
}  # fmt: skip


class Frame(NamedTuple):
    """One message of a stream.  The headers are shared between frames: not to be changed."""

    headers: Headers
    payload: bytes


# Reading


class Decoder:
    """feed() bytes in any split, get the frames that they complete."""

    __slots__ = ("_held", "_need")

    def __init__(self) -> None:
        self._held = bytearray()
        self._need = 0
        """The length of the frame in progress; 0 = not yet known."""

    @property
    def is_inside(self) -> bool:
        """Whether a frame has begun and not ended: true at the end of a stream that was cut off."""
        return bool(self._held)

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that end in these bytes; Unreadable if a checksum is wrong or the framing is broken."""
        held = self._held
        if held:
            held += data
            if len(held) < (self._need or 12):
                return []
            data = bytes(held)
            held.clear()
        found: list[Frame] = []
        pos, size = 0, len(data)
        self._need = 0
        while size - pos >= 12:
            total, head = _prelude(data, pos)
            end = pos + total
            if end > size:
                self._need = total
                break
            if crc32(data[pos : end - 4]) != _WORD.unpack_from(data, end - 4)[0]:
                raise Unreadable("a frame of the stream has a wrong checksum")
            start = pos + 12
            found.append(Frame(read_headers(data[start : start + head]), data[start + head : end - 4]))
            pos = end
        if pos < size:
            held += data[pos:] if pos else data
        return found

    def finish(self) -> list[Frame]:
        """A frame that is not complete is none."""
        return []


def _prelude(data: bytes, pos: int) -> tuple[int, int]:
    """(length of the frame, length of its headers)."""
    total, head, checksum = _PRELUDE.unpack_from(data, pos)
    if crc32(data[pos : pos + 8]) != checksum:
        raise Unreadable("the stream is not an AWS event stream, or damaged")
    if not (head <= HEADERS_BYTES_MAX and 0 <= total - head - _AROUND <= PAYLOAD_BYTES_MAX):
        raise Unreadable("a frame of the stream has an impossible length")
    return total, head


@lru_cache(maxsize=64)
def _short_headers(data: bytes) -> Headers:
    return _headers(data)


def read_headers(data: bytes) -> Headers:
    """The headers of a frame; Unreadable if they are malformed."""
    return _short_headers(data) if len(data) <= 256 else _headers(data)


def _headers(data: bytes) -> Headers:
    found: dict[str, Value] = {}
    pos, size = 0, len(data)
    try:
        while pos < size:
            start = pos + 1
            pos = start + data[pos]
            name = data[start:pos].decode()
            if name in found:
                raise Unreadable("a frame of the stream has a header twice")
            found[name], pos = _value(data, pos)
    except (IndexError, struct.error, UnicodeDecodeError):
        raise Unreadable("a frame of the stream has a malformed header") from None
    if pos > size:
        raise Unreadable("a frame of the stream has a malformed header")
    return found


def _value(data: bytes, pos: int) -> tuple[Value, int]:
    """(value, where it ends) of the type that stands at `pos`."""
    kind = data[pos]
    pos += 1
    if kind in (TRUE, FALSE):
        return kind == TRUE, pos
    if kind in (BYTES, STRING):
        start = pos + 2
        pos = start + _SIZE.unpack_from(data, pos)[0]
        return (data[start:pos] if kind == BYTES else data[start:pos].decode()), pos
    if kind == UUID:
        return data[pos : pos + 16], pos + 16
    integer = _INTEGERS.get(kind)
    if integer is None:
        raise Unreadable("a frame of the stream has a header of an unknown type")
    found: int = integer.unpack_from(data, pos)[0]
    return found, pos + integer.size


# Writing


def write_frame(headers: Mapping[str, Value | tuple[int, Value]], payload: bytes) -> bytes:
    """A frame.  A value's type follows from Python's (int: INT or LONG), or is given: (TIMESTAMP, 1700000000000)."""
    return framed(write_headers(headers), payload)


def framed(head: bytes, payload: bytes) -> bytes:
    """A frame of headers that are written already; ValueError if it is too long for any reader."""
    if len(head) > HEADERS_BYTES_MAX or len(payload) > PAYLOAD_BYTES_MAX:
        raise ValueError("a frame of an event stream is too long")
    lengths = (len(head) + len(payload) + _AROUND, len(head))
    body = b"%b%b%b" % (_PRELUDE.pack(*lengths, crc32(struct.pack("!II", *lengths))), head, payload)
    return body + _WORD.pack(crc32(body))


def write_headers(headers: Mapping[str, Value | tuple[int, Value]]) -> bytes:
    """The headers of a frame; ValueError for what does not fit."""
    parts: list[bytes] = []
    for name, given in headers.items():
        kind, value = given if type(given) is tuple else (_kind(given), given)
        raw = name.encode()
        if not 0 < len(raw) < 256:
            raise ValueError("a header of an event stream needs a name of 1 to 255 bytes")
        parts += (bytes((len(raw),)), raw, bytes((kind,)), _written(kind, value))
    return b"".join(parts)


def _kind(value: object) -> int:
    if type(value) is bool:
        return TRUE if value else FALSE
    if type(value) is int:
        return INT if -(1 << 31) <= value < 1 << 31 else LONG
    return BYTES if type(value) is bytes else STRING


def _written(kind: int, value: object) -> bytes:
    integer = _INTEGERS.get(kind)
    try:
        if integer is not None:
            return integer.pack(value)
        if isinstance(value, str | bytes):
            raw = value.encode() if isinstance(value, str) else value
            if kind == UUID and len(raw) == 16:
                return raw
            return _SIZE.pack(len(raw)) + raw
    except struct.error:
        raise ValueError("a header of an event stream has a value that does not fit its type") from None
    return b""
