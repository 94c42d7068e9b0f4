"""The answer on its way back: hold, commit, pass, end.

Until the commit point nothing has reached the client, so a failed attempt can be followed by another.  A plain JSON
answer is held until complete, a stream until its first content; then the head goes out and every read is passed on
as it came, re-framed, with the meter looking on (DATAPLANE.md rules 1, 12, 13).  A stream that breaks after that is
handed to the rescue (rescue.py), which comes back here with the stream that goes on.  At the end the receipt is queued
first, and the last bytes go down when it is written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from burncloud import crash
from burncloud.adaptors.canon import Failure, Unreadable
from burncloud.adaptors.commit import first_said
from burncloud.adaptors.complaints import STOPS, complaint_of
from burncloud.adaptors.framed import FrameMeter
from burncloud.adaptors.meter import Meter, read_plain
from burncloud.adaptors.passage import Passage
from burncloud.adaptors.record import Record
from burncloud.adaptors.seam import Continued
from burncloud.adaptors.sieve import Logged, Sieve
from burncloud.adaptors.spoken import SSE
from burncloud.adaptors.translation import Translation
from burncloud.errors import Refusal
from burncloud.router import settle
from burncloud.router.affinity import made_by
from burncloud.router.desk import Desk
from burncloud.router.exchange import ENDING, HOLDING, OVER, PASSING, SENT, TALKING, Exchange
from burncloud.router.fault import Fault, fault_of
from burncloud.router.heading import head_for, heard
from burncloud.router.health import Health
from burncloud.router.judge import Judge
from burncloud.router.parting import error_event
from burncloud.router.ports import House, Translator
from burncloud.router.translate import FREE_BYTES, is_heavy
from burncloud.router.visits import Aside, Visits
from burncloud.router.wholes import PIECES_A_TURN, TRANSLATED_BYTES_MAX, Steps, Wholes, give_back
from burncloud.wire.body import Body, Budget
from burncloud.wire.heads import STATUS_LINES, AnswerHead
from burncloud.wire.upstream import Upstream

STREAMING: Final = frozenset((
    "chat.completions", "completions", "responses", "messages", "generateContent", "streamGenerateContent",
))  # fmt: skip
"""Endpoints whose streams are made of JSON events."""
OK_LINE: Final = STATUS_LINES[200]
JSON_HOLD_BYTES_MAX: Final = 256 << 10
SSE_HOLD_BYTES_MAX: Final = 16 << 10


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
        refuse: Callable[[Exchange, Refusal], None],
        translator: Callable[[], Translator | None],
        files: Budget,
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
        self.judge = Judge(failed)
        self.record: Callable[[Exchange], Record | None]
        """What a stream that begins is recorded in; None = nobody would go on with it (rescue.py)."""
        self.goes_on: Callable[[Exchange, Record | None, bytes | Failure | None], bool]
        """A stream broke off, its attempt is noted, an error event withheld; True = somebody goes on with it."""
        self.may_go_on: Callable[[Exchange, Record | None, bytes], bool]
        """Whether there would be somebody."""
        self.winner: Callable[[Exchange], Exchange]
        """Of two that ask for the same this one can answer: the exchange that goes on (hedge.py)."""
        steps = Steps(
            failed, refuse, self.judge.complained, self._well, self._commit, self._settle, lambda x: self.winner(x),
            self._pass, self._stop,
        )  # fmt: skip
        self.wholes = Wholes(loop, now_ns, files, translator, steps)
        self.visits = Visits(loop, now_ns, files, translator, steps)
        self.counters: dict[str, int] = {
            "requests": 0, "refused": 0, "streams_broken": 0, "streams_continued": 0, "events_dropped": 0,
        }  # fmt: skip

    # Sink

    def on_answer(self, x: Exchange, up: Upstream, content: bytes | None, ended: bool) -> None:
        """A read's worth of the answer."""
        state = x.state
        if state is not PASSING:
            whole = ended and state is SENT and up.status == 200 and up.head.whole
            if whole and content and x.pump is None and not x.relay:
                if x.translation is None:
                    self._pass_whole(x, up, content)
                elif len(content) > FREE_BYTES and is_heavy(Body(content)):
                    self._hold(x, up, content, ended)
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
                sieve = x.sieve
                if sieve is not None:
                    content = sieve.strip(content)
                    if sieve.failed and not ended:
                        self._stop(x, up, content)
                        return
            size = len(content)
            x.bytes_down += size
            if ended:
                self._end(x, up, content)
            elif size:
                x.client.transport.write(b"%x\r\n%b\r\n" % (size, content) if x.chunked else content)
            elif x.translation is not None:
                self.visits.look(x)
        elif ended:
            self._end(x, up, b"")

    def on_lost(self, x: Exchange, up: Upstream, reason: str) -> None:
        """The connection broke."""
        if x.done and x.state is not PASSING:
            return
        if x.state is PASSING:
            self._cut(x, reason)
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
        endpoint = x.target.endpoint
        assert endpoint is not None
        x.reading = reading = read_plain(endpoint.dialect, endpoint.name, content)
        # what states its usage was JSON
        odd = reading.usage is None or reading.error or reading.finish in STOPS
        if odd and self.judge.is_none(x, content, reading):
            return
        if x.race is not None:
            x = self.winner(x)
        x.bytes_down = len(content)
        x.answered = True
        if x.thread is not None and x.thread.stateful:
            x.thread.made = made_by(content)
        x.stripper = x.up = None
        up.origin.give(up, up.last)
        settle.attempt_over(x, 200, 1, now)
        said = up.head
        self._well(x, said)
        if x.http11 and x.keep_alive:
            if said.request_id:
                x.upstream_request = said.request_id.decode("latin-1")
            ours = b"content-length: %d\r\nx-request-id: %b\r\n" % (len(content), x.request_id.encode())
            last = b"".join((OK_LINE, *said.forward, ours, x.outlet.ref_field, x.fields, b"\r\n", content))
        else:
            last = head_for(x, up, len(content)) + content
        self._settle(x, "done", last)

    def _pass_translated(
        self, x: Exchange, translation: Translation | Passage | Continued, up: Upstream, content: bytes
    ) -> None:
        """The same for an answer of another dialect."""
        if crash.ARMED:
            crash.point("worker.first_byte")
        x.first_ns = now = self._now_ns()
        x.status = 200
        spoken = heard(translation, up.head)
        reading = read_plain(spoken.family, spoken.endpoint, content)
        odd = reading.usage is None or reading.error or reading.finish in STOPS
        if odd and self.judge.is_none(x, content, reading):
            return
        try:
            told = translation.whole(content)
        except Unreadable:
            self._failed(x, Fault("broken", 200))
            return
        if x.race is not None:
            x = self.winner(x)
        x.bytes_down = len(told)
        x.answered = True
        x.up = None
        up.origin.give(up, up.last)
        x.reading = reading
        settle.attempt_over(x, 200, 1, now)
        self._well(x, up.head)
        self._settle(x, "done", head_for(x, up, len(told)) + told)

    def _hold(self, x: Exchange, up: Upstream, content: bytes | None, ended: bool) -> None:
        """The attempt can still fail: judge the head, wait for the first content."""
        if x.state is SENT:
            if crash.ARMED:
                crash.point("worker.first_byte")
            if not x.first_ns:
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
            if not self.judge.is_refused(x, up):
                self._commit(x, up, True)
        elif max(x.held_bytes, up.head.length) > JSON_HOLD_BYTES_MAX or not self.judge.is_held(x, up):
            self._commit(x, up, False)

    def _hold_stream(self, x: Exchange, up: Upstream, ended: bool) -> None:
        endpoint = x.target.endpoint
        assert endpoint is not None
        held = x.held[0] if len(x.held) == 1 else b"".join(x.held)
        verdict, error = first_said(held, endpoint.dialect, endpoint.name, up.head.encoding)
        if error and x.status == 200 and self.judge.is_error(x, error):
            return
        if verdict == "wait" and ended and x.status == 200:
            self._failed(x, Fault("empty", x.status))
        elif verdict != "wait" or ended or x.held_bytes >= SSE_HOLD_BYTES_MAX:
            self._commit(x, up, ended)

    def _hold_translated(
        self,
        x: Exchange,
        translation: Translation | Passage | Continued,
        up: Upstream,
        content: bytes,
        ended: bool,
    ) -> None:
        """The same for an answer of another dialect; what is held of a stream is translated already."""
        if not (x.sse and x.stream):
            self.wholes.hold(x, translation, up, content, ended)
            return
        x.held_bytes += len(content)
        sieve = x.sieve
        assert x.meter is not None
        assert sieve is not None
        x.meter.feed(content)
        content = sieve.strip(content)
        if content:
            x.held.append(content)
        over = (self._is_back, up, ended) if ended or sieve.failed else ()
        if not self.visits.look(x, *over):
            self._look_at_held(x, translation, up, ended)

    def _is_back(self, x: Exchange, up: Upstream, ended: bool) -> None:
        """What of a stream was aside is here, and something came behind it."""
        if x.state is HOLDING:
            assert x.translation is not None
            self._look_at_held(x, x.translation, up, ended)
        elif x.sieve is not None and x.sieve.failed:
            self._stop(x, up, b"")
        else:
            self._end(x, up, b"")

    def _look_at_held(
        self, x: Exchange, translation: Translation | Passage | Continued, up: Upstream, ended: bool
    ) -> None:
        """Whether what is held of a stream can go."""
        sieve = x.sieve
        assert sieve is not None
        if ended:
            x.held.append(sieve.finish())
        broken = x.held_bytes > TRANSLATED_BYTES_MAX
        failed = bool(sieve.failed) and not translation.content
        if isinstance(translation, Continued):
            diverged = translation.diverged and not translation.content
            if diverged or (failed and complaint_of(sieve.failed)):
                self._failed(x, Fault("diverged" if diverged else "unfit", x.status))
                return
            broken = broken or failed or (ended and not translation.content)
        elif failed and not broken and self.judge.is_error(x, sieve.failed):
            return
        elif ended and not (failed or translation.content):
            broken = True
        if broken:
            self._failed(x, Fault("broken", x.status))
        elif failed or ended or translation.content:
            self._commit(x, up, ended)

    def hurry(self, x: Exchange) -> None:
        """A stream has been held long enough: let it go as it is."""
        if x.state is HOLDING and x.up is not None and x.rescue is None and (x.translation is None or x.stream):
            x.hurried = x.sse
            self._commit(x, x.up, False)

    def _judge(self, x: Exchange, up: Upstream) -> bool:
        """Read the upstream's head; False if the attempt was given up for it."""
        # 201, 202 … are told as 200 and judged like it: servers call so what is an answer, and what is none
        status = x.status = up.status if x.relay or up.status // 100 != 2 else 200
        head = up.head
        x.sse = (status == 200 or x.relay) and head.content_type[:17] == SSE  # Gemini calls errors so, too
        if x.relay:
            return True
        fault = fault_of(x, up)
        if fault is not None:
            self._failed(x, fault)
            return False
        endpoint = x.target.endpoint
        assert endpoint is not None
        translation, sse, after = x.translation, x.sse, x.stripper
        if translation is None:
            x.meter = Meter(endpoint.dialect, endpoint.name, sse, head.encoding)
            if sse and status == 200 and not head.encoding and endpoint.name in STREAMING:
                x.sieve = Sieve(endpoint.dialect, endpoint.name, after, self.record(x))
            return True
        spoken = heard(translation, head)
        x.sse = sse = status == 200 and head.content_type.startswith(spoken.stream_type)
        framed = sse and spoken.stream_type is not SSE
        x.meter = FrameMeter(spoken.endpoint) if framed else Meter(spoken.family, spoken.endpoint, sse, head.encoding)
        translation.encoded(head.encoding)
        if sse:
            record = None if head.encoding else self.record(x)
            plain = not framed and not head.encoding
            if plain and x.stream:
                self.visits.let(translation)
            x.sieve = (
                Sieve(spoken.family, spoken.endpoint, translation, record) if plain else Logged(translation, record)
            )
        return True

    # The commit point

    def _commit(self, x: Exchange, up: Upstream, ended: bool) -> None:
        """Write the head, and with it what was held."""
        content = x.held[0] if len(x.held) == 1 else b"".join(x.held)
        if self.judge.is_given_up(x, content):
            return
        if x.race is not None:
            x = self.winner(x)
        x.held = []
        if x.thread is not None and x.thread.stateful:
            x.thread.made = made_by(content)
        if x.rescue is not None:
            self._resume(x, up, content, ended)
            return
        if not x.relay:
            self._well(x, up.head)
        if x.translation is None and x.meter is not None:
            x.meter.feed(content)
            if x.sieve is not None:
                content = x.sieve.strip(content)
        x.bytes_down += len(content)
        x.state = PASSING
        x.answered = True
        head = head_for(x, up, len(content) if ended and not x.sse else -1)
        if ended:
            x.answer_head = head
            self._end(x, up, content)
        elif content:
            x.client.transport.write(head + (b"%x\r\n%b\r\n" % (len(content), content) if x.chunked else content))
        else:
            x.client.transport.write(head)
        if not ended and x.pump is None and (x.sieve is None or x.sieve.record is None):
            self._body_over(x)  # of a stream that may have to be asked for once more it is kept
        if x.client.paused and x.up is not None:
            x.up.pause()
        if not ended and x.sieve is not None and x.sieve.failed:
            self._stop(x, up, b"")

    def _well(self, x: Exchange, head: AnswerHead) -> None:
        """The channel answered."""
        if x.outlet in self._health.resting:
            self._health.succeeded(x.ability, x.key)
        if head.left is not None and x.status < 400:
            self._health.told(x.ability, x.key, head.left, self._loop.time(), self._now_ns() // 1_000_000_000)

    def _resume(self, x: Exchange, up: Upstream, content: bytes, ended: bool) -> None:
        """A stream that broke off goes on."""
        self.counters["streams_continued"] += 1
        self._well(x, up.head)
        x.state = PASSING
        if ended:
            self._end(x, up, content)
            return
        self._pass(x, content)
        if x.client.paused:
            up.pause()

    def _pass(self, x: Exchange, content: bytes) -> None:
        """Write content of a stream that is committed."""
        x.bytes_down += len(content)
        if x.answer_head or content:
            x.client.transport.write(
                x.answer_head + (b"%x\r\n%b\r\n" % (len(content), content) if x.chunked and content else content)
            )
            x.answer_head = b""

    def flow(self, x: Exchange) -> None:
        """The client takes more of what is sent from a file."""
        if isinstance(x.whole, Aside):
            self.visits.flow(x, x.whole)
        else:
            self.wholes.flow(x)

    # The end

    def _end(self, x: Exchange, up: Upstream, content: bytes) -> None:
        """The answer is complete: settle, and let the last bytes go when the receipt is written."""
        if self.visits.look(x, self._end, up, b""):
            self._pass(x, content)
            return
        give_back(x, up)
        if x.relay:
            self._finish(x, self._framed(x, content), True)
            return
        if x.sieve is not None:
            content += x.sieve.finish()
        settle.attempt_over(x, x.status, 1, self._now_ns())
        if self._came_whole(x):
            self._settle(x, "done", self._framed(x, content))
        else:
            self._broke(x, "broken", content)

    def _came_whole(self, x: Exchange) -> bool:
        """Whether the answer came to its own end, read by the meter."""
        assert x.meter is not None
        reading = x.reading = x.meter.finish()
        if not x.sse or x.status != 200:
            return True
        if reading.error or not reading.complete or (x.sieve is not None and x.sieve.failed):
            return False
        return x.translation is None or x.translation.ended

    def _stop(self, x: Exchange, up: Upstream | None, content: bytes, kind: str = "broken") -> None:
        """An error came in the middle of a stream; `content` came before it.  `kind`: as in _broke."""
        if self.visits.look(x, self._stop, up, b"", kind):
            self._pass(x, content)
            return
        sieve = x.sieve
        if (
            isinstance(sieve, Sieve)
            and x.translation is None
            and sieve.failed
            and not self.may_go_on(x, sieve.record, sieve.failed)
        ):
            self._pass(x, content + sieve.let_go())
            return
        x.up = None
        if up is not None and not up.lost and up.exchange in (x, None):
            up.abort()
        assert x.meter is not None
        x.reading = x.meter.finish()
        settle.attempt_over(x, x.status, 1, self._now_ns())
        self._broke(x, kind, content)

    def _cut(self, x: Exchange, reason: str) -> None:
        """The upstream broke off after the commit point."""
        if self.visits.look(x, self._cut, reason):
            return
        x.up = None
        if x.relay:
            x.client.abort()
            return
        settle.attempt_over(x, x.status, 1, self._now_ns())
        if x.sse and x.meter is not None:
            content = x.sieve.finish() if x.sieve is not None else b""
            if self._came_whole(x):
                missing = b"" if x.sieve is None else x.sieve.missing  # it broke: this is no peculiarity to be kept
                self._settle(x, "done", self._framed(x, content + missing))
            else:
                self._broke(x, "" if reason == "total" else "timeout" if reason == "stall" else "broken", content)
        else:
            # a broken-off plain answer must not look complete: the connection ends with it
            x.keep_alive = False
            self._settle(x, "cut", b"")

    def _broke(self, x: Exchange, kind: str, content: bytes) -> None:
        """A committed stream broke off, its attempt is noted: somebody goes on, or the client hears of it.

        `kind`: of the channel's fault; "" = it is none, and nobody shall go on.
        """
        sieve = x.sieve
        self.counters["streams_broken"] += 1
        failed = None if sieve is None else sieve.passed or sieve.failed
        if kind and not complaint_of(failed):
            self._health.failed(x, kind, 0, 0, self._loop.time())
        if sieve is not None:
            if kind and self.goes_on(x, sieve.record, failed):
                self.counters["events_dropped"] += sieve.dropped
                self._pass(x, content + sieve.missing)
                return
            content += sieve.missing + sieve.release()
        if x.rescue is not None or not (x.reading is not None and x.reading.error):
            content += error_event(x)
        self._settle(x, "cut", self._framed(x, content))

    def lament(self, x: Exchange) -> None:
        """Nobody goes on with a broken stream: the client hears so."""
        up, x.up = x.up, None
        if up is not None and not up.lost:
            up.abort()
        self._settle(x, "cut", self._framed(x, error_event(x)))

    def _framed(self, x: Exchange, content: bytes) -> bytes:
        """The last content as it goes down, its head before it if that has not gone yet."""
        if x.chunked:
            content = b"%x\r\n%b\r\n0\r\n\r\n" % (len(content), content) if content else b"0\r\n\r\n"
        return x.answer_head + content

    def _settle(self, x: Exchange, state: str, last: bytes) -> None:
        x.state = ENDING
        x.last = last
        if x.sieve is not None:
            self.counters["events_dropped"] += x.sieve.dropped
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
        self._finish(x, x.last, ok)

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
