"""The answer on its way back: hold, commit, pass, end.

Until the commit point nothing has reached the client, so a failed attempt can be followed by another.  A plain JSON
answer is held until complete, a stream until its first content; then the head goes out and every read is passed on
as it came, re-framed, with the meter looking on (DATAPLANE.md rules 1, 12, 13).  At the end the receipt is queued
first, and the last bytes go down when it is written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec

from burncloud import crash
from burncloud.adaptors.canon import Unreadable
from burncloud.adaptors.framed import FrameMeter
from burncloud.adaptors.meter import Meter, first_content, read_plain
from burncloud.adaptors.passage import Passage
from burncloud.adaptors.spoken import SSE
from burncloud.adaptors.translation import Translation
from burncloud.errors import SERVICE_UNAVAILABLE, error_body
from burncloud.router import settle
from burncloud.router.desk import Desk
from burncloud.router.exchange import ENDING, HOLDING, OVER, PASSING, SENT, TALKING, Exchange
from burncloud.router.health import Health
from burncloud.router.ports import House
from burncloud.router.translate import fields_of
from burncloud.wire.heads import STATUS_LINES
from burncloud.wire.upstream import Upstream

OK_LINE: Final = STATUS_LINES[200]
JSON_HOLD_BYTES_MAX: Final = 256 << 10
SSE_HOLD_BYTES_MAX: Final = 16 << 10
PIECES_A_TURN: Final = 2
"""So much of a large body goes out in one turn of the loop: a fast upstream would take all of it at once."""
TRANSLATED_BYTES_MAX: Final = 64 << 20
"""Longest plain answer that is translated."""
REFUSALS: Final = {401: "refused", 402: "refused", 403: "forbidden"}
"""The vendor does not take the channel's key: no word of it reaches the client."""
CLIENT_FAULTS: Final = frozenset(
    (400, 404, 405, 406, 409, 410, 411, 412, 413, 414, 415, 416, 417, 422, 424, 426, 428, 431, 451)
)
"""Statuses that say that the client asked wrongly: passed on with the upstream's body, no channel is blamed."""


class Fault(msgspec.Struct):
    """Why an attempt is given up."""

    kind: str
    """connect · lost · stale · busy · refused · forbidden · broken · timeout · empty (health.BLAMED)."""
    status: int = 0
    """The upstream's, if one came."""
    retry_after_s: int = 0


class Answers:
    """The way back, for all exchanges of a worker (the `Sink` of its upstream connections)."""

    def __init__(
        self,
        house: House,
        desk: Desk,
        health: Health,
        loop: asyncio.AbstractEventLoop,
        now_ns: Callable[[], int],
        failed: Callable[[Exchange, Fault], None],
        freed: Callable[[Exchange], None],
        body_over: Callable[[Exchange], None],
    ) -> None:
        self._house = house
        self._desk = desk
        self._health = health
        self._loop = loop
        self._now_ns = now_ns
        self._failed = failed
        self._freed = freed
        self._body_over = body_over
        self.opened: Callable[[Exchange, Upstream], bool] = lambda x, up: False
        """Whether a 101 opens a WebSocket that was asked for (realtime.py)."""

    # Sink

    def on_answer(self, x: Exchange, up: Upstream, content: bytes | None, ended: bool) -> None:
        """A read's worth of the answer."""
        state = x.state
        if state is not PASSING:
            whole = ended and state is SENT and up.status == 200 and up.head.whole
            if whole and content and x.pump is None and not x.relay:
                if x.translation is None:
                    self._pass_whole(x, up, content)
                else:
                    self._pass_translated(x, x.translation, up, content)
            elif state is TALKING:
                x.session.on_upstream(content, ended)
            else:
                self._hold(x, up, content, ended)
            return
        if crash.ARMED:
            crash.point("worker.mid_stream")
        if content is not None:
            if x.meter is not None:
                x.meter.feed(content)
                if x.stripper is not None:
                    content = x.stripper.strip(content)
            size = len(content)
            x.bytes_down += size
            if ended:
                self._end(x, up, content)
            elif size:
                x.client.transport.write(b"%x\r\n%b\r\n" % (size, content) if x.chunked else content)
        elif ended:
            self._end(x, up, b"")

    def on_lost(self, x: Exchange, up: Upstream, reason: str) -> None:
        """The connection broke."""
        if x.done and x.state is not PASSING:
            return
        if x.state is PASSING:
            self._cut(x)
        elif x.state is TALKING:
            x.session.on_lost()
        elif x.state is SENT and up.idle_since and not up.heard and reason in ("reset", "closed"):
            self._failed(x, Fault("stale"))
        elif x.state in (SENT, HOLDING):
            self._failed(x, Fault("lost", x.status))

    def on_switch(self, x: Exchange, up: Upstream) -> bool:
        """The upstream switched protocols; whether that was asked for."""
        return self.opened(x, up)

    def on_writable(self, x: Exchange, up: Upstream, paused: bool) -> None:
        """The upstream takes a large request: go on where it can."""
        if x.state is TALKING:
            x.session.on_writable(paused)
        elif not paused and x.pump is not None:
            self.pump(x, up)

    # The request's large body

    def pump(self, x: Exchange, up: Upstream) -> None:
        """Send pieces of a spooled body until the upstream, or the loop, has enough for now."""
        if x.up is not up:
            return
        for _ in range(PIECES_A_TURN):
            if x.pump is None or not up.writable or up.lost:
                return
            piece = next(x.pump, None)
            if piece is None:
                x.pump = None
                return
            up.write(piece)
        self._loop.call_soon(self.pump, x, up)

    # Before the commit point

    def _pass_whole(self, x: Exchange, up: Upstream, content: bytes) -> None:
        """The usual plain answer, complete in its first read: all the steps below at once."""
        if crash.ARMED:
            crash.point("worker.first_byte")
        x.first_ns = now = self._now_ns()
        x.status = 200
        x.bytes_down = len(content)
        x.answered = True
        x.stripper = x.up = None
        up.origin.give(up, up.last)
        endpoint = x.target.endpoint
        assert endpoint is not None
        x.reading = read_plain(endpoint.dialect, endpoint.name, content)
        settle.attempt_over(x, 200, 1, now)
        if x.outlet in self._health.resting:
            self._health.succeeded(x.ability, x.key)
        said = up.head
        if said.left is not None:
            self._health.told(x.ability, x.key, said.left, self._loop.time(), now // 1_000_000_000)
        if x.http11 and x.keep_alive:
            if said.request_id:
                x.upstream_request = said.request_id.decode("latin-1")
            ours = b"content-length: %d\r\nx-request-id: %b\r\n" % (len(content), x.request_id.encode())
            last = b"".join((OK_LINE, *said.forward, ours, x.outlet.ref_field, x.fields, b"\r\n", content))
        else:
            last = self._head(x, up, len(content)) + content
        self._settle(x, "done", last)

    def _pass_translated(self, x: Exchange, translation: Translation | Passage, up: Upstream, content: bytes) -> None:
        """The same for an answer of another dialect."""
        if crash.ARMED:
            crash.point("worker.first_byte")
        x.first_ns = now = self._now_ns()
        x.status = 200
        try:
            told = translation.whole(content)
        except Unreadable:
            self._failed(x, Fault("broken", 200))
            return
        x.bytes_down = len(told)
        x.answered = True
        x.up = None
        up.origin.give(up, up.last)
        spoken = translation.upstream
        x.reading = read_plain(spoken.family, spoken.endpoint, content)
        settle.attempt_over(x, 200, 1, now)
        if x.outlet in self._health.resting:
            self._health.succeeded(x.ability, x.key)
        self._settle(x, "done", self._head(x, up, len(told)) + told)

    def _hold(self, x: Exchange, up: Upstream, content: bytes | None, ended: bool) -> None:
        """The attempt can still fail: judge the head, wait for the first content."""
        if x.state is SENT:
            if crash.ARMED:
                crash.point("worker.first_byte")
            x.first_ns = self._now_ns()
            if not self._judge(x, up):
                return
            x.state = HOLDING
        elif x.state is not HOLDING:
            return
        if x.translation is not None:
            self._hold_translated(x, x.translation, up, content or b"", ended)
            return
        if content:
            x.held.append(content)
            x.held_bytes += len(content)
        if x.relay:
            self._commit(x, up, ended)
        elif x.sse:
            self._hold_stream(x, up, ended)
        elif ended:
            if not x.held_bytes and x.status == 200:
                self._failed(x, Fault("empty", x.status))
            else:
                self._commit(x, up, True)
        elif max(x.held_bytes, up.head.length) > JSON_HOLD_BYTES_MAX or b"json" not in up.head.content_type:
            self._commit(x, up, False)

    def _hold_stream(self, x: Exchange, up: Upstream, ended: bool) -> None:
        endpoint = x.target.endpoint
        assert endpoint is not None
        held = x.held[0] if len(x.held) == 1 else b"".join(x.held)
        verdict = first_content(held, endpoint.dialect, endpoint.name)
        if verdict == "error" and x.status == 200 and x.route.other((*x.tried, x.ability)):
            self._failed(x, Fault("broken", x.status))
        elif verdict == "wait" and ended and x.status == 200:
            self._failed(x, Fault("empty", x.status))
        elif verdict != "wait" or ended or x.held_bytes >= SSE_HOLD_BYTES_MAX:
            self._commit(x, up, ended)

    def _hold_translated(
        self, x: Exchange, translation: Translation | Passage, up: Upstream, content: bytes, ended: bool
    ) -> None:
        """The same for an answer of another dialect; what is held of a stream is translated already."""
        x.held_bytes += len(content)
        assert x.meter is not None
        x.meter.feed(content)
        if x.sse:
            content = translation.strip(content)
        if content:
            x.held.append(content)
        broken = x.held_bytes > TRANSLATED_BYTES_MAX
        if x.sse and x.stream:
            failed = translation.failure is not None and not translation.content
            if (failed and x.route.other((*x.tried, x.ability))) or (ended and not (failed or translation.content)):
                broken = True
            elif not broken and (failed or ended or translation.content):
                self._commit(x, up, ended)
                return
        elif ended and not broken:
            try:
                x.held = [self._translated(x, translation)]
            except Unreadable:
                broken = True
            else:
                x.sse = False
                self._commit(x, up, True)
        if broken:
            self._failed(x, Fault("broken", x.status))

    def _translated(self, x: Exchange, translation: Translation | Passage) -> bytes:
        """A whole answer.  Raises Unreadable."""
        if x.sse:
            translation.finish()
            return translation.collected()
        body = b"".join(x.held)
        if x.status >= 400:
            return translation.failed(x.status, body)
        if not body:
            raise Unreadable("the answer is empty")
        return translation.whole(body)

    def hurry(self, x: Exchange) -> None:
        """A stream has been held long enough: let it go as it is."""
        if x.state is HOLDING and x.up is not None and (x.translation is None or x.stream):
            self._commit(x, x.up, False)

    def _judge(self, x: Exchange, up: Upstream) -> bool:
        """Read the upstream's head; False if the attempt was given up for it."""
        status = x.status = up.status
        head = up.head
        x.sse = head.content_type[:17] == SSE
        if x.relay:
            return True
        if not 200 <= status < 300 and status not in CLIENT_FAULTS:
            kind = "busy" if status == 429 else REFUSALS.get(status, "broken")
            self._failed(x, Fault(kind, status, head.retry_after_s))
            return False
        endpoint = x.target.endpoint
        assert endpoint is not None
        if x.translation is None:
            x.meter = Meter(endpoint.dialect, endpoint.name, x.sse, head.encoding)
        else:
            spoken = x.translation.upstream
            x.sse = status == 200 and head.content_type.startswith(spoken.stream_type)
            framed = x.sse and spoken.stream_type is not SSE
            x.meter = (
                FrameMeter(spoken.endpoint) if framed else Meter(spoken.family, spoken.endpoint, x.sse, head.encoding)
            )
            x.translation.encoded(head.encoding)
        return True

    # The commit point

    def _commit(self, x: Exchange, up: Upstream, ended: bool) -> None:
        """Write the head, and with it what was held."""
        content = x.held[0] if len(x.held) == 1 else b"".join(x.held)
        x.held = []
        if not x.relay:
            if x.outlet in self._health.resting:
                self._health.succeeded(x.ability, x.key)
            if up.head.left is not None and x.status < 400:
                left, now_s = up.head.left, self._now_ns() // 1_000_000_000
                self._health.told(x.ability, x.key, left, self._loop.time(), now_s)
        if x.translation is not None:
            x.stripper = x.translation if x.sse else None
        elif x.meter is not None:
            x.meter.feed(content)
            if x.stripper is not None:
                if x.sse:
                    content = x.stripper.strip(content)
                else:
                    x.stripper = None
        x.bytes_down += len(content)
        x.state = PASSING
        x.answered = True
        head = self._head(x, up, len(content) if ended and not x.sse else -1)
        if ended:
            x.answer_head = head
            self._end(x, up, content)
        elif content:
            x.client.transport.write(head + (b"%x\r\n%b\r\n" % (len(content), content) if x.chunked else content))
        else:
            x.client.transport.write(head)
        if not ended and x.pump is None:
            self._body_over(x)
        if x.client.paused and x.up is not None:
            x.up.pause()

    def _head(self, x: Exchange, up: Upstream, length: int) -> bytes:
        """The answer's head; `length` ≥ 0 = the whole content is known."""
        said = up.head
        stated = said.length
        parts = [STATUS_LINES.get(x.status, STATUS_LINES[502])]
        if x.translation is None:
            parts += said.forward
        else:
            stated = -1
            parts += fields_of(x, x.translation, said.request_id)
        if said.request_id:
            x.upstream_request = said.request_id.decode("latin-1")
        if x.relay:
            parts += said.control_only
        if up.no_body or x.status in (204, 304):
            if stated >= 0 and x.status != 204:
                parts.append(b"content-length: %d\r\n" % stated)
        elif length >= 0:
            parts.append(b"content-length: %d\r\n" % length)
        elif stated >= 0 and not x.sse:
            parts.append(b"content-length: %d\r\n" % stated)
        elif x.http11:
            x.chunked = True
            parts.append(b"transfer-encoding: chunked\r\n")
        else:
            x.keep_alive = False
        if not x.keep_alive:
            parts.append(b"connection: close\r\n")
        elif not x.http11:
            parts.append(b"connection: keep-alive\r\n")
        if x.relay:
            parts.append(b"x-request-id: %b\r\n\r\n" % x.request_id.encode())
        else:
            parts.append(b"x-request-id: %b\r\n%b%b\r\n" % (x.request_id.encode(), x.outlet.ref_field, x.fields))
        return b"".join(parts)

    # The end

    def _end(self, x: Exchange, up: Upstream, content: bytes) -> None:
        """The answer is complete: settle, and let the last bytes go when the receipt is written."""
        if x.pump is not None or not up.writable:
            # an early final answer: the upload stops, and nobody knows what the upstream read
            x.pump = None
            up.keep = False
        up.origin.give(up, up.last)
        x.up = None
        if x.relay:
            self._finish(x, self._framed(x, content), True)
            return
        if x.stripper is not None:
            content += x.stripper.finish()
        assert x.meter is not None
        reading = x.reading = x.meter.finish()
        state = "done"
        broken = reading.error or not reading.complete or (x.translation is not None and not x.translation.ended)
        if x.sse and x.status == 200 and broken:
            state = "cut"
            if not reading.error:
                content += error_event(x)
        settle.attempt_over(x, x.status, 1, self._now_ns())
        self._settle(x, state, self._framed(x, content))

    def _cut(self, x: Exchange) -> None:
        """The upstream broke off after the commit point: tell the client in his dialect, bill what came."""
        x.up = None
        if x.relay:
            x.client.abort()
            return
        settle.attempt_over(x, x.status, 1, self._now_ns())
        if x.sse and x.meter is not None:
            tail = x.stripper.finish() if x.stripper is not None else b""
            self._settle(x, "cut", self._framed(x, tail + error_event(x)))
        else:
            # a broken-off plain answer must not look complete: the connection ends with it
            x.keep_alive = False
            self._settle(x, "cut", b"")

    def _framed(self, x: Exchange, content: bytes) -> bytes:
        """The last content as it goes down, its head before it if that has not gone yet."""
        if x.chunked:
            content = b"%x\r\n%b\r\n0\r\n\r\n" % (len(content), content) if content else b"0\r\n\r\n"
        return x.answer_head + content

    def _settle(self, x: Exchange, state: str, last: bytes) -> None:
        x.state = ENDING
        x.last = last
        if crash.ARMED:
            crash.point("worker.before_end")
        settle.settle(x, state, x.status, self._house.journal, self._desk)
        if state == "cut" and not x.sse:
            self._house.journal.after(self._broken, x)
        else:
            self._house.journal.after(self._written, x)

    def _written(self, x: Exchange, ok: bool) -> None:
        """The receipt stands (or waits in memory for the disk): the client gets the rest."""
        if crash.ARMED:
            crash.point("worker.after_end")
            crash.point("worker.before_last_write")
        x.state = OVER
        self._freed(x)
        if not x.done:
            client = x.client
            client.transport.write(x.last)
            client.finished(x)

    def _broken(self, x: Exchange, ok: bool) -> None:
        x.state = OVER
        self._freed(x)
        if not x.done:
            x.done = True
            x.client.abort()

    def _finish(self, x: Exchange, last: bytes, ok: bool) -> None:
        x.state = OVER
        self._freed(x)
        if x.done:
            return
        x.client.transport.write(last)
        x.client.finished(x)


def error_event(x: Exchange) -> bytes:
    """What a stream ends with when its upstream broke off: an error in the caller's dialect, never a false stop."""
    endpoint = x.target.endpoint
    text = "The upstream broke the stream off"
    if endpoint is None:
        return b""
    if x.translation is not None:
        return x.translation.cut(text)
    body = error_body(SERVICE_UNAVAILABLE, text, endpoint.shape)
    if endpoint.dialect == "anthropic":
        return b"\n\nevent: error\ndata: " + body + b"\n\n"
    if endpoint.name == "responses":
        event = {"type": "error", "code": "server_error", "message": text, "param": None}
        return b"\n\nevent: error\ndata: " + msgspec.json.encode(event) + b"\n\n"
    return b"\n\ndata: " + body + b"\n\n"
