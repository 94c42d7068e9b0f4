"""A stream that breaks after its first words goes on at another channel, and its client does not notice.

What was delivered is read once, when it is needed (told.py); then another channel is asked to go on from there, if its
model can (prefill.py), else to tell the answer from the start, of which the known part is withheld (seam.py).  Each
send is an attempt of the same row.  Where nobody can go on, the client hears an error in his dialect, and what was
delivered is billed.  How far this reaches, and why: docs/decisions/0090.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from burncloud import clock, crash
from burncloud.adaptors.canon import Failure, Losses, Unreadable
from burncloud.adaptors.complaints import complaint_of
from burncloud.adaptors.estimate import output_tokens
from burncloud.adaptors.meter import first_content
from burncloud.adaptors.prefill import Prefill, may_prefill, prefill_of, write_again
from burncloud.adaptors.record import Record, Room
from burncloud.adaptors.spoken import SPOKEN, Asked
from burncloud.adaptors.told import stand
from burncloud.adaptors.translation import read
from burncloud.config import Settings
from burncloud.errors import INVALID_REQUEST, Refusal
from burncloud.router import settle
from burncloud.router.exchange import DIALLING, Exchange, Written
from burncloud.router.fault import Fault
from burncloud.router.health import Health
from burncloud.router.outlets import Ability
from burncloud.router.rescued import Rescued
from burncloud.router.routes import Endpoint
from burncloud.router.translate import Lossy, edits_of, forget, way_of
from burncloud.router.world import World
from burncloud.wire.body import SPOOL_FROM, Body

OPTION: Final = "broken_streams"
"""Of a token, and the name of the setting."""
CONTINUE: Final = "continue"
UNBLAMED: Final = frozenset(("stale", "unfit", "diverged"))
"""Faults of an attempt to go on that say nothing of its channel."""


class Rescues:
    """The broken streams of one worker."""

    def __init__(
        self,
        world: World,
        health: Health,
        loop: asyncio.AbstractEventLoop,
        settings: Callable[[], Settings],
        go: Callable[[Exchange, Ability], None],
        reconnect: Callable[[Exchange], None],
        give_up: Callable[[Exchange], None],
        is_roomy: Callable[[], bool],
    ) -> None:
        """`go`: send to this ability (may raise Refusal); `give_up`: the client hears that nobody goes on.

        `is_roomy`: whether bodies of requests may be kept for longer than they are needed.
        """
        self._world = world
        self._health = health
        self._loop = loop
        self._settings = settings
        self._go = go
        self._reconnect = reconnect
        self._give_up = give_up
        self._is_roomy = is_roomy
        self._room = Room()
        self._queue: deque[Exchange] = deque()
        """Broken, and not yet looked at: one a turn of the loop, for an upstream that dies breaks hundreds at once."""

    # While a stream is whole

    def record(self, x: Exchange) -> Record | None:
        """What a stream that begins is recorded in; None = it will not be gone on with."""
        endpoint, body = x.target.endpoint, x.body
        if x.rescue is not None or endpoint is None or body is None or not x.stream:
            return None
        if not client_dialect(endpoint) or body.spooled or body.size > SPOOL_FROM:
            return None
        if self.mode(x) != CONTINUE or not self._is_roomy():
            return None
        return Record(self._room)

    def mode(self, x: Exchange) -> str:
        """continue · error: of the token, else of the model, else of the house."""
        told = x.token.options.get(OPTION)
        if isinstance(told, str) and told:
            return told
        return self._world.settings.get(f"{OPTION}:{x.model}") or self._settings().broken_streams

    @staticmethod
    def has_begun(x: Exchange) -> bool:
        """Whether a stream that was let go before its first content has got there."""
        endpoint, sieve = x.target.endpoint, x.sieve
        if x.translation is not None:
            begun = x.translation.content
        elif sieve is None or sieve.record is None or endpoint is None:
            begun = True
        else:
            begun = first_content(sieve.record.whole(), endpoint.dialect, endpoint.name) == "content"
        x.hurried = not begun
        return begun

    # When it breaks

    def may_go_on(self, x: Exchange, record: Record | None, withheld: bytes | Failure | None) -> bool:
        """Whether there is somebody to ask.  `withheld`: the error event that ended it, in the upstream's dialect."""
        if x.done or x.pinned or x.client.transport.is_closing():
            return False
        if x.rescue is not None:
            return True
        if record is None or record.lost or x.body is None or complaint_of(withheld):
            return False
        return any(one is not x.ability and one not in x.tried for one in x.route.members)

    def broke(self, x: Exchange, record: Record | None, withheld: bytes | Failure | None) -> bool:
        """The stream under way broke off, its attempt is noted; True = somebody may go on.  `withheld`: as above."""
        reading = x.reading
        if reading is None or not self.may_go_on(x, record, withheld):
            return False
        rescue = x.rescue
        if rescue is None:
            assert record is not None
            shown = withheld if isinstance(withheld, bytes) and x.translation is None else b""
            rescue = x.rescue = Rescued(record, reading, x.prompt_billed, len(x.attempts) - 1, shown)
        else:
            rescue.broke(len(x.attempts) - 1)
        if crash.ARMED:
            crash.point("worker.stream_broken")
        x.tried = (*x.tried, x.ability)
        self._clear(x)
        self._queue.append(x)
        if len(self._queue) == 1:
            self._loop.call_soon(self._work)
        return True

    def _clear(self, x: Exchange) -> None:
        """Nothing is under way."""
        x.held, x.held_bytes, x.meter, x.pump, x.stripper, x.sieve, x.reading = [], 0, None, None, None, None, None
        x.upload = x.upload_body = b""
        x.up = None
        x.status, x.sse = 200, True
        x.state = DIALLING
        x.reason = "continue"
        x.touched = self._loop.time()

    def _work(self) -> None:
        x = self._queue.popleft()
        if self._queue:
            self._loop.call_soon(self._work)
        if x.done or x.state is not DIALLING:
            return
        rescue = x.rescue
        assert rescue is not None
        try:
            if not rescue.ready:
                self._read(x, rescue)
            reason = rescue.told.reason() or never(rescue.asked)
        except (Refusal, Unreadable):
            reason = "it cannot be read"
        if reason:
            self._give_up(x)
        else:
            self._next(x, rescue)

    def _read(self, x: Exchange, rescue: Rescued) -> None:
        """What was asked and what was delivered.  Raises Refusal, Unreadable."""
        endpoint, translation, record = x.target.endpoint, x.translation, rescue.record
        assert endpoint is not None
        assert record is not None
        client = SPOKEN[client_dialect(endpoint)]
        asked = x.asked
        if asked is None or not asked.conversation.turns:  # a large one was written by another process
            assert x.body is not None
            request = read(client.name, x.body.everything(), x.model, True)
            asked = Asked(request, x.model, "" if asked is None else asked.framing)
        rescue.asked = asked
        rescue.dialect = client.name
        writer = getattr(translation, "writer", None)
        if writer is None:
            # of a stream that came as it was, the client has the upstream's own name of the model
            shown = asked if translation is not None else Asked(asked.request, "")
            writer = client.writer(shown, Losses())
            reader = (translation.upstream if translation is not None else client).reader(asked)
            rescue.told = stand(reader, record.whole(), writer)
        else:
            assert translation is not None
            rescue.told = stand(translation.upstream.reader(asked), record.whole(), None)
        rescue.writer = writer
        rescue.may_prefill = may_prefill(asked.conversation)
        rescue.drop()

    def _next(self, x: Exchange, rescue: Rescued) -> None:
        """Another channel: one whose model can go on from the text, if there is one."""
        rescue.sends += 1
        if rescue.sends > self._settings().attempts_max:
            self._give_up(x)
            return
        ability = None
        if self._prefix(rescue):
            unable = [one for one in x.route.members if self._how(x, one) is None]
            ability = x.route.pick((*x.tried, *unable))
        ability = ability or x.route.pick(x.tried)
        x.state = DIALLING
        if ability is None:
            self._pause(x, rescue)
            return
        try:
            self._go(x, ability)
        except Refusal as refusal:
            if isinstance(refusal, Lossy):
                x.tried = (*x.tried, ability)
                self._next(x, rescue)
            else:
                self._give_up(x)

    def _pause(self, x: Exchange, rescue: Rescued) -> None:
        """Nobody is available, perhaps for a moment only: channels rest after a 429.  The pause counts as a send."""
        pause_ms = self._settings().retry_same_ms
        if not pause_ms or rescue.sends >= self._settings().attempts_max:
            self._give_up(x)
            return
        if all(one in x.tried for one in x.route.members):
            x.tried = ()
        self._loop.call_later(pause_ms / 1000, self._paused, x, rescue)

    def _paused(self, x: Exchange, rescue: Rescued) -> None:
        if not x.done and x.state is DIALLING:
            self._next(x, rescue)

    def _prefix(self, rescue: Rescued) -> str:
        return rescue.told.prefix() if rescue.may_prefill else ""

    def _way(self, x: Exchange, ability: Ability) -> str:
        """The dialect that is spoken there; a request that goes on is always written anew."""
        endpoint = x.target.endpoint
        assert endpoint is not None
        outlet, spoken = ability.outlet, client_dialect(endpoint)
        if outlet.by_model:
            way = outlet.way(endpoint, x.model)
        else:
            way = outlet.ways.get(endpoint.conversation or endpoint.name)
        return way or spoken

    def _how(self, x: Exchange, ability: Ability) -> Prefill | None:
        outlet = ability.outlet
        name = outlet.models.get(x.model) or x.model
        return prefill_of(outlet.vendor.name, outlet.channel.options, name, self._way(x, ability))

    def write(self, x: Exchange) -> None:
        """The request for the channel chosen.  Raises Refusal (Lossy)."""
        rescue = x.rescue
        assert rescue is not None
        x.way = way = way_of(x) or self._way(x, x.ability)
        asked = rescue.asked
        endpoint = x.target.endpoint
        assert endpoint is not None
        if asked.request.bound and way != client_dialect(endpoint):
            raise Lossy(INVALID_REQUEST, asked.request.bound)
        x.asked = asked
        rescue.how = how = self._how(x, x.ability)
        # a beginning may not end in white space (Anthropic); the seam knows
        rescue.given = given = self._prefix(rescue).rstrip() if how is not None else ""
        left = 0
        limit = asked.conversation.max_tokens
        if given and limit is not None:
            left = max(1, limit - output_tokens(rescue.told.text_bytes))
        losses = Losses()
        name = x.outlet.models.get(x.model) or x.model
        content = write_again(asked, way, name, given, how, left, losses)
        forget(x)
        if losses and (x.head.strict or x.token.options.get("strict")):
            raise Lossy(INVALID_REQUEST, f"This request cannot be translated without loss: {', '.join(losses.names())}")
        x.written = Written(Body(edits_of(x, way).onto(content)), losses.names())

    # The attempts to go on

    def failed(self, x: Exchange, fault: Fault) -> None:
        """The attempt under way brought nothing new."""
        rescue = x.rescue
        assert rescue is not None
        kind = fault.kind
        if kind != "connect":
            sent = 0 if x.upload else 2 if kind == "stale" else 1
            settle.attempt_over(x, fault.status, sent, clock.now_ns())
        if kind not in UNBLAMED:
            self._health.failed(x, kind, fault.status, fault.retry_after_s, self._loop.time())
        self._clear(x)
        if x.done:
            return
        if kind == "stale":
            x.reason = "reconnect"
            self._reconnect(x)
        elif kind == "diverged":
            self._give_up(x)
        else:
            if kind == "unfit" and rescue.given:
                rescue.may_prefill = False  # the model did not take the beginning: from the start, then
            else:
                x.tried = (*x.tried, x.ability)
            self._next(x, rescue)


def client_dialect(endpoint: Endpoint) -> str:
    """The dialect of conversations that a client of this API speaks; "" = none."""
    spoken = endpoint.conversation or endpoint.name
    return spoken if spoken in SPOKEN and SPOKEN[spoken].kind == "conversation" else ""


def never(asked: Asked) -> str:
    """Why an answer to this request cannot be gone on with; "" = it may."""
    request = asked.conversation
    if (request.n or 1) > 1:
        return "several choices"
    if request.logprobs or request.top_logprobs:
        return "log probabilities"
    return "sound" if request.audio or any(one != "text" for one in request.modalities) else ""
