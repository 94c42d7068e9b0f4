"""The bytes of events, those of the hot path ready but for two numbers and a string."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from burncloud.adaptors.bodies import encoded, event_bytes

string: Final = msgspec.json.Encoder().encode
"""A string in JSON."""

TEXT_END: Final = b',"logprobs":[]}\n\n'
END: Final = b"}\n\n"


def event(kind: str, number: int, members: dict[str, Any]) -> bytes:
    """Any event; Unreadable if it cannot be written."""
    value = event_bytes({"type": kind, "sequence_number": number, **members})
    return b"event: %s\ndata: %s\n\n" % (kind.encode(), value)


def delta_head(kind: str) -> bytes:
    """A delta up to its sequence number."""
    return b'event: %s\ndata: {"type":"%s","sequence_number":' % (kind.encode(), kind.encode())


def delta_middle(place: dict[str, Any]) -> bytes:
    """A delta from behind its sequence number up to its string; `place`: item_id and indexes."""
    return b"," + encoded(place)[1:-1] + b',"delta":'
