"""Deadlines, looked at four times a second: no request has a timer of its own.

Each state of an exchange has one clock (DEADLINES); a client connection has its own for idleness, an unfinished
head and a reader that stands still (DATAPLANE.md rules 3, 9).
"""

from __future__ import annotations

import asyncio
from typing import Final

from burncloud import clock
from burncloud.adaptors.sieve import Sieve
from burncloud.config import Settings
from burncloud.errors import REQUEST_TIMEOUT, SERVICE_UNAVAILABLE, Refusal
from burncloud.router.exchange import ARRIVING, DIALLING, HOLDING, LEASING, PASSING, SENT, TALKING, Exchange
from burncloud.router.fault import Fault
from burncloud.router.gateway import Gateway
from burncloud.wire.downstream import Downstream

EVERY_S: Final = 0.25
ROOM_WAIT_S: Final = 10.0
SSE_HOLD_S: Final = 10.0


class Sweep:
    """The janitor of one worker's exchanges and connections."""

    def __init__(self, gateway: Gateway, settings: Settings) -> None:
        self._gateway = gateway
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin."""
        self._handle = self._loop.call_later(EVERY_S, self._tick)

    def stop(self) -> None:
        """End."""
        if self._handle is not None:
            self._handle.cancel()

    def _tick(self) -> None:
        try:
            now = self._loop.time()
            for x in list(self._gateway.live):
                self._look(x, now)
            self._clients(now)
            self._gateway.pool.sweep(now)
            self._gateway.desk.sweep()
            self._gateway.health.tick(now)
            self._gateway.limits.tick(now)
        finally:
            self.start()

    def _look(self, x: Exchange, now: float) -> None:
        """Give up what waits for too long."""
        gateway, settings = self._gateway, self._settings
        state, up = x.state, x.up
        if x.rescue is not None and state in (DIALLING, SENT, HOLDING) and gateway.rescues.look(x, now):
            return
        if state is ARRIVING:
            if x.no_room and now - x.touched > ROOM_WAIT_S:
                gateway.refuse(x, Refusal(SERVICE_UNAVAILABLE, "There is no room for the request body", 5))
            elif not x.no_room and (
                now - x.touched > settings.client_stall_timeout_ms / 1000
                or clock.now_ns() - x.started_ns > settings.total_timeout_ms * 1_000_000
            ):
                x.keep_alive = False
                gateway.refuse(x, Refusal(REQUEST_TIMEOUT))
        elif state is SENT and up is not None:
            # of the whole head: one that dribbles is none
            if now - x.touched > min(self._first_s(x), settings.first_byte_timeout_ms / 1000):
                gateway.attempt_failed(x, Fault("timeout"))
            elif not x.raced and 0 < gateway.hedges.after_s(x) <= now - x.touched:
                gateway.hedges.begin(x)
        elif state in (HOLDING, PASSING) and up is not None:
            if now - x.touched > settings.total_timeout_ms / 1000:
                up.abort()
                gateway.answers.on_lost(x, up, "total")
            elif not up.paused and now - up.last > settings.stall_timeout_ms / 1000:
                up.abort()
                gateway.answers.on_lost(x, up, "stall")
            elif state is HOLDING and x.sse:
                if now - x.touched > self._first_s(x):
                    gateway.attempt_failed(x, Fault("timeout", x.status))
                elif not x.raced and 0 < gateway.hedges.after_s(x) <= now - x.touched:
                    gateway.hedges.begin(x)
                elif now - x.touched > SSE_HOLD_S:
                    self._hurry(x)
            elif x.hurried and now - x.touched > self._first_s(x) and not gateway.rescues.has_begun(x):
                up.abort()
                gateway.answers.on_lost(x, up, "stall")
            elif x.rescue is not None and gateway.rescues.is_lost(x):
                up.abort()
                gateway.answers.on_lost(x, up, "lost")
            elif x.body is not None and state is PASSING and x.pump is None and not gateway.rescues.needs_body(x):
                gateway.arrivals.drop(x)
        elif state is TALKING:
            x.session.look(now, settings)
        elif state is LEASING and now - x.touched > ROOM_WAIT_S * 2:
            gateway.refuse(x, Refusal(SERVICE_UNAVAILABLE, "", 1))
        elif state is DIALLING and clock.now_ns() - x.started_ns > settings.total_timeout_ms * 1_000_000:
            gateway.refuse(x, Refusal(SERVICE_UNAVAILABLE, "No channel could be reached in time", 1))

    def _hurry(self, x: Exchange) -> None:
        """What is held goes on as it is; of a stream its first content is listened for from here on."""
        if isinstance(x.sieve, Sieve) and x.translation is None:
            x.sieve.listen()
        self._gateway.answers.hurry(x)

    def _first_s(self, x: Exchange) -> float:
        """How long the first content may take, from the send on; a plain answer has all its time."""
        settings = self._settings
        return (settings.first_content_timeout_ms if x.stream else settings.first_byte_timeout_ms) / 1000

    def _clients(self, now: float) -> None:
        """Close idle connections, cut off readers that stand still, keep unsent bytes within bounds."""
        settings = self._settings
        unsent = 0
        stalled: list[Downstream] = []
        for client in list(self._gateway.clients):
            if client.paused:
                waiting = client.transport.get_write_buffer_size()
                unsent += waiting
                stalled.append(client)
                if waiting < client.unsent:
                    client.paused_at = now
                client.unsent = waiting
                if now - client.paused_at > settings.client_stall_timeout_ms / 1000:
                    client.abort()
            elif client.active is None or client.active.done:
                client.wait(now, settings.client_idle_timeout_ms / 1000, settings.head_timeout_ms / 1000)
        held = [x for x in self._gateway.live if x.state is HOLDING]
        excess = unsent + sum(x.held_bytes for x in held) - settings.unsent_bytes_max
        if excess > 0:
            stalled.sort(key=lambda client: client.paused_at)
            for client in stalled:
                if excess <= 0:
                    break
                excess -= client.transport.get_write_buffer_size()
                client.abort()
            self._let_go(held, excess)

    def _let_go(self, held: list[Exchange], excess: int) -> None:
        """Answers that are held until they can be judged take too much room: the largest go on as they are.

        One that must be translated as a whole cannot, and is given up.
        """
        answers = self._gateway.answers
        for x in sorted(held, key=lambda x: x.held_bytes, reverse=True):
            if excess <= 0:
                break
            excess -= x.held_bytes
            self._hurry(x)
            if x.state is HOLDING and x.up is not None:
                x.up.abort()
                answers.on_lost(x, x.up, "stall")
