"""Answers that are translated as a whole: held until they are complete, then turned over, then sent.

What would hold the loop is turned over by the process beside the worker (app/translator.py) and goes down from its
file, as fast as the client takes it.  A client that leaves meanwhile is billed for what the meter saw; an answer that
cannot be turned over, because the process died of it twice, is an error in the client's dialect and costs nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple

from burncloud.adaptors.canon import Unreadable
from burncloud.adaptors.complaints import complaint_of
from burncloud.adaptors.events import event_data, unify
from burncloud.adaptors.passage import Passage
from burncloud.adaptors.seam import Continued
from burncloud.adaptors.translation import Rendered, Translation
from burncloud.errors import Refusal
from burncloud.router import settle
from burncloud.router.exchange import HOLDING, PASSING, Exchange
from burncloud.router.fault import Fault
from burncloud.router.heading import head_for
from burncloud.router.held import Held
from burncloud.router.ports import Translator
from burncloud.router.translate import is_heavy
from burncloud.wire.body import Body, Budget
from burncloud.wire.heads import AnswerHead
from burncloud.wire.upstream import Upstream

TRANSLATED_BYTES_MAX: Final = 64 << 20
"""Longest plain answer that is translated."""
STREAM_BYTES_MAX: Final = 32 << 10
"""A stream that is collected here; of a larger one each event costs as much as a hundred bytes of text."""
ERROR_BYTES_MAX: Final = 1 << 20
PIECES_A_TURN: Final = 2
"""So much of a large body goes out in one turn of the loop: a fast reader would take all of it at once."""
Back = Translation | Passage | Continued


class Steps(NamedTuple):
    """What becomes of the exchange next (answer.py, gateway.py)."""

    failed: Callable[[Exchange, Fault], None]
    refuse: Callable[[Exchange, Refusal], None]
    complained: Callable[[Exchange, int, bytes], bool]
    well: Callable[[Exchange, AnswerHead], None]
    commit: Callable[[Exchange, Upstream, bool], None]
    settle: Callable[[Exchange, str, bytes], None]
    winner: Callable[[Exchange], Exchange]
    go_on: Callable[[Exchange, bytes], None]
    stop: Callable[[Exchange, Upstream | None, bytes, str], None]


class Beside:
    """Whoever has something turned over beside the worker: where that happens, and what then becomes of it."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        now_ns: Callable[[], int],
        files: Budget,
        translator: Callable[[], Translator | None],
        steps: Steps,
    ) -> None:
        self._loop = loop
        self._now_ns = now_ns
        self._files = files
        self._translator = translator
        self._steps = steps


class Wholes(Beside):
    """The whole answers of a worker that are under way."""

    def hold(self, x: Exchange, translation: Back, up: Upstream, content: bytes, ended: bool) -> None:
        """More of an answer has come."""
        held = x.whole
        if held is None:
            held = x.whole = Held(up.head, up.no_body, self._files)
        assert x.meter is not None
        x.meter.feed(content)
        fits = held.add(content, TRANSLATED_BYTES_MAX)
        x.held_bytes = 0 if held.body.spooled else held.body.size
        if not fits:
            self._steps.failed(x, Fault("broken", x.status))
        elif ended:
            self._turn_over(x, held, translation, up)

    def _turn_over(self, x: Exchange, held: Held, translation: Back, up: Upstream) -> None:
        """It is complete."""
        body, translator = held.body, self._translator()
        beside = isinstance(translation, Translation) and translator is not None and self.is_heavy(x, body)
        as_it_is = isinstance(translation, Passage) and body.spooled and x.status < 400 and not held.head.encoding
        if not (beside or as_it_is):
            self._here(x, held, translation, up)
            return
        if x.race is not None:
            x = self._steps.winner(x)
        give_back(x, up)
        if as_it_is:
            held.body = Body()
            self._send(x, held, body)
            return
        assert isinstance(translation, Translation)
        assert translator is not None
        job = translation.job(x.status, x.sse, held.head.encoding)
        translator.tell(job, body, lambda result: self._told(x, held, translation, result))

    @staticmethod
    def is_heavy(x: Exchange, body: Body) -> bool:
        """Whether to turn it over would hold the loop."""
        whole = x.whole
        packed = whole is not None and bool(whole.head.encoding)
        return packed or (body.size > STREAM_BYTES_MAX if x.sse else is_heavy(body))

    def _here(self, x: Exchange, held: Held, translation: Back, up: Upstream) -> None:
        """A small one, at once."""
        body = held.body.read(0, ERROR_BYTES_MAX) if held.body.spooled and x.status >= 400 else held.body.everything()
        x.whole = None
        try:
            if x.sse:
                assert x.sieve is not None
                x.sieve.strip(body)
                x.sieve.finish()
                failed = x.sieve.failed
                if isinstance(failed, bytes) and complaint_of(failed):
                    # as the vendor would have said it without a stream
                    x.status, x.sse, body = 400, False, event_data(unify(failed).strip())
            if x.status >= 400 and self._steps.complained(x, x.status, body):
                return
            if x.sse:
                told = translation.collected()
            elif x.status >= 400:
                told = translation.failed(x.status, body)
            elif body:
                told = translation.whole(body)
            else:
                raise Unreadable("the answer is empty")
        except Unreadable:
            self._steps.failed(x, Fault("broken", x.status))
            return
        x.held = [told]
        x.sse = False
        self._steps.commit(x, up, True)

    def _told(
        self, x: Exchange, held: Held, translation: Translation, result: tuple[Body, Rendered] | Refusal | Unreadable
    ) -> None:
        """The process beside has answered."""
        if x.done or x.state is not HOLDING or x.whole is not held:
            if isinstance(result, tuple):
                result[0].close()
        elif isinstance(result, Unreadable):
            self._steps.failed(x, Fault("broken", x.status))
        elif isinstance(result, Refusal):
            settle.attempt_over(x, x.status, 1, self._now_ns())
            self._steps.refuse(x, result)
        else:
            body, rendered = result
            for name in rendered.losses:
                translation.losses.add(name)
            x.reading = rendered.reading
            self._send(x, held, body)

    def _send(self, x: Exchange, held: Held, body: Body) -> None:
        """The commit point: the head and what is in memory, or as much of a file as the client takes."""
        x.held_bytes = 0
        x.sse = False
        x.answered = True
        self._steps.well(x, held.head)
        head = head_for(x, held, body.size)
        if not body.spooled:
            content = body.whole()
            x.bytes_down = len(content)
            self._over(x, head + content)
            return
        held.replace(body)
        held.flow = body.pieces()
        x.state = PASSING
        x.client.transport.write(head)
        self.flow(x)

    def flow(self, x: Exchange) -> None:
        """Send on, where the client takes more."""
        held = x.whole
        if held is not None and held.flow is not None and not held.flowing:
            self._flow(x, held)

    def _flow(self, x: Exchange, held: Held) -> None:
        held.flowing = False
        if held.flow is None or x.state is not PASSING or x.done:
            return
        for _ in range(PIECES_A_TURN):
            if x.client.paused:
                return
            piece = next(held.flow)
            x.bytes_down += len(piece)
            if x.bytes_down == held.body.size:
                self._over(x, piece)
                return
            x.client.transport.write(piece)
        held.flowing = True
        self._loop.call_soon(self._flow, x, held)

    def _over(self, x: Exchange, last: bytes) -> None:
        x.whole = None
        settle.attempt_over(x, x.status, 1, self._now_ns())
        self._steps.settle(x, "done", last)


def give_back(x: Exchange, up: Upstream) -> None:
    """The answer is all there: the connection is free."""
    if x.pump is not None or not up.writable:
        # an early final answer: the upload stops, and nobody knows what the upstream read
        x.pump = None
        up.keep = False
    up.origin.give(up, up.last)
    x.up = None
