"""What the REST side asks of the running house: a small face that app/control.py implements.

Everything here is answered from memory or by one short query, so that no page can hold up the books.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

PEER_HEADER = "x-burncloud-peer"
"""The client's address as the worker saw it (trusted proxies resolved).  Clients cannot send it: a worker
drops every x-burncloud-* header before it relays."""


class Health(msgspec.Struct, frozen=True):
    """Whether the house can serve right now."""

    ready: bool
    reasons: tuple[str, ...] = ()
    """Why it is not ready: one short sentence each, fit for the public."""
    checks: dict[str, bool] = {}
    """Each thing that readiness stands on: schema, database, workers, journal."""


class Principal(msgspec.Struct, frozen=True):
    """Who calls: a user known by one of his tokens."""

    user: int
    name: str
    role: str
    """"admin" or "user"."""


class House(Protocol):
    """The running product, as the REST side sees it."""

    version: str

    async def health(self) -> Health:
        """Liveness is that this answers at all."""
        ...

    async def status(self) -> dict[str, object]:
        """Version, workers and their counters, journals, leases: the body of /api/v1/status."""
        ...

    async def states(self) -> list[dict[str, object]]:
        """How the parts of channels stand that were not ready at some time."""
        ...

    async def principal(self, key: str, peer: str) -> Principal:
        """Who holds this token.  Raises Refusal (401, 403) where it is unknown, expired, off or out of its network."""
        ...
