"""The life of a WebSocket session, from the upstream's 101 to its receipt.

Frames pass both ways as the bytes they came in.  Beside them a reader follows the frames, and a meter adds up what
each answer used: that is journalled before the client sees the event that states it, so that a worker that is killed
leaves a bill up to there, and the hold on the leases grows with it.  One receipt stands at the end.

Whatever ends a session before its own end is said to the client in an error event and a Close, put between two
messages.  Who is silent is pinged after half of the time that silence may last.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec

from burncloud import clock, crash
from burncloud.adaptors.openai_realtime import MESSAGE_BYTES_MAX, RealtimeMeter
from burncloud.config import Settings
from burncloud.domain.journal import Progress
from burncloud.domain.pricing import charge
from burncloud.errors import INSUFFICIENT_QUOTA, INVALID_TOKEN, SERVICE_UNAVAILABLE, Refusal
from burncloud.router import opening, settle
from burncloud.router.desk import Desk
from burncloud.router.exchange import ENDING, OVER, SENT, TALKING, Exchange
from burncloud.router.health import Health
from burncloud.router.ports import House
from burncloud.router.routes import REALTIME, Target
from burncloud.wire.upstream import Upstream
from burncloud.wire.websocket import (
    BROKEN,
    GOING_AWAY,
    PING,
    POLICY,
    PROTOCOL_ERROR,
    TEXT,
    TRY_LATER,
    BrokenFrames,
    FrameReader,
    close_frame,
    frame,
)

EARLY_BYTES_MAX: Final = 64 << 10
"""So much may a client send before it is answered."""
ASK_AGAIN_S: Final = 1.0


class Realtime:
    """All sessions of a worker."""

    def __init__(
        self,
        house: House,
        desk: Desk,
        health: Health,
        loop: asyncio.AbstractEventLoop,
        freed: Callable[[Exchange], None],
    ) -> None:
        self.house = house
        self.desk = desk
        self.health = health
        self.loop = loop
        self.freed = freed
        self.spent: Callable[[Exchange, int], None] = lambda x, used: None
        """Called with the tokens of all answers so far."""

    def begin(self, x: Exchange, target: Target) -> Target:
        """A client asks for a session; the target, with its credential.  Raises Refusal."""
        x.keep_alive = False  # a handshake that fails ends the connection, too: nobody knows what follows it
        target = opening.opening(x, target)
        x.session = x.client.tunnel = Session(self, x)
        return target

    def opened(self, x: Exchange, up: Upstream) -> bool:
        """The upstream switched protocols: the session begins, if it is one and the handshake is good."""
        if x.state is not SENT or x.target.endpoint is not REALTIME:
            return False
        head = opening.answer(x, up)
        if head:
            x.session.start(up, head)
        return bool(head)


class Session:
    """One session."""

    __slots__ = (
        "_answer_nano", "_asking", "_client_heard", "_client_pinged", "_cost", "_down", "_early", "_held_back",
        "_house", "_meter", "_next_ask", "_parting", "_reserve", "_room", "_up", "_up_pinged", "_waiting", "_x",
    )  # fmt: skip

    def __init__(self, room: Realtime, x: Exchange) -> None:
        self._room = room
        self._house = room.house
        self._x = x
        self._early = b""
        self._meter = RealtimeMeter()
        self._down = FrameReader(MESSAGE_BYTES_MAX)
        """Of what the upstream says; `_up`: of what the client says."""
        self._up = FrameReader(0)
        self._waiting = 0
        """Progress records that are not written yet: what the upstream said since is held back."""
        self._held_back: list[bytes] = []
        self._cost = 0
        """Of all answers so far, nano-dollars."""
        self._reserve = 0
        self._answer_nano = 0
        """The dearest answer so far: the next one may cost as much."""
        self._asking = False
        self._next_ask = 0.0
        """Loop time at which quota is asked for again; 0 = it need not be."""
        self._client_heard = 0.0
        self._client_pinged = self._up_pinged = 0.0
        self._parting: tuple[Refusal, int] | None = None
        """Why the session ends at the end of the message under way, and the code of the Close."""

    # Bytes

    def start(self, up: Upstream, head: bytes) -> None:
        """The upstream's leg stands; `head` opens the client's."""
        x, room = self._x, self._room
        x.state = TALKING
        x.status = 101
        x.answered = True
        x.first_ns = clock.now_ns()
        x.touched = self._client_heard = up.last
        x.upstream_request = up.head.request_id.decode("latin-1")
        x.reading = self._meter.reading()
        self._reserve = x.reserve
        if x.outlet in room.health.resting:
            room.health.succeeded(x.ability, x.key)
        x.client.transport.write(head)
        if x.client.paused:
            up.pause()
        early, self._early = self._early, b""
        if early:
            self.on_client(early)

    def on_client(self, data: bytes) -> None:
        """Bytes from the client."""
        x = self._x
        if x.state is not TALKING or x.up is None:
            self._early += data
            if len(self._early) > EARLY_BYTES_MAX and not x.done:
                x.client.abort()
            return
        self._client_heard = self._room.loop.time()
        try:
            self._up.feed(data)
        except BrokenFrames:
            self._end("gone", close_frame(PROTOCOL_ERROR) if not self._down.open_bytes else b"")
            return
        x.bytes_up += len(data)
        x.up.write(data)

    def on_upstream(self, content: bytes | None, ended: bool) -> None:
        """Bytes from the upstream, or its end."""
        if crash.ARMED:
            crash.point("worker.mid_stream")
        if content:
            try:
                messages = self._down.feed(content)
            except BrokenFrames:
                self.on_lost()
                return
            self._x.bytes_down += len(content)
            before = self._meter.usage
            for message in messages:
                self._meter.feed(message)
            if self._meter.usage is not before:
                self._count()
            if self._parting is not None and self._down.open_bytes <= len(content):
                # up to the end of the message under way when it was decided
                self._pass(content[: len(content) - self._down.open_bytes])
                self._down.open_bytes = 0
                self._end("done", self._last_words(*self._parting))
                return
            self._pass(content)
            self._fund()
        if ended:
            self.on_lost()

    def on_lost(self) -> None:
        """The upstream's leg is gone: at the session's end, or in the middle of it."""
        if self._x.state is not TALKING:
            return
        if self._down.closed or self._up.closed:
            self._end("done", b"")
        else:
            text = "The upstream broke the session off"
            self._end("cut", self._last_words(Refusal(SERVICE_UNAVAILABLE, text), BROKEN))

    def on_gone(self) -> None:
        """The client's leg is gone."""
        self._end("done" if self._down.closed or self._up.closed else "gone", b"")

    def on_writable(self, paused: bool) -> None:
        """The upstream takes less than the client says, or has caught up."""
        transport = self._x.client.transport
        if paused:
            transport.pause_reading()
        else:
            self._client_heard = self._room.loop.time()
            transport.resume_reading()

    def _pass(self, content: bytes) -> None:
        if self._waiting:
            self._held_back.append(content)
        else:
            self._x.client.transport.write(content)

    # Money

    def _count(self) -> None:
        """An answer is over: what was used so far is journalled."""
        x = self._x
        x.reading = self._meter.reading()
        cost = charge(x.price, self._meter.usage, x.group_ratio_ppm)
        self._answer_nano = max(self._answer_nano, cost - self._cost)
        self._cost = cost
        self._room.spent(x, self._meter.usage.total())
        self._waiting += 1
        self._house.journal.progress(Progress(x.x, self._meter.usage, cost))
        self._house.journal.after(self._counted, None)

    def _counted(self, _: None, ok: bool) -> None:
        """The record stands (or waits in memory for the disk): the client may see what it counts."""
        self._waiting -= 1
        if not self._waiting and self._held_back:
            held, self._held_back = b"".join(self._held_back), []
            if not self._x.done:
                self._x.client.transport.write(held)

    def _fund(self) -> None:
        """Hold what all answers cost and what the next one may."""
        x, desk = self._x, self._room.desk
        user = x.token.user if x.hold_user else 0
        token = x.token.id if x.hold_token else 0
        if not self._cost:
            return
        need = self._cost + max(self._reserve, self._answer_nano) - max(x.hold_user, x.hold_token)
        if need <= 0 or self._asking or not (user or token):
            return
        self._next_ask = 0.0
        if desk.hold(user, token, need):
            self._hold(user, token, need)
            return
        self._asking = True
        desk.wait(user, token, need, lambda refusal: self._funded(user, token, need, refusal))

    def _hold(self, user: int, token: int, amount: int) -> None:
        x = self._x
        x.reserve += amount
        x.hold_user += amount if user else 0
        x.hold_token += amount if token else 0

    def _funded(self, user: int, token: int, amount: int, refusal: Refusal | None) -> None:
        """The control process has answered."""
        self._asking = False
        x, desk = self._x, self._room.desk
        if x.state is not TALKING:
            if refusal is None:
                for leases, account in ((desk.users, user), (desk.tokens, token)):
                    if account:
                        desk.settle(leases, account, amount, 0)
        elif refusal is None:
            self._hold(user, token, amount)
            self._fund()
        elif refusal.row is INSUFFICIENT_QUOTA:
            self.part(refusal, POLICY)
        elif self._cost >= max(x.hold_user, x.hold_token):
            self.part(refusal, TRY_LATER)
        else:
            # nobody can be asked now: what is held carries an answer yet
            self._next_ask = self._room.loop.time() + ASK_AGAIN_S

    # Time

    def look(self, now: float, settings: Settings) -> None:
        """The sweep's look at the clocks: silence, length; and at the token, which may be gone."""
        x, up = self._x, self._x.up
        stall_s, idle_s = settings.stall_timeout_ms / 1000, settings.client_idle_timeout_ms / 1000
        if up is None:
            return
        if not x.token.enabled:
            self.part(Refusal(INVALID_TOKEN), POLICY)
        elif now - x.touched > settings.total_timeout_ms / 1000:
            self.part(Refusal(SERVICE_UNAVAILABLE, "The session has reached its longest time"), GOING_AWAY)
        elif not up.paused and now - up.last > stall_s:
            self.on_lost()
        elif up.writable and not x.client.paused and now - self._client_heard > idle_s:
            self._end("gone", self._last_words(Refusal(SERVICE_UNAVAILABLE, "The client is silent"), GOING_AWAY))
        else:
            self._ping(now, up, stall_s, idle_s)
            if self._next_ask and now >= self._next_ask:
                self._fund()

    def _ping(self, now: float, up: Upstream, stall_s: float, idle_s: float) -> None:
        """Ask once, after half of the time, who is silent whether he is still there."""
        if now - max(up.last, self._up_pinged) > stall_s / 2 and not self._up.open_bytes and not self._up.closed:
            self._up_pinged = now
            up.write(frame(PING, mask=b"\0\0\0\0"))
        heard = max(self._client_heard, self._client_pinged)
        if now - heard > idle_s / 2 and not self._down.open_bytes and not self._down.closed:
            self._client_pinged = now
            self._pass(frame(PING))

    # The end

    def part(self, refusal: Refusal, code: int) -> None:
        """End the session with a word to the client: now, or when the message that is under way to it is over."""
        if self._x.state is TALKING and self._parting is None:
            self._parting = (refusal, code)
            if not self._down.open_bytes:
                self._end("done", self._last_words(refusal, code))

    def _last_words(self, refusal: Refusal, code: int) -> bytes:
        """An error event and a Close; nothing in the middle of a message or behind a Close."""
        if self._down.open_bytes or self._down.closed:
            return b""
        row = refusal.row
        error = {"type": row.type, "code": row.code, "message": refusal.message, "param": None, "event_id": None}
        event = {"type": "error", "event_id": f"event_{self._x.request_id}", "error": error}
        return frame(TEXT, msgspec.json.encode(event)) + close_frame(code, refusal.message)

    def _end(self, state: str, last: bytes) -> None:
        """The receipt, and the last bytes when it is written."""
        x = self._x
        up, x.up = x.up, None
        if up is not None and not up.lost:
            up.abort()
        if up is not None and not up.writable and not x.done:
            x.client.transport.resume_reading()
        x.state = ENDING
        x.last = last
        if crash.ARMED:
            crash.point("worker.before_end")
        settle.attempt_over(x, 101, 1, clock.now_ns())
        settle.settle(x, state, 101, self._house.journal, self._room.desk)
        self._house.journal.after(self._over, None)

    def _over(self, _: None, ok: bool) -> None:
        x = self._x
        if crash.ARMED:
            crash.point("worker.after_end")
        x.state = OVER
        self._room.freed(x)
        if not x.done:
            if x.last:
                x.client.transport.write(x.last)
            x.client.hang_up(x)
