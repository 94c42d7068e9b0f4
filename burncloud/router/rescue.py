"""A stream that breaks after its first words goes on at another channel, and its client does not notice.

What was delivered is read once, when it is needed (told.py); then another channel is asked to go on from there, if its
model can (prefill.py), else to tell the answer from the start, of which the known part is withheld (seam.py).  Each
send is an attempt of the same row.  Where nobody can go on, the client hears an error in his dialect, and what was
delivered is billed.  How far this reaches, and why: docs/decisions/0090.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from burncloud import clock, crash, logs
from burncloud.adaptors.canon import Failure, Losses, Ping, Unreadable
from burncloud.adaptors.complaints import complaint_of
from burncloud.adaptors.estimate import output_tokens
from burncloud.adaptors.prefill import Prefill, Sequel, go_on, may_prefill, prefill_of
from burncloud.adaptors.record import Record, Room
from burncloud.adaptors.seam import Continued
from burncloud.adaptors.sieve import Sieve
from burncloud.adaptors.spoken import SPOKEN, Asked
from burncloud.adaptors.told import stand
from burncloud.adaptors.translation import Done, Job, read
from burncloud.config import Settings
from burncloud.errors import INVALID_REQUEST, Refusal
from burncloud.router import settle
from burncloud.router.exchange import DIALLING, HOLDING, SENT, Exchange
from burncloud.router.fault import Fault
from burncloud.router.health import Health
from burncloud.router.outlets import Ability
from burncloud.router.ports import Translator
from burncloud.router.rescued import Rescued
from burncloud.router.routes import Endpoint
from burncloud.router.translate import Lossy, edits_of, is_heavy, take, way_of
from burncloud.router.world import World
from burncloud.wire.body import SPOOL_FROM, Body

OPTION: Final = "broken_streams"
"""Of a token, and the name of the setting."""
CONTINUE: Final = "continue"
SIGN_S: Final = 5.0
"""A client who waits for somebody to go on hears a sign of life so often, where his dialect has one."""
_log = logs.logger("burncloud.router.rescue")


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
        written: Callable[[Exchange, tuple[Body, Done] | Refusal], None],
        give_up: Callable[[Exchange], None],
        is_roomy: Callable[[], bool],
        translator: Callable[[], Translator | None],
    ) -> None:
        """`go`: send to this ability (may raise Refusal); `written`: the request is written, or refused.

        `give_up`: the client hears that nobody goes on; `is_roomy`: whether bodies of requests may be kept for longer
        than they are needed; `translator`: who reads and writes large ones.
        """
        self._world = world
        self._health = health
        self._loop = loop
        self._settings = settings
        self._go = go
        self._reconnect = reconnect
        self._written = written
        self._give_up = give_up
        self.another: Callable[[Exchange], Ability | None] = lambda x: x.route.pick(x.tried)
        """The next channel that was not asked yet, also one that only failed of late."""
        self._is_roomy = is_roomy
        self._translator = translator
        self._room = Room()
        self._queue: deque[Exchange] = deque()
        """Broken, and not yet read: a step a turn of the loop, for an upstream that dies breaks hundreds at once."""

    # While a stream is whole

    def record(self, x: Exchange) -> Record | None:
        """What a stream that begins is recorded in; None = it will not be gone on with."""
        endpoint, body = x.target.endpoint, x.body
        if x.rescue is not None or endpoint is None or body is None or not x.stream:
            return None
        if not client_dialect(endpoint) or body.spooled or body.size > SPOOL_FROM:
            return None
        if x.pinned or not _others(x) or self.mode(x) != CONTINUE or not self._is_roomy():
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
        if x.translation is not None:
            begun = x.translation.content
        else:
            begun = not isinstance(x.sieve, Sieve) or x.sieve.begun
        x.hurried = not begun
        return begun

    @staticmethod
    def needs_body(x: Exchange) -> bool:
        """Whether a stream that passes may have to be asked for once more."""
        record = x.sieve.record if x.sieve is not None else None
        return x.rescue is not None or (record is not None and not record.lost)

    @staticmethod
    def is_lost(x: Exchange) -> bool:
        """Whether what goes on with a stream cannot be understood any more: it would be waited for in vain."""
        return isinstance(x.translation, Continued) and x.translation.diverged

    # When it breaks

    def may_go_on(self, x: Exchange, record: Record | None, withheld: bytes | Failure | None) -> bool:
        """Whether there is somebody to ask.  `withheld`: the error event that ended it, in the upstream's dialect."""
        if x.done or x.pinned or x.client.transport.is_closing():
            return False
        if x.rescue is not None:
            return True
        if record is None or record.lost or x.body is None or complaint_of(withheld):
            return False
        return _others(x)

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
        if x.sieve is not None:
            rescue.dropped += x.sieve.dropped
        rescue.spoke = now = self._loop.time()
        rescue.until = now + self._settings().attempts_timeout_ms / 1000
        x.tried = (*x.tried, x.ability)
        self._clear(x)
        self._wait(x)
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

    def look(self, x: Exchange, now: float) -> bool:
        """While somebody else is asked: signs of life for the client, and an end to his waiting (True)."""
        rescue = x.rescue
        assert rescue is not None
        tells = x.state is HOLDING and rescue.seam is not None and rescue.seam.heard
        if now >= rescue.until and not tells:
            if x.state is not DIALLING:
                settle.attempt_over(x, 0 if x.state is SENT else x.status, 0 if x.upload else 1, clock.now_ns())
            self._give_up(x)
            return True
        if now - rescue.spoke >= SIGN_S and rescue.ready and not x.client.paused:
            rescue.spoke = now
            sign = rescue.writer.write(Ping())
            if sign:
                x.bytes_down += len(sign)
                x.client.transport.write(b"%x\r\n%b\r\n" % (len(sign), sign) if x.chunked else sign)
        return False

    # What was asked, and what was delivered

    def _wait(self, x: Exchange) -> None:
        self._queue.append(x)
        if len(self._queue) == 1:
            self._loop.call_soon(self._work)

    def _work(self) -> None:
        """A step for the one that has waited longest."""
        x = self._queue[0]
        try:
            over = self._step(x)
        except (Refusal, Unreadable):
            over = True
            self._give_up(x)
        except Exception as error:
            over = True
            self._fail(x, error)
        if over:
            self._queue.popleft()
        if self._queue:
            self._loop.call_soon(self._work)

    def _fail(self, x: Exchange, error: Exception) -> None:
        """A mistake of ours must not leave a client without an end."""
        _log.error("a stream cannot be gone on with: %r", error)
        self._give_up(x)

    def _step(self, x: Exchange) -> bool:
        """True = it is read, or given up, or somebody else is at it.  Raises Refusal, Unreadable."""
        rescue = x.rescue
        if rescue is None or x.done or x.state is not DIALLING:
            return True
        if not rescue.ready:
            if rescue.steps is None:
                if self._ask(x, rescue):
                    return True
                rescue.steps = self._read(x, rescue)
            if next(rescue.steps, self) is not self:
                return False
            rescue.steps = None
        if rescue.told.reason() or never(rescue.asked):
            self._give_up(x)
        else:
            self._next(x, rescue)
        return True

    def _ask(self, x: Exchange, rescue: Rescued) -> bool:
        """What was asked, where that is too large to be read here; True = the process beside is at it."""
        translator, endpoint, body = self._translator(), x.target.endpoint, x.body
        if translator is None or body is None or endpoint is None or rescue.beside or not is_heavy(body):
            return False
        rescue.beside = True
        if x.asked is not None:
            rescue.asked = x.asked
            return False
        spoken = client_dialect(endpoint)
        job = Job(spoken, spoken, x.model, x.model, True)
        translator.submit(job, body, lambda result: self._asked(x, rescue, result))
        return True

    def _asked(self, x: Exchange, rescue: Rescued, result: tuple[Body, Done] | Refusal) -> None:
        if not isinstance(result, Refusal):
            result[0].close()
            rescue.asked = result[1].asked
            self._wait(x)
        elif not x.done and x.state is DIALLING:
            self._give_up(x)

    def _read(self, x: Exchange, rescue: Rescued) -> Iterator[None]:
        """Both, step by step.  Raises Refusal, Unreadable."""
        endpoint, translation, record = x.target.endpoint, x.translation, rescue.record
        assert endpoint is not None
        assert record is not None
        client = SPOKEN[client_dialect(endpoint)]
        if not rescue.beside:
            asked = x.asked
            if asked is None or not asked.conversation.turns:
                assert x.body is not None
                request = read(client.name, x.body.everything(), x.model, True)
                asked = Asked(request, x.model, "" if asked is None else asked.framing)
                yield
            rescue.asked = asked
        asked = rescue.asked
        rescue.dialect = client.name
        rescue.may_prefill = may_prefill(asked.conversation)
        writer = getattr(translation, "writer", None)
        if writer is None:
            # of a stream that came as it was, the client has the upstream's own name of the model
            shown = asked if translation is not None else Asked(asked.request, "")
            writer = client.writer(shown, Losses())
            reader = (translation.upstream if translation is not None else client).reader(asked)
            told = yield from stand(reader, record.blocks(), writer)
        else:
            assert translation is not None
            told = yield from stand(translation.upstream.reader(asked), record.blocks(), None)
        rescue.stood(told, writer)

    # Who goes on

    def _next(self, x: Exchange, rescue: Rescued) -> None:
        """Another channel: one whose model can go on from the text, if there is one."""
        rescue.sends += 1
        if rescue.sends > self._settings().attempts_max or self._loop.time() >= rescue.until:
            self._give_up(x)
            return
        ability = None
        if self._prefix(rescue):
            unable = [one for one in x.route.members if self._how(x, one) is None]
            ability = x.route.pick((*x.tried, *unable))
        ability = ability or self.another(x)
        x.state = DIALLING
        if ability is None:
            self._pause(x, rescue)
            return
        try:
            self._go(x, ability)
        except Refusal as refusal:
            self.refused(x, rescue, refusal)
        except Exception as error:
            self._fail(x, error)

    def refused(self, x: Exchange, rescue: Rescued, refusal: Refusal) -> None:
        """The request is not written for the channel chosen."""
        self._health.spared(x)
        if isinstance(refusal, Lossy):
            x.tried = (*x.tried, x.ability)
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
            last = (x.ability,)  # it comes last again
            x.tried = last if x.route.other(last) else ()
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

    def write(self, x: Exchange) -> bool:
        """The request for the channel chosen; False = the process beside is at it.  Raises Refusal (Lossy)."""
        rescue = x.rescue
        assert rescue is not None
        x.way = way = way_of(x) or self._way(x, x.ability)
        asked = rescue.asked
        endpoint = x.target.endpoint
        assert endpoint is not None
        spoken = client_dialect(endpoint)
        if asked.request.bound and way != spoken:
            raise Lossy(INVALID_REQUEST, asked.request.bound)
        x.asked = asked
        rescue.how = how = self._how(x, x.ability)
        # a beginning may not end in white space (Anthropic); the seam knows
        rescue.given = given = self._prefix(rescue).rstrip() if how is not None else ""
        left = 0
        limit = asked.conversation.max_tokens
        if given and limit is not None:
            left = max(1, limit - output_tokens(rescue.told.text_bytes))
        name = x.outlet.models.get(x.model) or x.model
        job = Sequel(spoken, way, x.model, name, True, False, edits_of(x, way), given, how, left)
        if rescue.beside:
            translator, body = self._translator(), x.body
            assert translator is not None
            assert body is not None
            x.state = DIALLING
            translator.submit(job, body, lambda result: self._written(x, result))
            return False
        content, done = go_on(job, b"", asked)
        take(x, Body(content), done)
        return True

    # The attempts to go on

    def failed(self, x: Exchange, fault: Fault) -> None:
        """The attempt under way brought nothing new."""
        rescue = x.rescue
        assert rescue is not None
        if fault.kind == "diverged" and isinstance(x.translation, Continued) and x.translation.unreadable:
            fault = Fault("broken", fault.status)
        kind = fault.kind
        self._health.attempt_failed(x, fault, self._loop.time())
        held = x.held
        self._clear(x)
        x.held = held  # the client's writer stands behind it: it goes down before what comes next
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


def _others(x: Exchange) -> bool:
    """Whether there is anybody else who could go on; one that failed before the stream began may do, after a pause."""
    return any(one is not x.ability for one in x.route.members)


def never(asked: Asked) -> str:
    """Why an answer to this request cannot be gone on with; "" = it may."""
    request = asked.conversation
    if (request.n or 1) > 1:
        return "several choices"
    if request.logprobs or request.top_logprobs:
        return "log probabilities"
    return "sound" if request.audio or any(one != "text" for one in request.modalities) else ""
