"""The last words to a client whose stream broke off: an error in his dialect, never a false stop."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from burncloud.adaptors.meter import Meter
from burncloud.errors import SERVICE_UNAVAILABLE, error_body
from burncloud.router.exchange import Exchange

_NUMBER: Final = re.compile(rb'"sequence_number": ?(\d{1,9})[,}]')


def error_event(x: Exchange) -> bytes:
    """What a stream ends with when its upstream broke off: an error in the caller's dialect, never a false stop."""
    endpoint = x.target.endpoint
    text = "The upstream broke the stream off"
    if endpoint is None:
        return b""
    if x.rescue is not None and x.rescue.ready:
        return x.rescue.lament(text)
    if x.translation is not None:
        return x.translation.cut(text)
    body = error_body(SERVICE_UNAVAILABLE, text, endpoint.shape)
    if endpoint.dialect == "anthropic":
        return b"\n\nevent: error\ndata: " + body + b"\n\n"
    if endpoint.name == "responses":
        event = {
            "type": "error", "sequence_number": _next_number(x), "code": "server_error", "message": text, "param": None,
        }  # fmt: skip
        return b"\n\nevent: error\ndata: " + msgspec.json.encode(event) + b"\n\n"
    return b"\n\ndata: " + body + b"\n\n"


def _next_number(x: Exchange) -> int:
    """Of an event behind those that were delivered; 0 where nobody knows them any more.

    The meter keeps the last events: all that was delivered may take 30 ms to look through.
    """
    rescue = x.rescue
    if isinstance(x.meter, Meter):
        tail = x.meter.tail
    else:
        tail = rescue.record.whole() if rescue is not None and rescue.record is not None else b""
    numbers = _NUMBER.findall(tail)
    return int(numbers[-1]) + 1 if numbers else 0
