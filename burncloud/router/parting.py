"""The last words to a client whose stream broke off: an error in his dialect, never a false stop."""

from __future__ import annotations

import msgspec

from burncloud.errors import SERVICE_UNAVAILABLE, error_body
from burncloud.router.exchange import Exchange


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
        event = {"type": "error", "code": "server_error", "message": text, "param": None}
        return b"\n\nevent: error\ndata: " + msgspec.json.encode(event) + b"\n\n"
    return b"\n\ndata: " + body + b"\n\n"
