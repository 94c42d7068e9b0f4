"""Who may call what: one dependency on every route, and it denies what nobody allowed.

A route states its permission with `@allow(...)`; one without is refused at run time and fails
`tests/unit/server/test_guard.py`.  Only tokens of users with the role "admin" pass ADMIN.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from fastapi import Request

from burncloud.errors import INVALID_TOKEN, PERMISSION_DENIED, Refusal
from burncloud.server.house import PEER_HEADER, House, Principal

PUBLIC: Final = "public"
ADMIN: Final = "admin"
PERMISSIONS: Final = (PUBLIC, ADMIN)

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


def allow(permission: str) -> Callable[[Endpoint], Endpoint]:
    """Mark a route's function with who may call it."""
    if permission not in PERMISSIONS:
        raise ValueError(f"{permission!r} is no permission; use one of {PERMISSIONS}")

    def mark(endpoint: Endpoint) -> Endpoint:
        endpoint.__permission__ = permission  # type: ignore[attr-defined]
        return endpoint

    return mark


def permission_of(endpoint: object) -> str:
    """What `allow` said, or "" where nobody said anything."""
    return str(getattr(endpoint, "__permission__", ""))


def bearer_key(request: Request) -> str:
    """The token in the Authorization header, or ""."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


async def guard(request: Request) -> None:
    """Pass or refuse; the caller, where known, is left in `request.state.principal`."""
    permission = permission_of(request.scope.get("endpoint"))
    if permission == PUBLIC:
        return
    if permission != ADMIN:
        raise Refusal(PERMISSION_DENIED, "Nobody may call this")
    key = bearer_key(request)
    if not key:
        raise Refusal(INVALID_TOKEN, "Send an administrator's token as Authorization: Bearer sk-…")
    house: House = request.app.state.house
    principal: Principal = await house.principal(key, request.headers.get(PEER_HEADER, ""))
    if principal.role != "admin":
        raise Refusal(PERMISSION_DENIED, "This needs a token of an administrator")
    request.state.principal = principal
