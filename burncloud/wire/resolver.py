"""Names to addresses: asked once, refreshed on the side, kept when the asking fails.

A look-up never stands in a request's way after the first: an answer older than REFRESH_MS is used and renewed in the
background, and stays in use on error (DATAPLANE.md rule 18).  Only one that nobody has wanted for long is waited for.
Who holds connections looks now and then (`look`), so that what has left the answers for good is known (`left`).
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from typing import Final

from burncloud import clock

REFRESH_MS: Final = 30_000
STALE_MS: Final = 300_000
"""So old an answer is used only where no new one is to be had."""
LEFT_MS: Final = 45_000
"""An address that was in no answer for so long has left: some name servers show a part of theirs at a time."""
FORGET_MS: Final = 600_000

_NONE: Final[frozenset[str]] = frozenset()

Address = tuple[int, str, int]
"""(family, address, port)."""


class Resolver:
    """Addresses of hosts, with the ones refused that no channel may reach."""

    def __init__(self, denied: tuple[str, ...] = ()) -> None:
        self._known: dict[tuple[str, int], tuple[int, list[Address]]] = {}
        self._last: dict[tuple[str, int], dict[str, int]] = {}
        """Each address of a host → when it was in an answer last."""
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
        age_ms = clock.monotonic_ms() - known[0]
        if age_ms > STALE_MS:
            with contextlib.suppress(OSError):
                return await asyncio.shield(self._ask(key))
        elif age_ms > REFRESH_MS:
            self._ask(key)
        return known[1]

    def look(self, host: str, port: int) -> None:
        """Somebody is connected there: have an old answer renewed."""
        known = self._known.get((host, port))
        if known is not None and clock.monotonic_ms() - known[0] > REFRESH_MS:
            self._ask((host, port))

    def left(self, host: str, port: int) -> frozenset[str]:
        """Addresses that the host had, and has not any more; nothing leaves because nobody answers."""
        known = self._known.get((host, port))
        if known is None:
            return _NONE
        last = self._last.get((host, port), {})
        gone = [address for address, seen_ms in last.items() if seen_ms < known[0] - LEFT_MS]
        return frozenset(gone) if gone else _NONE

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
            now_ms = clock.monotonic_ms()
            before_ms = self._known.get(key, (now_ms, allowed))[0]  # nobody is forgotten for want of an answer
            self._known[key] = (now_ms, allowed)
            seen = self._last.get(key, {}) | dict.fromkeys((a[1] for a in allowed), now_ms)
            self._last[key] = {address: at for address, at in seen.items() if at > before_ms - FORGET_MS}
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
