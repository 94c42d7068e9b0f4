"""The link: framed messages between each worker and the control process, over a private stream socket.

Framing is `length u32 · msgpack` (domain/link.py).  The worker's end comes back by itself after a break;
while it is away the worker serves on from its Snapshot and leases.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

import msgspec

from burncloud.domain import link

RETRY_S: Final = 0.05

M = TypeVar("M")


class Peer(asyncio.Protocol, Generic[M]):
    """One end of a connection; `on_message(peer, message)` for each message, `on_close(peer)` once."""

    def __init__(
        self,
        decoder: msgspec.msgpack.Decoder[M],
        on_open: Callable[[Peer[M]], None],
        on_message: Callable[[Peer[M], M], None],
        on_close: Callable[[Peer[M]], None],
    ) -> None:
        self._decoder = decoder
        self._on_open = on_open
        self._on_message = on_message
        self._on_close = on_close
        self._buffer = bytearray()
        self.transport: Any = None
        self.open = False
        self.context: Any = None
        """For the owner: what it knows of this peer."""

    def connection_made(self, transport: Any) -> None:
        """The connection stands."""
        self.transport = transport
        self.open = True
        self._on_open(self)

    def data_received(self, data: bytes) -> None:
        """Bytes of messages; a malformed one ends the connection."""
        buffer = self._buffer
        buffer += data
        offset = 0
        size = len(buffer)
        while size - offset >= 4:
            length = int.from_bytes(buffer[offset : offset + 4], "little")
            if length > link.FRAME_BYTES_MAX:
                self.close()
                return
            if size - offset - 4 < length:
                break
            payload = bytes(buffer[offset + 4 : offset + 4 + length])
            offset += 4 + length
            try:
                message = self._decoder.decode(payload)
            except msgspec.DecodeError:
                self.close()
                return
            self._on_message(self, message)
        del buffer[:offset]

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        if self.open:
            self.open = False
            self._on_close(self)

    def send(self, message: link.ToControl | link.ToWorker) -> None:
        """Queue a message; nothing happens if the connection is gone."""
        if self.open:
            self.transport.write(link.frame(message))

    def send_raw(self, frames: bytes) -> None:
        """Queue whole frames made before (the Snapshot, shared by all workers)."""
        if self.open:
            self.transport.write(frames)

    def close(self) -> None:
        """End the connection."""
        if self.transport is not None:
            self.transport.close()


class LinkServer:
    """Control's end: a Unix socket (0600), or loopback TCP where there are none."""

    def __init__(
        self,
        address: str,
        on_open: Callable[[Peer[link.ToControl]], None],
        on_message: Callable[[Peer[link.ToControl], link.ToControl], None],
        on_close: Callable[[Peer[link.ToControl]], None],
    ) -> None:
        self._address = address
        self._make = lambda: Peer(link.decode_to_control, on_open, on_message, on_close)
        self._server: asyncio.Server | None = None

    async def start(self) -> str:
        """Listen; the address that workers use ("/path" or "127.0.0.1:port")."""
        loop = asyncio.get_running_loop()
        if self._address.startswith("/"):
            mask = os.umask(0o177)
            try:
                self._server = await loop.create_unix_server(self._make, self._address)
            finally:
                os.umask(mask)
            return self._address
        host, _, port = self._address.rpartition(":")
        self._server = await loop.create_server(self._make, host, int(port))
        return f"{host}:{self._server.sockets[0].getsockname()[1]}"

    def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()


class LinkClient:
    """A worker's end: connects, and connects again after a break, until closed."""

    def __init__(
        self,
        address: str,
        on_open: Callable[[Peer[link.ToWorker]], None],
        on_message: Callable[[Peer[link.ToWorker], link.ToWorker], None],
        on_close: Callable[[Peer[link.ToWorker]], None],
    ) -> None:
        self._address = address
        self._on_open = on_open
        self._on_message = on_message
        self._lost = on_close
        self._peer: Peer[link.ToWorker] | None = None
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def up(self) -> bool:
        """Whether messages can be sent now."""
        return self._peer is not None and self._peer.open

    def start(self) -> None:
        """Begin to connect."""
        self._task = asyncio.get_running_loop().create_task(self._connect(0.0), name="link")

    def send(self, message: link.ToControl) -> bool:
        """Send a message; False if the link is down."""
        if self._peer is None or not self._peer.open:
            return False
        self._peer.send(message)
        return True

    def close(self) -> None:
        """End the connection for good."""
        self._closed = True
        if self._peer is not None:
            self._peer.close()

    async def _connect(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        loop = asyncio.get_running_loop()

        def make() -> Peer[link.ToWorker]:
            return Peer(link.decode_to_worker, self._on_open, self._on_message, self._on_close)

        while not self._closed:
            try:
                if self._address.startswith("/"):
                    _, self._peer = await loop.create_unix_connection(make, self._address)
                else:
                    host, _, port = self._address.rpartition(":")
                    _, self._peer = await loop.create_connection(make, host, int(port))
                return
            except OSError:
                await asyncio.sleep(RETRY_S)

    def _on_close(self, peer: Peer[link.ToWorker]) -> None:
        self._peer = None
        self._lost(peer)
        if not self._closed:
            # not at once: a control process that turns us away must not be asked without a pause
            self._task = asyncio.get_running_loop().create_task(self._connect(RETRY_S), name="link")
