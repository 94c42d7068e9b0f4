"""The handshake of a WebSocket: what a client's must hold, what the channel is asked, what the client is answered.

Each leg has a handshake of its own: another key, no extensions (so that frames pass as bytes), and of the client's
subprotocols those that hold no credential.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

import msgspec

from burncloud.adaptors.peek import Peek
from burncloud.errors import INVALID_REQUEST, Refusal
from burncloud.router.exchange import Exchange
from burncloud.router.routes import Target
from burncloud.wire.heads import STATUS_LINES
from burncloud.wire.upstream import Upstream
from burncloud.wire.websocket import VERSION, Offer, accept_of, is_key, new_key

API: Final = "realtime"
KEY_PROTOCOL: Final = b"openai-insecure-api-key."
"""Browsers can set no header: OpenAI takes the key as a subprotocol (OpenAI docs, "Realtime API with WebSockets")."""
PRIVATE_PROTOCOLS: Final = (KEY_PROTOCOL, b"openai-organization.", b"openai-project.")
"""Say who the client is at OpenAI, which is nothing to the channel."""
PROMPT_TOKENS: Final = 4096
"""Reserved for what one answer reads: a session says nothing of its length beforehand."""


def opening(x: Exchange, target: Target) -> Target:
    """The target, with the credential that stands among the subprotocols.  Raises Refusal."""
    offer = x.head.offer
    if x.method != b"GET" or offer is None:
        raise Refusal(INVALID_REQUEST, "This is a WebSocket: ask with GET, Connection: Upgrade and Upgrade: websocket")
    if offer.version != VERSION or not is_key(offer.key):
        raise Refusal(INVALID_REQUEST, "Sec-WebSocket-Version must be 13, Sec-WebSocket-Key 16 bytes in base64")
    if x.length > 0 or x.head.chunked:
        raise Refusal(INVALID_REQUEST, "A request for a WebSocket has no body")
    if not target.model:
        raise Refusal(INVALID_REQUEST, "`model` is required: /v1/realtime?model=…")
    if target.key:
        return target
    for name in offer.protocols:
        if name.startswith(KEY_PROTOCOL):
            return msgspec.structs.replace(target, key=name[len(KEY_PROTOCOL) :])
    return target


def asked(x: Exchange) -> Peek:
    """What routing and money must know of a session that begins."""
    x.model = x.target.model
    x.endpoint = API
    x.stream = True
    x.prompt = PROMPT_TOKENS
    return Peek(x.model, True)


def ask(x: Exchange) -> None:
    """Set `x.upload` for the channel chosen: the request for a WebSocket to it."""
    outlet, target = x.outlet, x.target
    reach = outlet.reach
    x.upstream_model = name = outlet.models.get(x.model) or x.model
    named = b"model=" + quote(name, safe="").encode()
    query = b"?" + b"&".join([named, target.query[1:]] if target.query else [named])
    head = b"".join(
        line + b"\r\n" for line in x.head.forward.split(b"\r\n") if line and not line.lower().startswith(b"content-")
    )
    if reach is None:
        where = outlet.path(target.path) + query
    else:
        own = reach.path(API, name, True, target.path)
        if own is None:
            where = reach.with_query(outlet.path(target.path), query)
        else:
            where = reach.with_query(own, target.query)  # a place of its own has the model in it
        head = reach.head(head, API) + reach.signature(x.key.secret, b"GET", where, ())
    x.opening_key = key = new_key()
    offered = b", ".join(_protocols(x.head.offer))
    x.upload = b"GET %b HTTP/1.1\r\n%bconnection: Upgrade\r\nupgrade: websocket\r\n%b%b%b\r\n" % (
        where, x.key.head, b"sec-websocket-version: 13\r\nsec-websocket-key: %b\r\n" % key,
        b"sec-websocket-protocol: %b\r\n" % offered if offered else b"", head,
    )  # fmt: skip


def answer(x: Exchange, up: Upstream) -> bytes:
    """The head that opens the client's leg; b"" if the upstream's does not open ours."""
    said = up.head.forward
    offer = x.head.offer
    ours: dict[bytes, bytes] = {}
    passed: list[bytes] = []
    for at in range(0, len(said), 4):
        lower = said[at].lower()
        if lower.startswith(b"sec-websocket-"):
            ours[lower[14:]] = said[at + 2].strip()
        elif not lower.startswith(b"content-"):
            passed += said[at : at + 4]
    offered = _protocols(offer)
    chosen = ours.get(b"protocol", b"")
    if offer is None or ours.get(b"accept") != accept_of(x.opening_key) or ours.get(b"extensions"):
        return b""
    if chosen and chosen not in offered:
        return b""
    if not chosen and API.encode() in offered:
        chosen = API.encode()  # browsers want one of theirs to be chosen
    return b"".join((
        STATUS_LINES[101], b"connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: ",
        accept_of(offer.key), b"\r\n", b"sec-websocket-protocol: %b\r\n" % chosen if chosen else b"", *passed,
        b"x-request-id: %b\r\n" % x.request_id.encode(), x.outlet.ref_field, b"\r\n",
    ))  # fmt: skip


def _protocols(offer: Offer | None) -> list[bytes]:
    """The subprotocols that are no credentials."""
    return [name for name in offer.protocols if not name.startswith(PRIVATE_PROTOCOLS)] if offer is not None else []
