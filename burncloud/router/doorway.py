"""Who asks, and may he ask anything now, from there: looked up for each request, and remembered with its connection.

What he may ask for is looked at when the request is read (gateway.py).
"""

from __future__ import annotations

import hashlib

from burncloud.domain.snapshot import Token
from burncloud.errors import INVALID_TOKEN, PERMISSION_DENIED, SERVICE_UNAVAILABLE, TOKEN_EXPIRED, Refusal
from burncloud.router.exchange import Exchange
from burncloud.router.ports import Journal
from burncloud.router.relay import Relay, allowed_from
from burncloud.router.world import World


def know(world: World, x: Exchange) -> Token:
    """Who asks: the token behind the credential, remembered with the connection's head."""
    head = x.head
    credential = head.auth or x.target.key
    if not credential:
        raise Refusal(INVALID_TOKEN, "No token was given; send it as Authorization: Bearer, x-api-key or key=")
    token = world.tokens.get(hashlib.sha256(credential).digest())
    if token is None:
        if not world.loaded:
            raise Refusal(SERVICE_UNAVAILABLE, "Starting, try again", 1)
        raise Refusal(INVALID_TOKEN)
    if head.auth:
        head.memo = token
        head.fields = []  # only a relay asks for them: a connection's memory is better used
    return token


def admit(world: World, journal: Journal, relay: Relay, x: Exchange, token: Token) -> None:
    """May this token ask anything now, from there, and can we take it on."""
    if not token.enabled:
        raise Refusal(INVALID_TOKEN)
    if 0 <= token.expires_at <= x.started_ns // 1_000_000_000:
        raise Refusal(TOKEN_EXPIRED)
    user = world.users.get(token.user)
    if user is None or not user.enabled:
        raise Refusal(PERMISSION_DENIED, "The user of this token is disabled")
    if token.networks and not allowed_from(relay.client_address(x), token.networks):
        raise Refusal(PERMISSION_DENIED, "This token may not be used from your network")
    if not (world.loaded and journal.ready):
        raise Refusal(SERVICE_UNAVAILABLE, "Not ready, try again", 1)
    x.group = token.group or user.group
