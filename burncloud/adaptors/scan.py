"""A walk over the top level of a JSON object that comes in slices.

It finds where each top-level member stands and keeps the values that somebody watches, without
building anything: strings are jumped over by `find`, nested values by one regular expression that
swallows up to eight levels at a time.  About 2-15 ns a byte; text without structure (base64) much
less.  It does not validate what it jumps over: who needs a verdict on that asks a real decoder.
"""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet
from typing import Final

import msgspec

KEY_BYTES_MAX: Final = 1024
"""A longer key cannot be a watched one, whatever its escapes; it is jumped over."""
VALUE_BYTES_MAX: Final = 1 << 20
"""A watched value may be this long."""
MEMBERS_MAX: Final = 10_000
"""More top-level members than this are an attack on our time."""

_FLAT: Final = rb'[^"{}\[\]]++|"[^"\\]*+(?:\\.[^"\\]*+)*+"'


def _nested(levels: int) -> bytes:
    pattern = _FLAT
    for _ in range(levels):
        pattern = _FLAT + rb"|[\[{](?:" + pattern + rb")*+[\]}]"
    return rb"(?:" + pattern + rb")*+"


_RUN: Final = re.compile(_nested(8), re.DOTALL)
_STRING: Final = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_WINDOW: Final = 4096
"""The expression looks this far at once, so that an unclosed bracket costs little."""
_SPACE: Final = re.compile(rb"[ \t\n\r]*+")
_SCALAR: Final = re.compile(rb"[^,{}\[\]\" \t\n\r]*+")

_QUOTE, _BACKSLASH, _COMMA, _COLON, _BEGIN, _END = b'"\\,:{}'
_OPEN, _CLOSE = b"{[", b"}]"

START, FIRST_KEY, NEXT_KEY, KEY, LONG_KEY, COLON, VALUE, STRING, NESTED, NESTED_STRING, SCALAR, AFTER, DONE = range(13)


class Malformed(Exception):
    """The bytes are not a JSON object; the message says why."""


class Member(msgspec.Struct, gc=False):
    """Where one top-level member stands; offsets from the first byte of the text."""

    key: str
    key_start: int
    value_start: int
    value_end: int


def string_end(data: bytes, pos: int) -> int:
    """Where the string whose inside begins at `pos` ends (after its quote), or -1 if not in `data`."""
    quote = data.find(b'"', pos)
    if quote <= pos or data[quote - 1] != _BACKSLASH:
        return quote + 1 or -1
    match = _STRING.match(data, pos)
    return -1 if match is None else match.end()


def decode_key(raw: bytes) -> str:
    """The text of a key from its raw inside; Malformed if it is no JSON string."""
    try:
        return raw.decode() if b"\\" not in raw else msgspec.json.decode(b'"' + raw + b'"', type=str)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise Malformed("a key is not valid text") from None


class TopScanner:
    """feed() the slices, then finish().

    `values` holds the raw value of each watched member (the last, where a key stands twice), `seen` how often
    each watched key came, `members` the places of the watched members (of all with `every`), `end` where
    the last member ends, `lookalike` a key that only letter case keeps from a watched one.  What is kept is
    bounded, whatever comes.  Raises Malformed as soon as the top level is not JSON.
    """

    def __init__(self, watched: AbstractSet[str], every: bool = False) -> None:
        self.values: dict[str, bytes] = {}
        self.seen: dict[str, int] = {}
        self.members: list[Member] = []
        self.end = 0
        self.lookalike = ""
        self.state = START
        self._watched = watched
        self._folded = frozenset(key.casefold() for key in watched)
        self._every = every
        self._count = 0
        self._carry = b""
        self._base = 0
        self._depth = 0
        self._key = ""
        self._key_start = 0
        self._value_start = 0
        self._capturing = False
        self._captured: list[bytes] = []
        self._captured_bytes = 0
        self._value_from = 0

    def feed(self, piece: bytes) -> None:
        """The next slice, in any split."""
        data = self._carry + piece if self._carry else bytes(piece)
        self._carry = b""
        self._value_from = 0
        pos, size = 0, len(data)
        while pos < size:
            pos = self._step(data, pos)
            if pos < 0:
                pos = -pos - 1
                self._carry = data[pos:]
                break
        if self._capturing:
            self._keep(data[self._value_from : pos])
        self._base += pos

    def finish(self) -> None:
        """The text is at its end."""
        if self.state != DONE or self._carry.strip():
            raise Malformed("the JSON object is cut short" if self.state != START else "the body is empty")

    def _step(self, data: bytes, pos: int) -> int:
        """One token on; the new position, or -(position) - 1 where the rest must wait for more bytes."""
        state = self.state
        if state == NESTED:
            return self._nested_run(data, pos)
        if state in (STRING, NESTED_STRING, LONG_KEY):
            return self._string_run(data, pos)
        if state == SCALAR:
            end = _scalar_end(data, pos)
            if end < len(data):
                self._value_done(data, end)
            return end
        if state == KEY:
            return self._key_run(data, pos)
        pos = _space_end(data, pos)
        if pos == len(data):
            return pos
        return self._punctuation(data, pos)

    def _punctuation(self, data: bytes, pos: int) -> int:
        """At a byte that is no space, between tokens."""
        byte, state = data[pos], self.state
        if state == VALUE:
            return self._value(data, pos)
        if state == COLON and byte == _COLON:
            self.state = VALUE
        elif state == AFTER and byte == _COMMA:
            self.state = NEXT_KEY
        elif state in (AFTER, FIRST_KEY) and byte == _END:
            self.state = DONE
        elif state in (FIRST_KEY, NEXT_KEY) and byte == _QUOTE:
            self.state = KEY
            self._key_start = self._base + pos
        elif state == START and byte == _BEGIN:
            self.state = FIRST_KEY
        elif state == START:
            raise Malformed("the body is not a JSON object")
        elif state == DONE:
            raise Malformed("something follows the JSON object")
        else:
            raise Malformed("the body is not valid JSON")
        return pos + 1

    def _key_run(self, data: bytes, pos: int) -> int:
        end = string_end(data, pos)
        if end < 0:
            if len(data) - pos <= KEY_BYTES_MAX:
                return -pos - 1
            self.state = LONG_KEY
            self._key = ""
            return pos
        raw = data[pos : end - 1]
        self._key = decode_key(raw) if len(raw) <= KEY_BYTES_MAX else ""
        self.state = COLON
        return end

    def _value(self, data: bytes, pos: int) -> int:
        """At the first byte of a top-level value."""
        key, byte = self._key, data[pos]
        self._value_start = self._base + pos
        self._count += 1
        if self._count > MEMBERS_MAX:
            raise Malformed(f"more than {MEMBERS_MAX} members")
        if key in self._watched:
            self.seen[key] = self.seen.get(key, 0) + 1
            self._capturing = True
            self._captured = []
            self._captured_bytes = 0
            self._value_from = pos
        elif key.casefold() in self._folded:
            self.lookalike = key
        if byte == _QUOTE:
            self.state = STRING
            return pos + 1
        if byte in _OPEN:
            self.state = NESTED
            self._depth = 1
            return pos + 1
        if byte == _COMMA or byte in _CLOSE:
            raise Malformed("the body is not valid JSON")
        self.state = SCALAR
        return pos

    def _nested_run(self, data: bytes, pos: int) -> int:
        """Inside a nested value: on to its end or to the end of the slice."""
        size, depth = len(data), self._depth
        while pos < size:
            match = _RUN.match(data, pos, pos + _WINDOW)
            if match is not None:
                pos = match.end()
                if pos >= size:
                    break
            byte = data[pos]
            if byte in _OPEN:
                depth += 1
                pos += 1
            elif byte in _CLOSE:
                depth -= 1
                pos += 1
                if depth == 0:
                    self._value_done(data, pos)
                    return pos
            elif byte == _QUOTE:
                end = string_end(data, pos + 1)
                if end < 0:
                    self._depth = depth
                    self.state = NESTED_STRING
                    return pos + 1
                pos = end
        self._depth = depth
        return pos

    def _string_run(self, data: bytes, pos: int) -> int:
        """Inside a string that may span slices."""
        end = string_end(data, pos)
        if end < 0:
            last = len(data) - 1
            at = last
            while at >= pos and data[at] == _BACKSLASH:
                at -= 1
            if (last - at) & 1:
                return -last - 1
            return len(data)
        if self.state == STRING:
            self._value_done(data, end)
        else:
            self.state = NESTED if self.state == NESTED_STRING else COLON
        return end

    def _keep(self, part: bytes) -> None:
        self._captured_bytes += len(part)
        if self._captured_bytes > VALUE_BYTES_MAX:
            raise Malformed(f"the value of {self._key!r} is too long")
        self._captured.append(part)

    def _value_done(self, data: bytes, end: int) -> None:
        self.state = AFTER
        if self._capturing:
            self._capturing = False
            self._keep(data[self._value_from : end])
            self.values[self._key] = b"".join(self._captured)
        self.end = self._base + end
        if self._every or self._key in self._watched:
            self.members.append(Member(self._key, self._key_start, self._value_start, self.end))


def _space_end(data: bytes, pos: int) -> int:
    match = _SPACE.match(data, pos)
    return match.end() if match is not None else pos


def _scalar_end(data: bytes, pos: int) -> int:
    match = _SCALAR.match(data, pos)
    return match.end() if match is not None else pos


def value_end(data: bytes, pos: int) -> int:
    """Where the nested value that opens at `pos` ends, or -1 if not in `data`."""
    depth, size = 0, len(data)
    while pos < size:
        byte = data[pos]
        if byte in _OPEN:
            depth += 1
            pos += 1
        elif byte in _CLOSE:
            depth -= 1
            pos += 1
            if depth <= 0:
                return pos
        elif byte == _QUOTE:
            pos = string_end(data, pos + 1)
            if pos < 0:
                return -1
        match = _RUN.match(data, pos, pos + _WINDOW)
        if match is not None:
            pos = match.end()
    return -1
