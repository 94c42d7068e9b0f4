"""Names to addresses: asked once, refreshed on the side, kept when the asking fails.

A look-up never stands in a request's way after the first: an answer older than REFRESH_S is used and renewed
in the background, and stays in use on error (DATAPLANE.md rule 18).
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import Final

from burncloud import clock

REFRESH_MS: Final = 30_000

Address = tuple[int, str, int]
"""(family, address, port)."""


class Resolver:
    """Addresses of hosts, with the ones refused that no channel may reach."""

    def __init__(self, denied: tuple[str, ...] = ()) -> None:
        self._known: dict[tuple[str, int], tuple[int, list[Address]]] = {}
        self._asking: dict[tuple[str, int], asyncio.Task[list[Address]]] = {}
        self._denied = [ipaddress.ip_network(block, strict=False) for block in denied]

    async def addresses(self, host: str, port: int) -> list[Address]:
        """Allowed addresses of a host, in the system's order.

        Raises OSError if the name is unknown or all of its addresses are denied.
        """
        key = (host, port)
        known = self._known.get(key)
        if known is None:
            # several may wait for this answer; who gives up must not take it from the others
            return await asyncio.shield(self._ask(key))
        if clock.monotonic_ms() - known[0] > REFRESH_MS:
            self._ask(key)
        return known[1]

    def _ask(self, key: tuple[str, int]) -> asyncio.Task[list[Address]]:
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.get_running_loop().create_task(self._resolve(key), name=f"dns {key[0]}")
            task.add_done_callback(_retrieve)
        return task

    async def _resolve(self, key: tuple[str, int]) -> list[Address]:
        try:
            loop = asyncio.get_running_loop()
            found = await loop.getaddrinfo(key[0], key[1], type=socket.SOCK_STREAM)
            addresses = [(int(family), str(at[0]), key[1]) for family, _, _, _, at in found]
            allowed = [a for a in addresses if not self._is_denied(a[1])]
            if not allowed:
                raise OSError(f"no allowed address for {key[0]}")
            self._known[key] = (clock.monotonic_ms(), allowed)
            return allowed
        finally:
            self._asking.pop(key, None)

    def check(self, host: str) -> None:
        """Before a proxy is asked for a host, whose name it will resolve: OSError if it is a denied address itself."""
        try:
            denied = self._is_denied(host)
        except ValueError:
            return
        if denied:
            raise OSError(f"the address {host} is denied")

    def _is_denied(self, address: str) -> bool:
        ip = ipaddress.ip_address(address.partition("%")[0])
        mapped = getattr(ip, "ipv4_mapped", None)
        return any((mapped or ip) in block for block in self._denied if block.version == (mapped or ip).version)


def _retrieve(task: asyncio.Task[list[Address]]) -> None:
    """A failure that nobody waits for any more is no news."""
    if not task.cancelled():
        task.exception()
