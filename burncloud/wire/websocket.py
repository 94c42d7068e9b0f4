"""WebSocket frames (RFC 6455) without any I/O: the handshake's fields, a reader that follows passing bytes, a writer.

The reader stands beside a tunnel: it never changes or holds up what passes, it knows where messages begin and end
(only there may a frame of ours be put between), and gives whole messages to whom wants to read them.  Extensions
are never negotiated, so the reserved bits are always 0.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import struct
from collections.abc import Iterable
from typing import Final, NamedTuple

GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455 §1.3."""
VERSION: Final = b"13"

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
DATA: Final = frozenset((CONTINUATION, TEXT, BINARY))
OPCODES: Final = DATA | {CLOSE, PING, PONG}
CONTROL_BYTES_MAX: Final = 125
HEAD_BYTES_MAX: Final = 14

# close codes (RFC 6455 §7.4.1; the registry at IANA)
NORMAL, GOING_AWAY, PROTOCOL_ERROR, POLICY, BROKEN, TRY_LATER = 1000, 1001, 1002, 1008, 1011, 1013


class Offer(NamedTuple):
    """What a client that wants a WebSocket says of it."""

    key: bytes
    version: bytes
    protocols: tuple[bytes, ...]


def offer_of(fields: Iterable[tuple[bytes, bytes]]) -> Offer:
    """The offer in a request's fields; what is missing is empty."""
    found: dict[bytes, list[bytes]] = {}
    for name, value in fields:
        lower = name.lower()
        if lower.startswith(b"sec-websocket-"):
            found.setdefault(lower[14:], []).append(value.strip())
    protocols = tuple(name.strip() for name in b",".join(found.get(b"protocol", [])).split(b",") if name.strip())
    return Offer(b",".join(found.get(b"key", [])), b",".join(found.get(b"version", [])), protocols)


def new_key() -> bytes:
    """A Sec-WebSocket-Key for an upstream."""
    return base64.b64encode(secrets.token_bytes(16))


def is_key(key: bytes) -> bool:
    """Whether a client's key is 16 bytes in base64."""
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except ValueError:
        return False


def accept_of(key: bytes) -> bytes:
    """The Sec-WebSocket-Accept that answers a key."""
    return base64.b64encode(hashlib.sha1(key + GUID, usedforsecurity=False).digest())


def frame(opcode: int, payload: bytes = b"", mask: bytes = b"") -> bytes:
    """One whole, final frame; `mask`: four bytes where a client sends it."""
    size, masked = len(payload), 0x80 if mask else 0
    if size < 126:
        head = bytes((0x80 | opcode, masked | size))
    elif size < 1 << 16:
        head = struct.pack(">BBH", 0x80 | opcode, masked | 126, size)
    else:
        head = struct.pack(">BBQ", 0x80 | opcode, masked | 127, size)
    return head + mask + (unmask(payload, mask) if mask else payload)


def close_frame(code: int, reason: str = "") -> bytes:
    """A server's Close."""
    text = reason.encode()[: CONTROL_BYTES_MAX - 2].decode(errors="ignore").encode()
    return frame(CLOSE, struct.pack(">H", code) + text)


def unmask(payload: bytes, mask: bytes) -> bytes:
    """A payload masked, or a masked one as it was."""
    size = len(payload)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "little") ^ int.from_bytes(key, "little")).to_bytes(size, "little")


class BrokenFrames(ValueError):
    """Bytes that are no frames; nothing after them can be read."""


class FrameReader:
    """feed() what passes in one direction; masked or not, cut anywhere."""

    __slots__ = (
        "_final", "_frame", "_head", "_in_message", "_left", "_mask", "_message", "_message_bytes", "_most", "_opcode",
        "closed", "open_bytes",
    )  # fmt: skip

    def __init__(self, message_bytes_max: int) -> None:
        """`message_bytes_max`: longer messages are followed, not given; 0 = none is."""
        self._most = message_bytes_max
        self._head = b""  # of a frame's head, what has come
        self._left = -1  # of its payload, what is still to come; −1 = between two frames
        self._opcode = 0
        self._final = False
        self._mask = b""
        self._frame: list[bytes] = []  # the pieces of its payload, where it is kept
        self._in_message = False  # a message has begun and its final frame has not come
        self._message: list[bytes] = []
        self._message_bytes = 0
        self.open_bytes = 0
        """How many of the bytes fed belong to a message or frame that is not at its end; 0 = something may be put
        between here."""
        self.closed = False
        """A Close has passed."""

    def feed(self, data: bytes) -> list[bytes]:
        """The text and binary messages that these bytes complete.  Raises BrokenFrames."""
        messages: list[bytes] = []
        pos, end, boundary = 0, len(data), -1
        while pos < end:
            if self._left < 0:
                pos = self._begin(data, pos)
                if self._left < 0:
                    break  # the head goes on in the next read
            take = min(self._left, end - pos)
            if take and (self._opcode > BINARY or self._message_bytes <= self._most):
                self._frame.append(data[pos : pos + take])
            pos += take
            self._left -= take
            if not self._left:
                self._finish(messages)
                if not self._in_message:
                    boundary = pos
        self.open_bytes = end - boundary if boundary >= 0 else self.open_bytes + end
        return messages

    def _begin(self, data: bytes, pos: int) -> int:
        """Read a frame's head; where its payload begins."""
        before = len(self._head)
        head = self._head + data[pos : pos + HEAD_BYTES_MAX - before]
        if head[0] & 0x70 or head[0] & 0x0F not in OPCODES:
            raise BrokenFrames("reserved bits or opcode")
        size = _head_size(head)
        if len(head) < size:
            self._head = head
            return len(data)
        self._head = b""
        first, second = head[0], head[1]
        self._final, self._opcode = first >= 0x80, first & 0x0F
        self._mask = head[size - 4 : size] if second >= 0x80 else b""
        length = second & 0x7F
        if length == 126:
            length = int.from_bytes(head[2:4], "big")
        elif length == 127:
            length = int.from_bytes(head[2:10], "big")
        self._check(length)
        self._left = length
        if self._opcode in DATA:
            self._in_message = True
            self._message_bytes += length
            if self._message_bytes > self._most:
                self._message.clear()
        return pos + size - before

    def _check(self, length: int) -> None:
        opcode = self._opcode
        if opcode > BINARY:
            if length > CONTROL_BYTES_MAX or not self._final:
                raise BrokenFrames("a control frame that is long or in parts")
        elif (opcode == CONTINUATION) is not self._in_message:
            raise BrokenFrames("a message inside another, or the end of none")
        if length >> 63:
            raise BrokenFrames("a length beyond all bounds")

    def _finish(self, messages: list[bytes]) -> None:
        """A frame is complete."""
        self._left = -1
        pieces, self._frame = self._frame, []
        if self._opcode > BINARY:
            self.closed = self.closed or self._opcode == CLOSE
            return
        kept = self._message_bytes <= self._most
        if kept and pieces:
            payload = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            self._message.append(unmask(payload, self._mask) if self._mask else payload)
        if self._final:
            if kept and self._most:
                messages.append(self._message[0] if len(self._message) == 1 else b"".join(self._message))
            self._message = []
            self._message_bytes = 0
            self._in_message = False


def _head_size(head: bytes) -> int:
    """How long a frame's head is; 2 while that cannot be known."""
    if len(head) < 2:
        return 2
    length = head[1] & 0x7F
    return 2 + (8 if length == 127 else 2 if length == 126 else 0) + (4 if head[1] >= 0x80 else 0)
