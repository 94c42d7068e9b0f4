"""Events of a stream that are too long for the loop: turned over beside the worker, in their place in the stream.

An image or a file in one event takes 10 ms a MiB to be turned over.  From such an event on, what comes is put aside
until its end is there; then the whole translation, which is a few KiB between two events, goes with it to the
process beside (app/translator.py) and comes back with the bytes for the client.  Meanwhile the upstream is not read;
whatever else becomes of the stream (its end, a break, an error in it) waits until those bytes are on their way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from burncloud.adaptors.canon import Unreadable
from burncloud.adaptors.events import event_end
from burncloud.adaptors.passage import Passage
from burncloud.adaptors.seam import Continued
from burncloud.adaptors.splitter import EVENT_BYTES_MAX
from burncloud.adaptors.translation import Translation, Visited
from burncloud.errors import Refusal
from burncloud.router import settle
from burncloud.router.exchange import HOLDING, PASSING, Exchange
from burncloud.router.fault import Fault
from burncloud.router.held import Held
from burncloud.router.wholes import PIECES_A_TURN, Beside
from burncloud.wire.body import Body, Budget
from burncloud.wire.heads import AnswerHead
from burncloud.wire.upstream import Upstream


class Aside(Held):
    """What of a stream is put aside, then what it became."""

    __slots__ = ("due", "last", "sent", "then")

    def __init__(self, files: Budget) -> None:
        super().__init__(AnswerHead(), False, files)
        self.last = b""
        """The end of what came, where an event's end may have begun."""
        self.due = self.sent = False
        self.then: tuple[Callable[..., None], tuple[Any, ...]] | None = None
        """What becomes of the exchange when all of it is on its way; None = it goes on."""

    def put(self, piece: bytes) -> bool:
        """More of it; False if there is no room."""
        look = self.last + piece
        self.due = self.due or event_end(look) >= 0
        self.last = look[-3:]
        return self.add(piece, EVENT_BYTES_MAX)


class Visits(Beside):
    """The streams of a worker that have something aside."""

    def let(self, translation: Translation | Passage | Continued) -> None:
        """The translation of a stream begins: it may leave, where there is somewhere to go."""
        if isinstance(translation, Translation):
            translation.leaves = self._translator() is not None

    def look(self, x: Exchange, then: Callable[..., None] | None = None, *given: Any) -> bool:
        """Whether a part of the stream is aside; if so, `then(x, *given)` is called when it is on its way."""
        translation, aside = x.translation, x.whole
        if not isinstance(translation, Translation):
            return False
        if not isinstance(aside, Aside):
            if translation.aside is None:
                return False
            aside = x.whole = Aside(self._files)
        if then is not None:
            aside.then = (then, given)
            aside.due = True
        pieces, translation.aside = translation.aside or (), []
        for piece in pieces:
            if not aside.put(piece):
                self._failed(x, aside, None)
                return True
        if aside.due and not aside.sent:
            self._send(x, aside, translation)
        return True

    def _send(self, x: Exchange, aside: Aside, translation: Translation) -> None:
        translator = self._translator()
        assert translator is not None, "translations leave only where there is one"
        if x.race is not None:
            x = self._steps.winner(x)
        if x.up is not None:
            x.up.pause()
        aside.sent = True
        translator.visit(translation.away(), aside.body, lambda result: self._back(x, aside, translation, result))

    def _back(
        self, x: Exchange, aside: Aside, translation: Translation, result: tuple[Body, Visited] | Refusal | Unreadable
    ) -> None:
        """The process beside has answered."""
        if x.done or x.whole is not aside or x.translation is not translation or x.state not in (HOLDING, PASSING):
            if isinstance(result, tuple):
                result[0].close()
            return
        if not isinstance(result, tuple):
            self._failed(x, aside, result)
            return
        body, visited = result
        translation.back(visited)
        aside.replace(body)
        aside.flow = body.pieces() if body.spooled else iter((body.whole(),))
        if x.state is HOLDING:
            x.held += [next(aside.flow, b"")] if translation.content else aside.flow
            if translation.content and x.up is not None:
                self._steps.commit(x, x.up, False)
        self._flow(x, aside)

    def flow(self, x: Exchange, aside: Aside) -> None:
        """Send on, where the client takes more."""
        if aside.flow is not None and not aside.flowing:
            self._flow(x, aside)

    def _flow(self, x: Exchange, aside: Aside) -> None:
        aside.flowing = False
        if x.done or x.whole is not aside or aside.flow is None:
            return
        for _ in range(PIECES_A_TURN):
            if x.client.paused and x.state is PASSING:
                return
            piece = next(aside.flow, b"")
            if not piece:
                self._over(x, aside)
                return
            self._steps.go_on(x, piece)
        aside.flowing = True
        self._loop.call_soon(self._flow, x, aside)

    def _over(self, x: Exchange, aside: Aside) -> None:
        """All of it is on its way: the stream goes on."""
        x.whole = None
        if aside.then is not None:
            step, given = aside.then
            step(x, *given)
        elif x.up is not None:
            x.up.resume()

    def _failed(self, x: Exchange, aside: Aside, result: Refusal | Unreadable | None) -> None:
        """It cannot be turned over: the client hears so, and pays for what the upstream told."""
        assert isinstance(x.translation, Translation)
        x.whole = None
        x.translation.aside = None
        up: Upstream | None = x.up
        if x.state is PASSING:
            self._steps.stop(x, up, b"", "")
        elif isinstance(result, Refusal):
            x.up = None
            if up is not None and not up.lost:
                up.abort()
            settle.attempt_over(x, x.status, 1, self._now_ns())
            self._steps.refuse(x, result)
        else:
            self._steps.failed(x, Fault("broken", x.status))
