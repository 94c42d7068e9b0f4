"""Everything that is not LLM traffic goes to the control process, which alone authorises it (the wall).

The same connections and the same way back as for upstreams, without money and meter: REST, console, health.
Few at a time, outside the budget of LLM traffic; the head is rebuilt, and who the client is, is said by us alone
(DATAPLANE.md rule 16).
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable
from typing import Final

from burncloud.errors import SERVICE_UNAVAILABLE, Refusal
from burncloud.router.exchange import DIALLING, SENT, Exchange
from burncloud.wire.heads import relay_fields
from burncloud.wire.pool import OriginKey, Pool
from burncloud.wire.tls import TlsSetting
from burncloud.wire.upstream import Upstream

RELAYS_MAX: Final = 64
AWAY_S_MAX: Final = 3.0
"""A control process that is not there is waited for: in a reload another one takes its place in a second."""
AWAY_POLL_S: Final = 0.05


class Relay:
    """The worker's way to the control process."""

    def __init__(
        self, pool: Pool, control: str, trusted_proxies: tuple[str, ...], failed: Callable[[Exchange], None]
    ) -> None:
        """`control`: "/path" of a Unix socket or "host:port"; `failed`: it cannot be reached."""
        self._pool = pool
        self._failed = failed
        if control.startswith("/"):
            key = OriginKey("unix", control, 0, TlsSetting())
        else:
            host, _, port = control.rpartition(":")
            key = OriginKey("http", host, int(port or 0), TlsSetting())
        self._origin = pool.origin(key)
        self._trusted = [ipaddress.ip_network(block) for block in trusted_proxies]
        self.running = 0

    def admit(self, x: Exchange) -> None:
        """Take a request on.  Raises Refusal when there are too many."""
        if self.running >= RELAYS_MAX:
            x.relay = False
            raise Refusal(SERVICE_UNAVAILABLE, "Too many management requests at once", 1)
        self.running += 1

    def over(self, x: Exchange) -> None:
        """A request is over."""
        x.relay = False
        self.running -= 1

    def serve(self, x: Exchange) -> None:
        """Send it to the control process."""
        up = self._origin.take()
        if up is not None:
            self._send(x, up)
            return
        self.dial(x)

    def dial(self, x: Exchange) -> None:
        """Send it on a fresh connection."""
        x.state = DIALLING
        self._pool.dial(self._origin, lambda up, reason: self._dialled(x, up))

    def _dialled(self, x: Exchange, up: Upstream | None) -> None:
        if x.done:
            if up is not None:
                up.abort()
        elif up is not None:
            self._send(x, up)
        elif asyncio.get_running_loop().time() - x.touched < AWAY_S_MAX:
            asyncio.get_running_loop().call_later(AWAY_POLL_S, self._dial_again, x)
        else:
            self._failed(x)

    def _dial_again(self, x: Exchange) -> None:
        if not x.done:
            self.dial(x)

    def _send(self, x: Exchange, up: Upstream) -> None:
        body = x.body.whole() if x.body is not None and not x.body.spooled else b""
        x.up = up
        x.state = SENT
        up.begin(x, x.method == b"HEAD")
        peer = self.client_address(x)
        head = b"%b %b HTTP/1.1\r\nhost: burncloud\r\n%bx-burncloud-peer: %b\r\ncontent-length: %d\r\n\r\n" % (
            x.method, x.url, relay_fields(x.head.fields), peer.encode(), x.body.size if x.body is not None else 0,
        )  # fmt: skip
        up.transport.write(head + body)
        if x.body is not None and x.body.spooled:
            for piece in x.body.pieces():
                up.transport.write(piece)

    def client_address(self, x: Exchange) -> str:
        """The client's address: the connection's, or what a trusted proxy says of it."""
        peer = x.client.peer
        told = [hop.strip() for hop in x.head.forwarded_for.decode("latin-1").split(",")]
        for hop in [peer, *reversed(told)]:
            if hop and not self._is_trusted(hop):
                return hop
        return peer

    def _is_trusted(self, address: str) -> bool:
        try:
            return any(ipaddress.ip_address(address) in block for block in self._trusted)
        except ValueError:
            return False


def allowed_from(address: str, networks: tuple[str, ...]) -> bool:
    """Whether an address lies in one of the networks."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(ip in ipaddress.ip_network(network, strict=False) for network in networks)
