"""Upstreams on real sockets that act the scripts (faults.py), plain and TLS, and remember what they saw."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import time
from dataclasses import dataclass
from typing import Final, Literal

from tests.faults.faults import FIN, HANG, RESET, End, Plan, Wait
from tests.faults.voices import Asked, Body, Voice
from tests.upstream.server import HEAD_BYTES_MAX, Gone, Visited, Wire, parse_head

Door = Literal["plain", "tls", "stranger", "refused", "black hole", "mute", "no tls"]
"""How connections are met: served; served over TLS; with a certificate of nobody's; refused; never accepted; accepted
without a word of TLS; with plain HTTP where TLS was asked for."""
SECURE: Final = ("tls", "stranger", "mute", "no tls")


@dataclass
class Visit:
    """One request that arrived."""

    n: int
    started: float
    stream: bool
    prefill: str
    body: Body
    target: str
    client_request: str
    connection: int
    bytes_sent: int = 0
    end: str = ""
    """"" still at it · answered · reset · fin · gone (the gateway left first)."""
    ended: float = 0.0

    @property
    def lasted_s(self) -> float:
        """Until its end."""
        return (self.ended or time.monotonic()) - self.started


class Upstream(Visited):
    """One upstream: a voice, a plan, a door."""

    def __init__(self, who: str, voice: Voice, plan: Plan, door: Door = "plain") -> None:
        super().__init__()
        self.who, self.voice, self.plan, self.door = who, voice, plan, door
        self.visits: list[Visit] = []
        self.errors: list[str] = []
        """What a gateway should never have sent."""
        self.port = 0
        self._sockets: list[socket.socket] = []

    @property
    def base_url(self) -> str:
        """As a channel names it."""
        host = "https://localhost" if self.door in SECURE else "http://127.0.0.1"
        return f"{host}:{self.port}{self.voice.base_path}"

    async def open(self, contexts: dict[str, ssl.SSLContext]) -> None:
        """Listen, or see to it that nobody can come in."""
        if self.door in ("refused", "black hole"):
            self._close_door()
            return
        self.port = await self.listen(tls=contexts.get(self.door))

    def _close_door(self) -> None:
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        self.port = sock.getsockname()[1]
        self._sockets.append(sock)  # bound and not listening: refused
        if self.door == "black hole":
            sock.listen(0)
            for _ in range(4):  # nobody accepts, the queue is full: further SYNs are dropped
                filler = socket.socket()
                filler.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    filler.connect(("127.0.0.1", self.port))
                self._sockets.append(filler)

    async def close(self) -> None:
        """Close the door, drop whoever is inside."""
        await super().close()
        for sock in self._sockets:
            sock.close()

    async def _serve(self, wire: Wire, connection: int) -> None:
        try:
            if self.door == "mute":
                await wire.until_gone()
            elif self.door == "no tls":
                await wire.more()
                wire.transport.write(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n")
            else:
                while await self._exchange(wire, connection):
                    pass
        except Gone:
            pass
        except Exception as error:
            self.errors.append(f"{self.who}: {error!r}")
        finally:
            wire.transport.close()

    async def _exchange(self, wire: Wire, connection: int) -> bool:
        """One request and its answer; False when the connection is over."""
        seen = parse_head(await wire.until(b"\r\n\r\n", HEAD_BYTES_MAX), 0, connection, 0)
        raw = await wire.exactly(int(seen.header("content-length") or "0"))
        body = json.loads(raw)
        stream = bool(body.get("stream")) or ":streamGenerateContent" in seen.target
        prefill = self.voice.prefill(body)
        visit = Visit(
            len(self.visits) + 1, time.monotonic(), stream, prefill, body, seen.target,
            seen.header("x-client-request-id") or "", connection,
        )  # fmt: skip
        self.visits.append(visit)
        since_s = visit.started - self.visits[0].started
        script = self.plan(Asked(visit.n, since_s, self.who, self.voice, stream, body, prefill))
        try:
            again = await self._act(wire, visit, script)
            visit.end = visit.end or "answered"
            return again
        except Gone:
            visit.end = "gone"
            raise
        finally:
            visit.ended = time.monotonic()

    async def _act(self, wire: Wire, visit: Visit, script: list[bytes | Wait | End]) -> bool:
        for step in script:
            if isinstance(step, bytes):
                await wire.send(step)
                visit.bytes_sent += len(step)
            elif isinstance(step, Wait):
                await wire.pause(step.seconds * 1000)
            elif step is HANG:
                await wire.until_gone()
                raise Gone
            else:
                visit.end = step.name
                if step is RESET:
                    wire.reset()
                assert step in (FIN, RESET)
                return False
        return True
