"""The bytes of Anthropic's events, those of the hot path ready but for a number and a string."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from burncloud.adaptors.bodies import event_bytes

PING: Final = b'event: ping\ndata: {"type": "ping"}\n\n'
MESSAGE_STOP: Final = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'

TEXT: Final = (b"text_delta", b"text")
THINKING: Final = (b"thinking_delta", b"thinking")
INPUT: Final = (b"input_json_delta", b"partial_json")
SIGNATURE: Final = (b"signature_delta", b"signature")
"""Kinds of deltas: (type, the member that holds the string)."""

_DELTA: Final = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":{"type":"%s","%s":'
_BLOCK_STOP: Final = b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n'
DELTA_END: Final = b"}}\n\n"

string: Final = msgspec.json.Encoder().encode
"""A string in JSON."""


def event(kind: str, value: dict[str, Any]) -> bytes:
    """Any event; Unreadable if it cannot be written."""
    return b"event: %s\ndata: %s\n\n" % (kind.encode(), event_bytes({"type": kind, **value}))


def block_start(index: int, block: dict[str, Any]) -> bytes:
    """content_block_start."""
    return event("content_block_start", {"index": index, "content_block": block})


def block_stop(index: int) -> bytes:
    """content_block_stop."""
    return _BLOCK_STOP % index


def delta_prefix(index: int, kind: tuple[bytes, bytes]) -> bytes:
    """A content_block_delta up to its string; DELTA_END follows the string."""
    return _DELTA % (index, *kind)


def delta(index: int, kind: tuple[bytes, bytes], text: str) -> bytes:
    """A content_block_delta of a string."""
    return _DELTA % (index, *kind) + string(text) + DELTA_END
